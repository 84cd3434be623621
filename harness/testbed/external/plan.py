"""What of an experiment can be run against parts that the user already has: testbed `external`. Pure.

One target has one policy, and nobody here has a hand on its replicas: the arms that can be run are picked
out, what speaks of the others is left out, and each of that is told in a line.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import UserError, did_you_mean
from harness.plan.run_options import ExternalOptions
from harness.record.manifest import ExternalFields
from harness.spec.arm import OWN_WORKLOAD, Arm, Variant
from harness.spec.experiment import Experiment
from harness.testbed.compatibility import confirm_fits
from lb.ca_certificates import read_ca_certificates
from lb.target import resolver_target, split_address

if TYPE_CHECKING:
    from harness.spec.experiment import Experiment


# What an arm asks of the clients alone. All else must be there already.
_OF_CLIENTS = {
    *OWN_WORKLOAD,
    *("connections", "cookie_jar", "await_each_answer", "await_first_answer", "session_lifetime_s"),
    *("source_addresses", "wait_for_ready", "compression", "keepalive_ms", "reconnect_backoff_ms", "events"),
    *("retries", "sweep"),
}


@dataclass(frozen=True)
class OutsidePlan:
    """The experiment as it can be run, and `manifest`: what the run's manifest says of what cannot."""

    experiment: Experiment
    manifest: ExternalFields


def plan_external(experiment: Experiment, external: ExternalOptions) -> OutsidePlan:
    """Pick out the arms that `external` can serve.

    Raises UserError: an option that is wrong or says too little, or nothing that can be run.
    """
    confirm_addresses(external)
    variants = experiment.variants
    if all(experiment.events_of(variant.arm) for variant in variants.values()):
        confirm_fits(experiment, "external")
    why = _left_out(experiment.name, variants, external)
    if len(why) == len(variants):
        told = "; ".join(f"{name}: {why[name]}" for name in variants)
        raise UserError(f"{experiment.name}: none of its arms can be run ({told})")
    confirm_counts(experiment, external)
    return _reduced(experiment, why, external)


def _left_out(experiment: str, variants: Mapping[str, Variant], external: ExternalOptions) -> dict[str, str]:
    """Arm that cannot be run -> why."""
    behind = {name: variant for name, variant in variants.items() if variant.arm.route != "direct"}
    direct = {name: variant for name, variant in variants.items() if name not in behind}
    why: dict[str, str] = {}
    if external.target is None:
        why |= dict.fromkeys(behind, "no --target was named")
    else:
        alike = _behind_target(experiment, behind, list(direct), external.arm)
        why |= dict.fromkeys(behind.keys() - alike, "the load balancer has another policy")
        shared = [name for name in alike if behind[name].arm.connections == "shared"]
        why |= dict.fromkeys(shared if external.tls else (), "gRPC clients share no connection over TLS")
    if not external.replicas:
        why |= dict.fromkeys(direct, "no --replica was named")
    by_name = [name for name, variant in direct.items() if variant.arm.discovery == "dns"]
    return why | dict.fromkeys(by_name, "it needs the lab's own name server")


def _behind_target(
    experiment: str, behind: Mapping[str, Variant], direct: Sequence[str], wanted: str | None
) -> set[str]:
    """All arms that ask the same of the load balancer as `wanted`, or as the only one."""
    if not behind:
        raise UserError(f"--target: all arms of {experiment} are called directly; leave it out")
    if wanted is None:
        asked = list(behind.values())
        named = f"{experiment} has several policies behind a load balancer"
    else:
        asked = [variant for name, variant in behind.items() if wanted in (name, variant.base)]
        named = f"arm {wanted!r} stands for several"
    if not asked:
        if wanted in direct:
            raise UserError(f"--arm: {wanted!r} is called directly, by --replica; {_choice(behind)}")
        hint = did_you_mean(str(wanted), behind) or f"; {_choice(behind)}"
        raise UserError(f"--arm: {experiment} has no arm {wanted!r}{hint}")
    standing = _standing(asked[0].arm)
    if any(_standing(variant.arm) != standing for variant in asked):
        firsts = _one_of_each({variant.name: variant for variant in asked})
        raise UserError(f"--arm: {named}; name the one that --target has: {', '.join(firsts)}")
    return {name for name, variant in behind.items() if _standing(variant.arm) == standing}


