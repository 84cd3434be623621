"""LabControl: the gRPC service with which the lab inspects and controls a replica."""

from collections.abc import AsyncIterator

import grpc
from grpc_health.v1 import health_pb2

from services.behaviour import Behaviour
from services.behaviour_message import changed, to_message
from services.call import Context
from services.health import Health
from services.interceptors import LedgerInterceptor
from services.lab_control_pb2 import Behaviour as BehaviourMessage
from services.lab_control_pb2 import (
    GetIdentityRequest,
    GetLedgerRequest,
    Identity,
    LedgerRow,
    ProbeReply,
    ProbeRequest,
    SetServingReply,
    SetServingRequest,
)
from services.lab_control_pb2_grpc import LabControlServicer
from services.ledger import Ledger
from services.outages import Outages
from services.settings import ReplicaSettings
from services.threaded_health import ThreadedHealth

HEALTH_SERVICES = ("", "video_service.VideoService")


class LabControl(LabControlServicer):
    """Inspects and controls one replica. Its calls take no slot and are not in the ledger.

    `identity`: facts that stay the same while the replica runs. `threads`: number of threads that serve
    calls; None: an asyncio server.
    """

    def __init__(
        self,
        identity: Identity,
        behaviour: Behaviour,
        outages: Outages,
        health_service: Health | ThreadedHealth,
        ledger: Ledger,
        calls: LedgerInterceptor,
        threads: int | None,
    ) -> None:
        self._identity = identity
        self._behaviour = behaviour
        self._outages = outages
        self._health = health_service
        self._ledger = ledger
        self._calls = calls
        self._threads = threads
        self._serving = False

    async def set_serving(self, serving: bool) -> None:
        """Set the answer of the health service for VideoService and for the whole server."""
        answers = health_pb2.HealthCheckResponse
        status = answers.SERVING if serving else answers.NOT_SERVING
        for service in HEALTH_SERVICES:
            await self._health.set(service, status)
        self._serving = serving

    async def GetIdentity(self, request: GetIdentityRequest, context: Context) -> Identity:  # noqa: N802, ARG002
        """Return the replica's identity, its settings in force and its counts of calls."""
        settings = self._behaviour.settings
        now = Identity(
            serving=self._serving,
            behaviour=to_message(settings),
            settings_json=settings.to_json(),
            calls_started=self._calls.started,
            calls_done=self._calls.done,
            ledger_end=self._ledger.end,
        )
        now.MergeFrom(self._identity)
        return now

    async def SetBehaviour(self, request: BehaviourMessage, context: Context) -> BehaviourMessage:  # noqa: N802
        """Change the given settings, all or none. Returns all settings; INVALID_ARGUMENT names a bad one."""
        before = self._behaviour.settings
        try:
            settings = changed(before, request)
            self._check_threads(settings)
        except ValueError as error:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        self._behaviour.apply(settings)
        if settings.outage != before.outage:
            self._outages.plan(settings.outage)
        return to_message(settings)

    def _check_threads(self, settings: ReplicaSettings) -> None:
        """Raise ValueError for another number of slots than there are threads."""
        if self._threads is not None and settings.slots != self._threads:
            expected = f"expected {self._threads}: the threads that it started with"
            raise ValueError(f"slots is {settings.slots}, {expected}")

    async def SetServing(self, request: SetServingRequest, context: Context) -> SetServingReply:  # noqa: N802, ARG002
        """Make the health service answer SERVING or NOT_SERVING. The replica serves calls in both cases."""
        await self.set_serving(request.serving)
        return SetServingReply()

    async def GetLedger(  # noqa: N802
        self,
        request: GetLedgerRequest,
        context: Context,
    ) -> AsyncIterator[LedgerRow]:
        """Send the rows of the ledger that were written after a position, oldest first."""
        try:
            rows = self._ledger.rows(request.after)
        except ValueError as error:
            await context.abort(grpc.StatusCode.OUT_OF_RANGE, str(error))
        for row in rows:
            yield row

    async def Probe(self, request: ProbeRequest, context: Context) -> ProbeReply:  # noqa: N802, ARG002
        """Say how loaded the replica is now."""
        in_flight = self._calls.started - self._calls.done
        # The next call would come to that many others.
        return ProbeReply(in_flight=in_flight, latency_ns=self._calls.latency.of(in_flight + 1))
