"""EventContext of a cell whose parts run on a testbed."""

import random
from collections.abc import Mapping, Sequence
from typing import Any

from harness.events.context import Answer, EventContext
from harness.events.fleet import Fleet
from harness.events.keys import PlannedEvent
from harness.plan.cells import CellPlan
from harness.proxy.admin import EnvoyAdmin
from harness.record.event_log import EventLog, StepTaken, TookEffect
from harness.run.confirm import planned_behaviour
from harness.run.lab_control import Controls
from harness.spec.experiment import Experiment
from harness.testbed.base import LiveCell
from services import video_service_pb2 as pb


class CellEventContext(EventContext):
    """The parts of one planned cell. To be closed."""

    def __init__(
        self, experiment: Experiment, plan: CellPlan, live: LiveCell, fleet: Fleet, log: EventLog
    ) -> None:
        super().__init__(live.replicas)
        self.log = log
        self.plan = plan
        # What `any` is drawn by: alike in all arms of a repeat.
        self.rng = random.Random(f"events/{experiment.seed}/{plan.repeat}")
        self._experiment = experiment
        self._live = live
        self._fleet = fleet
        self._controls = Controls(live.controls)

    @property
    def fleet(self) -> Fleet:
        """See EventContext."""
        return self._fleet

    @property
    def proxy(self) -> EnvoyAdmin | None:
        """See EventContext."""
        return self._live.envoy

    def seen(self, planned: PlannedEvent, target: str, what: str) -> None:
        """See EventContext."""
        self.log.write(TookEffect(number=planned.number, target=target, seen=what))

    def step(self, planned: PlannedEvent, do: str, target: str) -> None:
        """See EventContext."""
        self.log.write(StepTaken(number=planned.number, do=do, target=target))

    def controllable(self, name: str) -> bool:
        """See EventContext."""
        return name in self._live.controls

    def behave(self, name: str, settings: Mapping[str, Any]) -> Answer:
        """See EventContext."""
        answer: Answer = self._controls.behave(name, pb.Behaviour(**settings))
        return answer

    def serve(self, name: str, serving: bool) -> Answer:
        """See EventContext."""
        answer: Answer = self._controls.serve(name, serving)
        return answer

    def settings_at_start(self, name: str) -> Mapping[str, Any]:
        """See EventContext."""
        return planned_behaviour(self._experiment, name)

    def identify(self, names: Sequence[str]) -> Mapping[str, Any]:
        """Ask the replicas for their Identity; name -> gRPC's future of it."""
        return {name: self._controls.identify(name) for name in names}

    def close(self) -> None:
        """Close the connections to the replicas."""
        self._controls.close()
