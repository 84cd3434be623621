"""Carries out the events of one cell on its live parts, at their times, while the load goes on."""

import random
import time
from collections.abc import Generator, Mapping
from contextlib import suppress
from typing import Any

import grpc

from harness.errors import LabError
from harness.events.context import ABSENT, Answer, EventContext, Fleet, Steps
from harness.events.keys import PlannedEvent
from harness.events.registry import kind_of
from harness.events.schedule import chosen_targets, starts_new, starts_nodes
from harness.fields import node_number
from harness.plan.cells import CellPlan
from harness.proxy.admin import EnvoyAdmin
from harness.record.event_log import Asked, EndpointChange, EventLog, StepTaken, TookEffect
from harness.run.confirm import confirm_node
from harness.spec.experiment import Experiment
from harness.spec.zones import replicas_of_node
from harness.testbed.base import LiveCell
from load.order import LoadStatus
from services import lab_control_pb2 as lab
from services.lab_control_pb2_grpc import LabControlStub

TIMEOUT_S = 10.0  # a busy machine can keep a replica waiting; the record has the time of its answer
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
    def proxies(self) -> Mapping[str, EnvoyAdmin]:
        return self._live.admins

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

    def confirm_node(self, node: str) -> None:
        confirm_node(self.plan, self._live, node, self.endpoints)

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


UNTIL_MEASURING_S = 0.02
SOON_S = 0.005  # between two looks at what is waited for
WATCH_S = 0.05  # between two looks at the proxy's endpoints


class EventPlayer:
    """To be called from the load's start to its end, and closed. `epoch_ns`: the cell's start, monotonic."""

    def __init__(self, context: CellEventContext, epoch_ns: int) -> None:
        self._context = context
        self._epoch_ns = epoch_ns
        self._start_ns = 0
        self._left = list(context.plan.events)
        self._running: list[Steps] = []
        self._targets: dict[int, list[str]] = {}
        self._watched_s = 0.0

    def tick(self, load_status: LoadStatus) -> float:
        """Do what is due and return the seconds until the next call. Raises LabError when a part refuses.

        Times count from the measure_start_ns of `load_status`, the last status of the load process.
        """
        self._start_ns = load_status.measure_start_ns
        if not self._start_ns:
            return UNTIL_MEASURING_S
        self._watch()
        now_ns = time.monotonic_ns() - self._epoch_ns
        while self._left and self._due_ns(self._left[0]) <= now_ns:
            self._running.append(self._play(self._left.pop(0)))
        self._running = [steps for steps in self._running if next(steps, "ended") != "ended"]
        if self._running:
            return SOON_S
        wait_s = (self._due_ns(self._left[0]) - now_ns) / 1e9 if self._left else WATCH_S
        return min(WATCH_S, max(wait_s, 0.0))

    def close(self) -> None:
        """End the actions that still wait."""
        for steps in self._running:
            steps.close()

    def _due_ns(self, planned: PlannedEvent) -> int:
        return self._start_ns + round(planned.at_s * 1e9)

    def _play(self, planned: PlannedEvent) -> Steps:
        context, event, arm = self._context, planned.event, self._context.plan.arm
        kind = kind_of(event.do)
        targets = yield from self._choose(planned)
        self._targets[planned.number] = targets
        context.concerns(planned, targets)
        asked = Asked(
            number=planned.number,
            do=event.do,
            targets=targets,
            planned_ns=self._due_ns(planned),
            undoes=planned.undoes,
            notification=kind.notification_of(arm.route, arm.discovery),
            details=event.model_dump(
                mode="json", exclude={"at_s", "do", "target", "node"}, exclude_defaults=True
            ),
        )
        context.log.write(asked)
        yield from kind.action(context, planned, targets)

    def _choose(self, planned: PlannedEvent) -> Generator[None, None, list[str]]:
        context, target = self._context, planned.event.target
        if planned.event.node is not None:
            return [planned.event.node]
        if new := starts_nodes(planned.event):
            return [context.fleet.start_new_proxy() for _ in range(new)]
        if kind_of(planned.event.do).aim == "proxy":
            return sorted(context.proxies, key=node_number)  # one that was started again stands last
        if planned.undoes is not None:
            return self._targets[planned.undoes]
        if new := starts_new(planned.event):
            return [context.fleet.start_new() for _ in range(new)]
        names = [name for name in context.addresses if context.fleet.running(name)]
        if target == "most_loaded":
            return [(yield from self._most_loaded(names))]
        return chosen_targets(target, names, context.rng)

    def _most_loaded(self, names: list[str]) -> Generator[None, None, str]:
        futures = {name: self._context.identify(name) for name in names}
        yield from self._context.until(lambda: all(future.done() for future in futures.values()))
        answered = {name: future for name, future in futures.items() if future.code().name == "OK"}
        calls = {name: future.result().calls_started for name, future in answered.items()}
        if not calls:
            raise LabError("no replica says how many calls it has had, so none is the most loaded")
        return max(calls, key=lambda name: (calls[name], name))

    def _watch(self) -> None:
        """Look at what the proxy says of its endpoints, and record every change.

        Several nodes learn of a change at different times. It counts once all of them have it.
        """
        context, now_s = self._context, time.monotonic()
        if not context.proxies or now_s - self._watched_s < WATCH_S:
            return
        self._watched_s = now_s
        arm, names, known = context.plan.arm, list(context.addresses), {}
        of_nodes: dict[str, Mapping[str, str]] = {}
        for node, admin in context.proxies.items():
            with suppress(LabError):  # that node is starting or ending
                of_nodes[node] = admin.endpoint_states()
                known[node] = replicas_of_node(arm, names, node)
        for name, address in context.addresses.items():
            states = {of.get(address, ABSENT) for node, of in of_nodes.items() if name in known[node]}
            if len(states) == 1 and (state := states.pop()) != context.states.get(name):
                context.states[name] = state
                context.log.write(EndpointChange(replica=name, state=state))
