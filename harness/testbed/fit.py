"""Which experiments a testbed can carry out, and in one line why not."""

from harness.errors import UserError
from harness.spec import Experiment
from harness.spec_events import NEED_CONTAINERS


def confirm_fits(experiment: Experiment, testbed: str) -> None:
    """Raise UserError for an experiment that cannot be had on `testbed`."""
    if why := misfit(experiment, testbed):
        raise UserError(why)


def misfit(experiment: Experiment, testbed: str) -> str | None:
    """Why an experiment cannot be had on `testbed`, in one line; None where it can."""
    events = [event for arm in experiment.arms.values() for event in experiment.events_of(arm)]
    if testbed == "docker" or not events:
        return None
    need_containers = [event.do for event in events if event.do in NEED_CONTAINERS]
    if testbed == "local" and need_containers:
        return f"{experiment.name}: do: {need_containers[0]} needs containers; run it with --testbed docker"
    if testbed == "external":
        kinds = ", ".join(dict.fromkeys(event.do for event in events))
        told = f"its events ({kinds}) need a hand on the parts, and those are yours"
        return f"{experiment.name}: {told}; run it with --testbed local or docker"
    return None