def _choice(arms: Mapping[str, Variant]) -> str:
    return f"expected one of {', '.join(_one_of_each(arms))}"


def _one_of_each(arms: Mapping[str, Variant]) -> list[str]:
    """The first arm of each set that asks the same of the load balancer."""
    firsts: list[tuple[str, dict[str, Any]]] = []
    for name, variant in arms.items():
        standing = _standing(variant.arm)
        if all(standing != known for _, known in firsts):
            firsts.append((name, standing))
    return [name for name, _ in firsts]


def _standing(arm: Arm) -> dict[str, Any]:
    """What the arm asks of proxy and replicas."""
    retries = arm.retries if arm.retries is not None and arm.retries.by == "proxy" else None
    return {**arm.model_dump(exclude=_OF_CLIENTS), "retries": retries}


def _reduced(experiment: Experiment, why: Mapping[str, str], external: ExternalOptions) -> OutsidePlan:
    chosen = {name: variant for name, variant in experiment.variants.items() if name not in why}
    kept = [one for one in experiment.expect if {one.arm, one.of or one.arm} <= chosen.keys()]
    reduced = experiment.model_copy(update={"arms": _arms(experiment, chosen), "expect": kept})
    notes = [f"{name} was not run: {why[name]}" for name in experiment.variants if name in why]
    policies = {variant.arm.policy for variant in chosen.values() if variant.arm.route != "direct"}
    notes += [
        f"that {external.target} balances by {policy} was not confirmed: the proxy is not the lab's"
        for policy in policies
    ]
    if not external.replicas:
        notes.append(
            "the replicas are known by their answers alone, and their settings were not confirmed: "
            "no --replica was named"
        )
    left_out = [one for one in experiment.expect if one not in kept]
    fields = ExternalFields(
        testbed_options=_words(external), notes=notes, not_judged=[one.in_words() for one in left_out]
    )
    return OutsidePlan(reduced, fields)


def _words(external: ExternalOptions) -> list[str]:
    options = (("--target", external.target), ("--ca", external.ca), ("--arm", external.arm))
    words = [str(word) for option in options if option[1] is not None for word in option]
    words += [word for replica in external.replicas for word in ("--replica", replica)]
    return [*words, "--tls"] if external.tls else words


def _arms(experiment: Experiment, chosen: Mapping[str, Variant]) -> dict[str, Arm]:
    """The chosen arms as the file would have them: one that sweeps stays, where all its values are chosen."""
    arms: dict[str, Arm] = {}
    for base, arm in experiment.arms.items():
        values = [variant for variant in experiment.variants.values() if variant.base == base]
        here = [variant for variant in values if variant.name in chosen]
        arms |= {base: arm} if here == values else {variant.name: variant.arm for variant in here}
    return arms


def confirm_addresses(external: ExternalOptions) -> None:
    """Raise UserError for an address, a file or a combination of options that cannot be."""
    if external.target is not None:
        _confirm("--target", resolver_target, external.target)
    for replica in external.replicas:
        _confirm("--replica", split_address, replica)
    twice = [one for one in external.replicas if external.replicas.count(one) > 1]
    if twice:
        raise UserError(f"--replica: {twice[0]} is named twice; name each once")
    for option, given in (("--arm", external.arm), ("--tls", external.tls)):
        if given and external.target is None:
            raise UserError(f"{option}: says how --target is; give both, or neither")
    if external.ca is not None:
        if not external.tls:
            raise UserError("--ca: trusts nobody without --tls; give both, or neither")
        _confirm("--ca", lambda path: read_ca_certificates(Path(path)), str(external.ca))


def _confirm(option: str, read: Callable[[str], object], text: str) -> None:
    try:
        read(text)
    except ValueError as error:
        raise UserError(f"{option}: {error}") from error


def confirm_counts(experiment: Experiment, external: ExternalOptions) -> None:
    """Raise UserError when another number of replicas is named than the experiment has."""
    named, planned = len(external.replicas), experiment.replicas.count
    if named and named != planned:
        raise UserError(
            f"--replica: {named} named, and {experiment.name} has {planned} replicas; "
            f"name all, or run it with --replicas {named}"
        )
