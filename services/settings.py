"""The settings of a replica: how it treats calls. LabControl shows and changes them."""

import difflib
from dataclasses import dataclass, replace

import grpc

from services.load_report import check_orca
from services.service_time import ServiceTime
from services.video_service_pb2 import Behaviour as BehaviourMessage

SLOTS_LIMIT = 10_000
SLOW_FACTOR_LIMIT = 1000.0
CACHE_SESSIONS_LIMIT = 100_000
OUTAGE_EVERY_LIMIT_S = 86_400.0
FAIL_CODES = {code.name: code for code in grpc.StatusCode if code is not grpc.StatusCode.OK}


@dataclass(frozen=True)
class Settings:
    """The settings of a replica. Names and meanings are those of the fields of LabControl's Behaviour.

    Raises ValueError with a message for the user for a bad value.
    """

    slots: int
    service_time: ServiceTime
    burn_cpu: bool = False
    slow_factor: float = 1.0
    slow_share: float = 1.0
    fail_share: float = 0.0
    fail_code: str = "UNAVAILABLE"
    cache_sessions: int = 0
    cache_hit_factor: float = 1.0
    orca: str = ""
    outage_every_s: float = 0.0
    outage_for_ms: float = 0.0
    fail_after_headers: bool = False
    fail_after_work: bool = False

    def __post_init__(self) -> None:
        if not 1 <= self.slots <= SLOTS_LIMIT:
            raise ValueError(f"slots is {self.slots}, expected 1 to {SLOTS_LIMIT}")
        if not 0 <= self.slow_factor <= SLOW_FACTOR_LIMIT:
            raise ValueError(f"slow_factor is {self.slow_factor:g}, expected 0 to {SLOW_FACTOR_LIMIT:g}")
        for name in ("slow_share", "fail_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is {getattr(self, name):g}, expected a share from 0 to 1")
        self._check_fail_code()
        if not 0 <= self.cache_sessions <= CACHE_SESSIONS_LIMIT:
            raise ValueError(f"cache_sessions is {self.cache_sessions}, expected 0 to {CACHE_SESSIONS_LIMIT}")
        if not 0 <= self.cache_hit_factor <= 1:
            raise ValueError(f"cache_hit_factor is {self.cache_hit_factor:g}, expected 0 to 1")
        check_orca(self.orca)
        self._check_outage()

    def _check_fail_code(self) -> None:
        if self.fail_code not in FAIL_CODES:
            nearest = difflib.get_close_matches(self.fail_code.upper(), FAIL_CODES, 1)
            hint = f"; did you mean {nearest[0]}?" if nearest else ""
            raise ValueError(f"fail_code is {self.fail_code!r}, expected a gRPC error name{hint}")

    def _check_outage(self) -> None:
        every_s, for_ms = self.outage_every_s, self.outage_for_ms
        if every_s == 0 and for_ms == 0:
            return
        if not 0 < every_s <= OUTAGE_EVERY_LIMIT_S:
            raise ValueError(f"outage_every_s is {every_s:g}, expected above 0, to {OUTAGE_EVERY_LIMIT_S:g}")
        if not 0 < for_ms < every_s * 1000:
            least = f"above 0 and below outage_every_s, {every_s * 1000:g} ms"
            raise ValueError(f"outage_for_ms is {for_ms:g}, expected {least}")

    def check_threads(self, threads: int) -> None:
        """Check that a replica with `threads` threads can carry out the settings. Raises ValueError."""
        if self.slots != threads:
            raise ValueError(f"slots is {self.slots}, expected {threads}: the threads that it started with")
        if self.outage_every_s:
            every_s = f"outage_every_s is {self.outage_every_s:g}"
            raise ValueError(f"{every_s}, expected 0: threads cannot be made to leave their calls")

    def changed(self, message: BehaviourMessage) -> "Settings":
        """Return these settings with the fields changed that the message sets. Raises ValueError."""
        given = {field.name: value for field, value in message.ListFields()}
        service_time = ServiceTime(
            given.pop("distribution", self.service_time.distribution),
            given.pop("mean_ms", self.service_time.mean_ms),
        )
        return replace(self, service_time=service_time, **given)

    def to_message(self) -> BehaviourMessage:
        """Return these settings as LabControl's message."""
        return BehaviourMessage(
            slots=self.slots,
            distribution=self.service_time.distribution,
            mean_ms=self.service_time.mean_ms,
            burn_cpu=self.burn_cpu,
            slow_factor=self.slow_factor,
            slow_share=self.slow_share,
            fail_share=self.fail_share,
            fail_code=self.fail_code,
            cache_sessions=self.cache_sessions,
            cache_hit_factor=self.cache_hit_factor,
            orca=self.orca,
            outage_every_s=self.outage_every_s,
            outage_for_ms=self.outage_for_ms,
            fail_after_headers=self.fail_after_headers,
            fail_after_work=self.fail_after_work,
        )
