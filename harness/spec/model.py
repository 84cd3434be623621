"""The keys of an experiment file and what follows from them. Checks of the whole are in checks.py."""

from pydantic import Field

from harness.events.keys import MAX_EVENTS
from harness.events.schedule import Event
from harness.fields import ArmName, FileName, Line, Model, Text
from harness.spec.arm import OWN_WORKLOAD, Arm, Variant, variants_of
from harness.spec.expectation import Expectation
from harness.spec.replicas import Replicas
from harness.spec.teaching import Teaching
from harness.spec.workload import Workload


class ExperimentModel(Model):
    """The keys of an experiment file, each valid by itself; `Experiment` is one that is valid as a whole."""

    name: FileName = Field(description="the file's name without its ending; not a key of the file")
    title: Line = Field(description="what the experiment shows, one line")
    question: Line = Field(description="the question that it answers, one line")
    lesson: Text = Field(description="what to look at and what it means; paragraphs of plain text")
    teaching: Teaching | None = Field(
        default=None, description="where it stands among the lessons, and an exercise (default: nowhere)"
    )
    replicas: Replicas = Field(description="the servers that are balanced")
    workload: Workload = Field(description="who sends what, how fast, for how long")
    arms: dict[ArmName, Arm] = Field(
        min_length=1, max_length=16, description="the ways to balance, by name (a-z, 0-9, _)"
    )
    events: list[Event] = Field(
        default=[], max_length=MAX_EVENTS, description="what changes while a cell is measured, and when"
    )
    repeats: int = Field(
        default=3, ge=1, le=100, description="cells per arm, each with fresh parts (default 3)"
    )
    seed: int = Field(
        default=1,
        ge=0,
        le=2**31 - 1,
        description="seed of arrivals, service times and the order of cells (default 1)",
    )
    expect: list[Expectation] = Field(
        default=[], max_length=100, description="what is expected before it is measured"
    )

    @property
    def variants(self) -> dict[str, Variant]:
        """The arms as they are run: an arm that sweeps a factor stands for one for each value."""
        return variants_of(self.arms)

    def workload_of(self, arm: Arm) -> Workload:
        """The workload with what the arm says of it for itself."""
        own = {field: value for field in OWN_WORKLOAD if (value := getattr(arm, field)) is not None}
        return self.workload.model_copy(update=own)

    def events_of(self, arm: Arm) -> list[Event]:
        """What changes while the arm is measured: its own timeline, or the experiment's."""
        return self.events if arm.events is None else arm.events
