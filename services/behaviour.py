"""How a replica behaves: slots, a line, seeded service times, slowness and failures made on purpose."""

import difflib
import random
import time
from dataclasses import dataclass, replace

import grpc

from services.call import Call
from services.refused import RefusedError
from services.service_time import ServiceTime, Sleeper, burn
from services.slots import Slots
from services.video_service_pb2 import Behaviour as BehaviourMessage

SLOTS_LIMIT = 10_000
SLOW_FACTOR_LIMIT = 1000.0
_FAIL_CODES = {code.name: code for code in grpc.StatusCode if code is not grpc.StatusCode.OK}


@dataclass(frozen=True)
class Settings:
    """What a replica does with a call. Raises ValueError, with a message for the user, for a bad value."""

    slots: int
    service_time: ServiceTime
    burn_cpu: bool = False
    slow_factor: float = 1.0
    fail_share: float = 0.0
    fail_code: str = "UNAVAILABLE"

    def __post_init__(self) -> None:
        if not 1 <= self.slots <= SLOTS_LIMIT:
            raise ValueError(f"slots is {self.slots}, expected 1 to {SLOTS_LIMIT}")
        if not 0 <= self.slow_factor <= SLOW_FACTOR_LIMIT:
            raise ValueError(f"slow_factor is {self.slow_factor:g}, expected 0 to {SLOW_FACTOR_LIMIT:g}")
        if not 0 <= self.fail_share <= 1:
            raise ValueError(f"fail_share is {self.fail_share:g}, expected a share from 0 to 1")
        if self.fail_code not in _FAIL_CODES:
            nearest = difflib.get_close_matches(self.fail_code.upper(), _FAIL_CODES, 1)
            hint = f"; did you mean {nearest[0]}?" if nearest else ""
            raise ValueError(f"fail_code is {self.fail_code!r}, expected a gRPC error name{hint}")

    def changed(self, message: BehaviourMessage) -> "Settings":
        """These settings with the fields that the message sets. Raises ValueError."""
        given = {field.name: value for field, value in message.ListFields()}
        service_time = ServiceTime(
            given.pop("distribution", self.service_time.distribution),
            given.pop("mean_ms", self.service_time.mean_ms),
        )
        return replace(self, service_time=service_time, **given)

    def to_message(self) -> BehaviourMessage:
        """These settings as LabControl shows them."""
        return BehaviourMessage(
            slots=self.slots,
            distribution=self.service_time.distribution,
            mean_ms=self.service_time.mean_ms,
            burn_cpu=self.burn_cpu,
            slow_factor=self.slow_factor,
            fail_share=self.fail_share,
            fail_code=self.fail_code,
        )


class Behaviour:
    """The replica at work, after its settings. The same seed gives the same service times in order."""

    def __init__(self, settings: Settings, seed: str) -> None:
        self.settings = settings
        self.slots = Slots(settings.slots)
        self._sleeper = Sleeper()
        # Two generators, so that failures made on purpose do not shift the service times.
        self._service_rng = random.Random(f"{seed}/service")
        self._failure_rng = random.Random(f"{seed}/failure")

    def apply(self, settings: Settings) -> None:
        """Put other settings in force, for calls from now on; calls at work finish as they began."""
        self.settings = settings
        self.slots.resize(settings.slots)

    def refuse_share(self) -> None:
        """Raise RefusedError with fail_code for fail_share of the calls."""
        share = self.settings.fail_share
        if share and self._failure_rng.random() < share:
            code = _FAIL_CODES[self.settings.fail_code]
            raise RefusedError(code, f"failed on purpose: {share:g} of the calls end with {code.name}")

    async def work(self, call: Call) -> None:
        """Wait for a slot, hold it for one service time; add both times to the call, also if cancelled."""
        arrived_ns = time.monotonic_ns()
        try:
            await self.slots.acquire()
        finally:
            started_ns = time.monotonic_ns()
            call.queue_ns += started_ns - arrived_ns
        try:
            await self._serve()
        finally:
            self.slots.release()
            call.service_ns += time.monotonic_ns() - started_ns

    async def _serve(self) -> None:
        settings = self.settings
        duration_ns = round(settings.service_time.draw_ns(self._service_rng) * settings.slow_factor)
        if settings.burn_cpu:
            await burn(duration_ns)
        elif duration_ns:
            await self._sleeper.sleep(duration_ns)
