"""EventContext of a cell whose parts run on a testbed."""

import random
from collections.abc import Mapping
from typing import Any

import grpc

from harness.events.context import Answer, EventContext
from harness.events.fleet import Fleet
from harness.events.keys import PlannedEvent
from harness.plan.cells import CellPlan
from harness.proxy.admin import EnvoyAdmin
from harness.record.event_log import EventLog, StepTaken, TookEffect
from harness.spec.experiment import Experiment
from harness.testbed.base import LiveCell
from services import lab_control_pb2 as lab
from services.lab_control_pb2_grpc import LabControlStub

TIMEOUT_S = 2.0
OPTIONS = [("grpc.enable_http_proxy", 0), ("grpc.initial_reconnect_backoff_ms", 100)]


class CellEventContext(EventContext):
    """The parts of one planned cell. To be closed.

    Calls to the replicas' LabControl do not wait: they return a future of gRPC.
    """

    def __init__(
        self, experiment: Experiment, plan: CellPlan, live: LiveCell, fleet: Fleet, log: EventLog
    ) -> None:
        super().__init__(live.replicas)
        self.log = log
        self.plan = plan
        # Draws the targets of `any`: the same ones in all arms of a repeat.
        self.rng = random.Random(f"events/{experiment.seed}/{plan.repeat}")
        self._experiment = experiment
        self._live = live
        self._fleet = fleet
        self._channels: dict[str, grpc.Channel] = {}

    @property
    def fleet(self) -> Fleet:
        return self._fleet

    @property
    def proxy(self) -> EnvoyAdmin | None:
        return self._live.envoy

    def seen(self, planned: PlannedEvent, target: str, what: str) -> None:
        self.log.write(TookEffect(number=planned.number, target=target, seen=what))

    def step(self, planned: PlannedEvent, do: str, target: str) -> None:
        self.log.write(StepTaken(number=planned.number, do=do, target=target))

    def controllable(self, name: str) -> bool:
        return name in self._live.controls

    def behave(self, name: str, settings: Mapping[str, Any]) -> Answer:
        request = lab.Behaviour(**settings)
        answer: Answer = self._control(name).SetBehaviour.future(
            request, timeout=TIMEOUT_S, wait_for_ready=True
        )
        return answer

    def serve(self, name: str, serving: bool) -> Answer:
        request = lab.SetServingRequest(serving=serving)
        answer: Answer = self._control(name).SetServing.future(
            request, timeout=TIMEOUT_S, wait_for_ready=True
        )
        return answer

    def settings_at_start(self, name: str) -> Mapping[str, Any]:
        keys = {"slow_factor", "slow_share", "fail_share", "fail_code"}
        return self._experiment.replicas.work_of(name).model_dump(include=keys)

    def identify(self, name: str) -> Any:
        """Ask a replica for its Identity, with the calls that it has had."""
        return self._control(name).GetIdentity.future(lab.GetIdentityRequest(), timeout=TIMEOUT_S)

    def close(self) -> None:
        """Close the connections to the replicas."""
        for channel in self._channels.values():
            channel.close()

    def _control(self, name: str) -> Any:
        if name not in self._channels:
            self._channels[name] = grpc.insecure_channel(self._live.controls[name], options=OPTIONS)
        return LabControlStub(self._channels[name])  # type: ignore[no-untyped-call]
