"""Plans a run of the testbed `external`: replicas and load balancer that already run elsewhere. Pure.

One target has one policy, and the lab cannot change its replicas. Therefore only some arms can be run. This
module selects them, leaves out the expectations about the others, and writes a note for each omission.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.errors import UserError, did_you_mean
from harness.plan.run_options import ExternalOptions
from harness.record.manifest import ExternalFields
from harness.spec.arm import OWN_WORKLOAD, Arm, Variant
from harness.spec.experiment import Experiment
from harness.spec.own_service import UPSTREAM_LOG, OwnService
from harness.testbed.choice import confirm_compatible
from harness.testbed.reduced import without_arms
from lb.ca_certificates import read_ca_certificates
from lb.target import resolver_target, split_address

# The settings of an arm that only the clients need. The target must already have all others.
_CLIENT_SETTINGS = {
    *OWN_WORKLOAD,
    *("connections", "cookie_jar", "await_each_answer", "await_first_answer", "session_lifetime_s"),
    "session_lifetimes",
    *("source_addresses", "wait_for_ready", "compression", "keepalive_ms", "reconnect_backoff_ms", "events"),
    *("retries", "sweep"),
}


@dataclass(frozen=True)
class ExternalPlan:
    """The part of an experiment that can be run, and the entries of the run's manifest about the rest."""

    experiment: Experiment
    manifest: ExternalFields


def plan_external(experiment: Experiment, external: ExternalOptions) -> ExternalPlan:
    """Select the arms that can be run with the options `external`.

    Raises UserError if an option is wrong or missing, if no arm can be run, or if the number of named
    replicas is not that of the experiment.
    """
    _confirm_addresses(external)
    if experiment.service is not None and external.replicas:
        raise UserError("--replica: only the lab's own replicas can be asked; leave it out with `service`")
    variants = experiment.variants
    if all(experiment.events_of(variant.arm) for variant in variants.values()):
        confirm_compatible(experiment, "external")
    omitted = _omitted_arms(experiment.name, variants, external)
    if len(omitted) == len(variants):
        reasons = "; ".join(f"{name}: {omitted[name]}" for name in variants)
        raise UserError(f"{experiment.name}: none of its arms can be run ({reasons})")
    named, planned = len(external.replicas), experiment.replicas.count
    if named and named != planned:
        raise UserError(
            f"--replica: {named} named, and {experiment.name} has {planned} replicas; "
            f"name all, or run it with --replicas {named}"
        )
    return _reduced(experiment, omitted, external)


def _omitted_arms(
    experiment: str, variants: Mapping[str, Variant], external: ExternalOptions
) -> dict[str, str]:
    """Return the arms that cannot be run: name -> reason."""
    proxied = {name: variant for name, variant in variants.items() if variant.arm.has_proxy}
    direct = {name: variant for name, variant in variants.items() if name not in proxied}
    omitted: dict[str, str] = {}
    if external.target is None:
        omitted |= dict.fromkeys(proxied, "no --target was named")
    else:
        served = _arms_of_target(experiment, proxied, list(direct), external.arm)
        omitted |= dict.fromkeys(proxied.keys() - served, "the load balancer has another policy")
        shared = [name for name in served if proxied[name].arm.connections == "shared"]
        omitted |= dict.fromkeys(shared if external.tls else (), "gRPC clients share no connection over TLS")
        encrypted = [name for name in served if proxied[name].arm.tls is not None]
        omitted |= dict.fromkeys(() if external.tls else encrypted, "its clients use TLS; give --tls")
    if not external.replicas:
        omitted |= dict.fromkeys(direct, "no --replica was named")
    by_xds = [name for name, variant in direct.items() if variant.arm.route == "xds"]
    omitted |= dict.fromkeys(by_xds, "it needs the lab's own control plane")
    by_dns = [name for name, variant in direct.items() if variant.arm.discovery == "dns"]
    return omitted | dict.fromkeys(by_dns, "it needs the lab's own name server")


