"""Selects the arms that can be simulated, and says what is left out."""

from harness.errors import UserError
from harness.plan.run_options import RunOptions
from harness.record.manifest import SIMULATED, ExternalFields
from harness.spec.experiment import Experiment
from harness.testbed.reduced import without_arms
from harness.testbed.simulated.limits import not_modelled


def plan_simulated(experiment: Experiment, options: RunOptions) -> tuple[Experiment, ExternalFields]:
    """Return the arms that can be simulated, and the entries of the run's manifest about the rest.

    Raises UserError if there are none, or for an option about load processes, of which there are none.
    """
    given = {"--web": options.web, "--processes": options.load.processes > 1}
    given["--expect-workers"] = options.load.expect_workers > 0
    if option := next((option for option, value in given.items() if value), None):
        raise UserError(f"{option}: --testbed simulated starts no load; leave it out")
    reasons = {name: not_modelled(experiment, one.arm) for name, one in experiment.variants.items()}
    omitted = {name: f"not modelled: {', '.join(parts)}" for name, parts in reasons.items() if parts}
    if len(omitted) == len(reasons):
        told = "; ".join(f"{name}: {', '.join(reasons[name])}" for name in reasons)
        raise UserError(
            f"{experiment.name}: none of its arms can be simulated, not modelled is: {told}; "
            "run it with --testbed local"
        )
    reduced, notes, not_judged = without_arms(experiment, omitted)
    return reduced, ExternalFields(notes=[SIMULATED, *notes], not_judged=not_judged)
