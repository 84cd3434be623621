"""LabControl: what a replica is, how it behaves, whether it says that it serves, what it saw."""

from collections.abc import AsyncIterator

import grpc
from grpc_health.v1 import health, health_pb2

from services.behaviour import Behaviour
from services.call import Context
from services.interceptors import LedgerInterceptor
from services.ledger import Ledger
from services.outages import Outages
from services.threaded_health import ThreadedHealth
from services.video_service_pb2 import Behaviour as BehaviourMessage
from services.video_service_pb2 import (
    GetIdentityRequest,
    GetLedgerRequest,
    Identity,
    LedgerRow,
    SetServingReply,
    SetServingRequest,
)
from services.video_service_pb2_grpc import LabControlServicer

HEALTH_SERVICES = ("", "video_service.VideoService")


class LabControl(LabControlServicer):
    """The lab's hand on one replica. Its calls take no slot and are not in the ledger.

    `identity`: what is true of the replica as long as it lives. `threads`: how many serve, None for asyncio.
    """

    def __init__(
        self,
        identity: Identity,
        behaviour: Behaviour,
        outages: Outages,
        health_service: health.aio.HealthServicer | ThreadedHealth,
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
        """Set the answer of the health service, for VideoService and for the server as a whole."""
        answers = health_pb2.HealthCheckResponse
        status = answers.SERVING if serving else answers.NOT_SERVING
        for service in HEALTH_SERVICES:
            await self._health.set(service, status)
        self._serving = serving

    async def GetIdentity(self, request: GetIdentityRequest, context: Context) -> Identity:  # noqa: N802, ARG002
        """Who this replica is and what is in force."""
        now = Identity(
            serving=self._serving,
            behaviour=self._behaviour.settings.to_message(),
            calls_started=self._calls.started,
            calls_done=self._calls.done,
        )
        now.MergeFrom(self._identity)
        return now

    async def SetBehaviour(self, request: BehaviourMessage, context: Context) -> BehaviourMessage:  # noqa: N802
        """Put the given fields in force, all or none; INVALID_ARGUMENT names the bad one."""
        before = self._behaviour.settings
        try:
            settings = before.changed(request)
            if self._threads is not None:
                settings.check_threads(self._threads)
        except ValueError as error:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        self._behaviour.apply(settings)
        outage = (settings.outage_every_s, settings.outage_for_ms)
        if outage != (before.outage_every_s, before.outage_for_ms):
            self._outages.plan(*outage)
        return settings.to_message()

    async def SetServing(self, request: SetServingRequest, context: Context) -> SetServingReply:  # noqa: N802, ARG002
        """Make the health service say SERVING or NOT_SERVING; calls are served all the same."""
        await self.set_serving(request.serving)
        return SetServingReply()

    async def GetLedger(  # noqa: N802
        self,
        request: GetLedgerRequest,  # noqa: ARG002
        context: Context,  # noqa: ARG002
    ) -> AsyncIterator[LedgerRow]:
        """The rows written so far, oldest call first."""
        for row in self._ledger.rows():
            yield row
