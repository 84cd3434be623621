"""Finds the testbed that the command line names, if it can carry out the experiment."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

from harness.errors import UserError
from harness.events.registry import kind_of
from harness.events.schedule import chosen_targets
from harness.plan.run_options import RunOptions
from harness.spec.experiment import Experiment

if TYPE_CHECKING:
    # `check` only asks whether they are compatible, and does not wait for what testbeds import.
    from harness.testbed.base import Testbed
    from harness.testbed.processes import ForkServers

CONTAINER_RESTART_S = 2.0  # how long one container takes to stop, start and serve again


@dataclass(frozen=True)
class FoundTestbed:
    """A testbed that is not started yet.

    make: creates it, given the folder for the logs of the whole run; None: nothing is started. versions:
    name -> version of the software that this testbed adds to the record (Docker, the image).
    """

    make: Callable[[Path], Testbed] | None
    versions: dict[str, str] = field(default_factory=dict)


def find_testbed(
    experiment: Experiment, options: RunOptions, servers: ForkServers | None = None
) -> FoundTestbed:
    """Return the testbed that `options` name.

    servers: fork servers that are kept from run to run; only the testbed `local` uses them.
    Raises UserError when the testbed cannot carry out the experiment, or lacks something that it needs.
    """
    # The imports are local: no run waits for the libraries of a testbed that it does not use.
    confirm_compatible(experiment, options.testbed)
    if options.testbed == "docker":
        from harness.testbed.docker.testbed import DockerHost, DockerTestbed

        host = DockerHost.find(options)
        return FoundTestbed(lambda logs: DockerTestbed(host, logs), host.versions)
    if options.testbed == "external":
        from harness.testbed.external.testbed import ExternalTestbed

        return FoundTestbed(lambda logs: ExternalTestbed(logs, options.external))
    if options.testbed == "simulated":
        return FoundTestbed(None, {"numba": version("numba")})
    from harness.testbed.local.testbed import LocalTestbed

    return FoundTestbed(lambda logs: LocalTestbed(logs, kept=servers))


def confirm_compatible(experiment: Experiment, testbed: str) -> None:
    """Raise UserError when `testbed` cannot carry out the experiment."""
    if reason := incompatibility(experiment, testbed):
        raise UserError(reason)


def incompatibility(experiment: Experiment, testbed: str) -> str | None:
    """Return one line that says why `testbed` cannot carry out the experiment; None if it can."""
    if experiment.service is not None and testbed != "external":
        reason = f"its service ({experiment.service.method}) is not the lab's"
        return f"{experiment.name}: {reason}; run it with --testbed external --target HOST:PORT"
    events = [event for arm in experiment.arms.values() for event in experiment.events_of(arm)]
    if testbed == "docker":
        checks = (_without_tls, _without_several_proxies, _without_control_plane, _too_short_for_roll)
        return next((why for check in checks if (why := check(experiment))), None)
    if testbed == "simulated" or not events:
        return None
    need_containers = [event.do for event in events if kind_of(event.do).needs_containers]
    if testbed == "local" and need_containers:
        return f"{experiment.name}: do: {need_containers[0]} needs containers; run it with --testbed docker"
    if testbed == "external":
        kinds = ", ".join(dict.fromkeys(event.do for event in events))
        reason = f"its events ({kinds}) change replicas or proxy, which this testbed does not control"
        return f"{experiment.name}: {reason}; run it with --testbed local or docker"
    return None


def _without_tls(experiment: Experiment) -> str | None:
    """Return one line if clients of an arm call the proxy over TLS; else None."""
    name = next((name for name, arm in experiment.arms.items() if arm.tls is not None), None)
    if name is None:
        return None
    reason = f"arm {name} has tls: {experiment.arms[name].tls}, and clients of this testbed use clear text"
    return f"{experiment.name}: {reason}; run it with --testbed local"


def _without_several_proxies(experiment: Experiment) -> str | None:
    """Return one line if the proxy of an arm has several nodes; else None."""
    for variant in experiment.variants.values():
        if variant.arm.proxies > 1:
            reason = (
                f"arm {variant.name} has proxies: {variant.arm.proxies}, and this testbed starts one Envoy"
            )
            return f"{experiment.name}: {reason}; run it with --testbed local"
    return None


def _without_control_plane(experiment: Experiment) -> str | None:
    """Return one line if an arm follows the control plane, which listens on loopback only; else None."""
    arm = next((name for name, arm in experiment.arms.items() if arm.route == "xds"), None)
    if arm is None:
        return None
    reason = f"arm {arm} (route xds) follows a control plane on loopback, which containers cannot reach"
    return f"{experiment.name}: {reason}; run it with --testbed local"


def _too_short_for_roll(experiment: Experiment) -> str | None:
    """Return one line if a restart of containers in turn outlasts the measured window; else None."""
    for arm in experiment.arms.values():
        for event in experiment.events_of(arm):
            if not kind_of(event.do).in_turns:
                continue
            count = len(chosen_targets(event.target, experiment.replicas.names, Random(0)))
            needed_s = event.at_s + count * (event.delay_or_default_s + CONTAINER_RESTART_S)
            if needed_s > experiment.workload_of(arm).duration_s:
                reason = f"a {event.do} of {count} containers takes about {needed_s - event.at_s:g} s"
                return f"{experiment.name}: {reason}; use --testbed local or --duration {needed_s + 1:g}"
    return None