def _arms_of_target(
    experiment: str, proxied: Mapping[str, Variant], direct: Sequence[str], wanted: str | None
) -> set[str]:
    """Return all arms that need the same load balancer as the arm `wanted`; None: as all proxied arms."""
    if not proxied:
        raise UserError(f"--target: all arms of {experiment} are called directly; leave it out")
    if wanted is None:
        chosen = list(proxied.values())
        ambiguity = f"{experiment} has several policies behind a load balancer"
    else:
        chosen = [variant for name, variant in proxied.items() if wanted in (name, variant.base)]
        ambiguity = f"arm {wanted!r} has several settings of the load balancer"
    if not chosen:
        if wanted in direct:
            raise UserError(f"--arm: {wanted!r} is called directly, with --replica; {_choice(proxied)}")
        hint = did_you_mean(str(wanted), proxied) or f"; {_choice(proxied)}"
        raise UserError(f"--arm: {experiment} has no arm {wanted!r}{hint}")
    settings = _target_settings(chosen[0].arm)
    if any(_target_settings(variant.arm) != settings for variant in chosen):
        firsts = _one_arm_per_setting({variant.name: variant for variant in chosen})
        raise UserError(f"--arm: {ambiguity}; name the one that --target has: {', '.join(firsts)}")
    return {name for name, variant in proxied.items() if _target_settings(variant.arm) == settings}


def _choice(arms: Mapping[str, Variant]) -> str:
    return f"expected one of {', '.join(_one_arm_per_setting(arms))}"


def _one_arm_per_setting(arms: Mapping[str, Variant]) -> list[str]:
    """Return the first arm of each group of arms that need the same load balancer."""
    firsts: list[tuple[str, dict[str, Any]]] = []
    for name, variant in arms.items():
        settings = _target_settings(variant.arm)
        if all(settings != known for _, known in firsts):
            firsts.append((name, settings))
    return [name for name, _ in firsts]


def _target_settings(arm: Arm) -> dict[str, Any]:
    """Return the settings of the arm that proxy and replicas must have."""
    retries = arm.retries if arm.retries is not None and arm.retries.by == "proxy" else None
    return {**arm.model_dump(exclude=_CLIENT_SETTINGS), "retries": retries}


def _reduced(experiment: Experiment, omitted: Mapping[str, str], external: ExternalOptions) -> ExternalPlan:
    reduced, notes, not_judged = without_arms(experiment, omitted)
    policies = {variant.arm.policy for variant in reduced.variants.values() if variant.arm.has_proxy}
    notes += [
        f"the policy {policy} of {external.target} was not confirmed: the proxy is not the lab's"
        for policy in policies
    ]
    if experiment.service is not None:
        notes.append(_of_service(experiment.service))
    elif not external.replicas:
        notes.append(
            "replicas are known only from their answers, and their settings were not confirmed: "
            "no --replica was named"
        )
    options = _arguments(external)
    return ExternalPlan(reduced, ExternalFields(testbed_options=options, notes=notes, not_judged=not_judged))


def _of_service(service: OwnService) -> str:
    known = "who answered is known only from the load balancer's log (report --proxy-log)"
    if service.replica_from != UPSTREAM_LOG:
        known = f"who answered is known from the {service.replica_from} of its answers"
    return (
        f"the service ({service.method}) is not the lab's: queue, service time and ledger of its replicas "
        f"are not known; {known}"
    )


def _arguments(external: ExternalOptions) -> list[str]:
    """Return the options as arguments of the command line."""
    options = (("--target", external.target), ("--ca", external.ca), ("--arm", external.arm))
    arguments = [str(argument) for option in options if option[1] is not None for argument in option]
    arguments += [argument for replica in external.replicas for argument in ("--replica", replica)]
    return [*arguments, "--tls"] if external.tls else arguments


def _confirm_addresses(external: ExternalOptions) -> None:
    """Raise UserError for an address or file that cannot be used, or options that contradict each other."""
    if external.target is not None:
        _confirm("--target", resolver_target, external.target)
    for replica in external.replicas:
        _confirm("--replica", split_address, replica)
    repeated = [one for one in external.replicas if external.replicas.count(one) > 1]
    if repeated:
        raise UserError(f"--replica: {repeated[0]} is named twice; name each once")
    for option, given in (("--arm", external.arm), ("--tls", external.tls)):
        if given and external.target is None:
            raise UserError(f"{option}: describes --target; give both, or neither")
    if external.ca is not None:
        if not external.tls:
            raise UserError("--ca: has no effect without --tls; give both, or neither")
        _confirm("--ca", lambda path: read_ca_certificates(Path(path)), str(external.ca))


def _confirm(option: str, read: Callable[[str], object], text: str) -> None:
    try:
        read(text)
    except ValueError as error:
        raise UserError(f"{option}: {error}") from error
