"""gRPC's health service in an asyncio server, with List and with a message where it knows no such service.

grpcio-health-checking 1.85.1 declares List and does not implement it: callers get NotImplementedError. Its
NOT_FOUND has no message.
"""

from collections.abc import Iterable

import grpc
from grpc_health.v1 import health, health_pb2

from services.call import Context


class Health(health.aio.HealthServicer):  # type: ignore[misc]
    """The health of the whole server ("") and of each service that was set."""

    def __init__(self) -> None:
        super().__init__()
        self._services = {health.OVERALL_HEALTH}

    async def set(self, service: str, status: int) -> None:
        """Set the answer for one service. Returns when the watchers have been notified."""
        self._services.add(service)
        await super().set(service, status)

    async def Check(  # noqa: N802
        self, request: health_pb2.HealthCheckRequest, context: Context
    ) -> health_pb2.HealthCheckResponse:
        """Return the health of a service. NOT_FOUND for a service without one."""
        if request.service not in self._services:
            await context.abort(grpc.StatusCode.NOT_FOUND, unknown(request.service, self._services))
        return await super().Check(request, context)

    async def List(  # noqa: N802
        self,
        request: health_pb2.HealthListRequest,  # noqa: ARG002
        context: Context,
    ) -> health_pb2.HealthListResponse:
        """Return the health of each service."""
        answers = {name: await self.Check(asked_for(name), context) for name in self._services}
        return health_pb2.HealthListResponse(statuses=answers)


def asked_for(service: str) -> health_pb2.HealthCheckRequest:
    """Return the request for the health of `service`."""
    return health_pb2.HealthCheckRequest(service=service)


def unknown(service: str, known: Iterable[str]) -> str:
    """Return the message for a service without health."""
    names = ", ".join(repr(name) for name in sorted(known))
    return f"no health of a service {service[:100]!r} here; expected one of {names}"
