"""Carries out a replica's settings: slots, seeded service times, injected slowness and failures."""

import time

import grpc

from services.call import Call
from services.draws import Draws
from services.errors import RpcStatusError
from services.load_report import LoadMeter, fixed_report
from services.load_shedding import LoadShedding, TimeLeft
from services.service_time import draw_ns
from services.session_cache import SessionCache
from services.settings import LoadReport, ReplicaSettings
from services.settings import SessionCache as CacheSettings
from services.slots import Slots
from services.spending import Sleeper, burn

_NO_ERRORS = ("OK", "CANCELLED")  # a call that its caller cancelled is not the replica's error


class Behaviour:
    """Does the work of each call as the settings say. `seed`: of what it draws, see services.draws."""

    def __init__(self, settings: ReplicaSettings, seed: str) -> None:
        self.settings = settings
        self.slots = Slots(settings.slots)
        self._shedding = LoadShedding()
        self._sleeper = Sleeper()
        self._draws = Draws(seed)
        self._cache: SessionCache | None = None
        self._meter: LoadMeter | None = None
        self._fixed_report = b""
        self.apply(settings)

    def apply(self, settings: ReplicaSettings) -> None:
        """Change the settings for calls that start from now on. Calls in progress keep the old settings."""
        self.settings = settings
        self.slots.resize(settings.slots)
        self._apply_cache(settings.cache)
        self._apply_orca(settings.orca)

    def _apply_cache(self, cache: CacheSettings | None) -> None:
        if cache is None:
            self._cache = None
        elif self._cache is None:
            self._cache = SessionCache(cache.sessions)
        else:
            self._cache.resize(cache.sessions)

    def _apply_orca(self, orca: LoadReport | None) -> None:
        fixed = None if orca == "measured" else orca
        self._fixed_report = b"" if fixed is None else fixed_report(fixed).SerializeToString()
        if orca != "measured":
            self._meter = None
        elif self._meter is None:
            self._meter = LoadMeter(time.monotonic_ns())

    def admit(self, call: Call, time_left_s: TimeLeft = lambda: None) -> None:
        """Decide whether an arriving call fails and is slow; store that in the call.

        For fail_share of the calls, raises RpcStatusError with fail_code. With fail_after_work, stores it in
        the call instead: work() raises it at its end. Load shedding raises RESOURCE_EXHAUSTED.
        """
        settings = self.settings
        if settings.fail_share and self._draws.failure(call) < settings.fail_share:
            code = grpc.StatusCode[settings.fail_code]
            message = f"failed on purpose: {settings.fail_share:g} of the calls end with {code.name}"
            error = RpcStatusError(code, message, after_headers=settings.fail_after_headers)
            if not settings.fail_after_work:
                raise error
            call.error = error
        if settings.shedding is not None:
            reason = self._shedding.reason_to_refuse(settings.shedding, self.slots, time_left_s)
            if reason:
                raise RpcStatusError(grpc.StatusCode.RESOURCE_EXHAUSTED, f"refused: {reason}")
        if settings.slow_share < 1:
            call.slow_draw = self._draws.slowness(call)

    async def work(self, call: Call) -> None:
        """Wait for a slot and hold it for one service time. Adds both times to the call, also when cancelled.

        Raises RpcStatusError for a call that fails after its work.
        """
        arrived_ns = time.monotonic_ns()
        try:
            await self.slots.acquire()
        finally:
            started_ns = time.monotonic_ns()
            call.queue_ns += started_ns - arrived_ns
        meter = self._meter
        if meter is not None:
            meter.enter(started_ns)
        try:
            await self._serve(call)
            self._shedding.learn(time.monotonic_ns() - started_ns)
        finally:
            self.slots.release()
            done_ns = time.monotonic_ns()
            call.service_ns += done_ns - started_ns
            if meter is not None:
                meter.leave(done_ns)
        if call.error is not None:
            raise call.error

    async def _serve(self, call: Call) -> None:
        settings, cache = self.settings, self._cache
        session = "" if cache is None else call.session()
        if cache is not None and session and not call.cache:  # later messages of a stream find the data
            call.session_cached = cache.find(session)
            call.cache = "hit" if call.session_cached else "miss"
        factor = settings.slow_factor if call.slow_draw < settings.slow_share else 1.0
        if call.session_cached and settings.cache is not None:
            factor *= settings.cache.hit_factor
        work_ns = call.recorded_work_ns()
        if work_ns is None:
            time_ms, draw = settings.service_time_ms, self._draws.service(call)
            work_ns = draw_ns(time_ms, draw, client=call.client(), method=call.method)
        duration_ns = round(work_ns * factor)
        if settings.service_time_ms.burn_cpu:
            await burn(duration_ns)
        elif duration_ns:
            await self._sleeper.sleep(duration_ns)
        if cache is not None and session:  # a call that is cancelled does not come here
            cache.keep(session)
            call.session_cached = True

    def load_report(self, code: str) -> bytes:
        """Count the end of a call with this gRPC code name; return its serialized load report, or b""."""
        meter = self._meter
        if meter is None:
            return self._fixed_report
        now_ns = time.monotonic_ns()
        meter.end(now_ns, failed=code not in _NO_ERRORS)
        return meter.report(now_ns, self.settings.slots).SerializeToString()
