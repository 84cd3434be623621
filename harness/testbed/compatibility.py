"""Which experiments a testbed can carry out, and in one line why not."""

from random import Random

from harness.errors import UserError
from harness.events.registry import kind_of
from harness.events.schedule import chosen_targets
from harness.spec.experiment import Experiment

CONTAINER_TURN_S = 2.0  # to end one container and have it serve again


def confirm_fits(experiment: Experiment, testbed: str) -> None:
    """Raise UserError for an experiment that cannot be had on `testbed`."""
    if why := incompatibility(experiment, testbed):
        raise UserError(why)


def incompatibility(experiment: Experiment, testbed: str) -> str | None:
    """Why an experiment cannot be had on `testbed`, in one line; None where it can."""
    events = [event for arm in experiment.arms.values() for event in experiment.events_of(arm)]
    if testbed == "docker":
        return _too_short(experiment)
    if not events:
        return None
    need_containers = [event.do for event in events if kind_of(event.do).needs_containers]
    if testbed == "local" and need_containers:
        return f"{experiment.name}: do: {need_containers[0]} needs containers; run it with --testbed docker"
    if testbed == "external":
        kinds = ", ".join(dict.fromkeys(event.do for event in events))
        told = f"its events ({kinds}) need a hand on the parts, and those are yours"
        return f"{experiment.name}: {told}; run it with --testbed local or docker"
    return None


def _too_short(experiment: Experiment) -> str | None:
    """Why an event that deals with containers in turns would not come to its end while it is measured."""
    for arm in experiment.arms.values():
        for event in experiment.events_of(arm):
            if not kind_of(event.do).in_turns:
                continue
            count = len(chosen_targets(event.target, experiment.replicas.names, Random(0)))
            needed_s = event.at_s + count * (event.delay_or_default_s + CONTAINER_TURN_S)
            if needed_s > experiment.workload_of(arm).duration_s:
                told = f"a {event.do} of {count} containers takes about {needed_s - event.at_s:g} s"
                return f"{experiment.name}: {told}; --testbed local, or --duration {needed_s + 1:g}"
    return None
