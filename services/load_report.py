"""What a replica says of its load after each call, for balancers that weigh replicas by it (ORCA).

A balancer takes rps / (utilisation + eps / rps * penalty) for a replica's weight: an estimate of the calls a
second that it could serve. Sources: gRFC A51 (reports ride in the trailing metadata of every answer) and A58
(the weight; all calls count as rps, whatever their result), Envoy's client_side_weighted_round_robin.
"""

import math
from collections import deque
from dataclasses import dataclass

from services.video_service_pb2 import LoadReport

METADATA_KEY = "endpoint-load-metrics-bin"
MEASURED = "measured"
FIXED_RPS = 100.0
CPU_LIMIT = 10.0
RPS_LIMIT = 1e9
# A balancer ignores a report with utilisation 0. The floor leaves a replica that did next to nothing for its
# calls, as one that fails them all at once, a finite weight.
MIN_UTILIZATION = 0.001

_BUCKET_NS = 100_000_000
_BUCKETS = 10  # so the window is 0.9 to 1 s long


def check_orca(text: str) -> None:
    """Raises ValueError, with a message for the user, unless it is "", "measured", "CPU" or "CPU:RPS"."""
    if text not in ("", MEASURED):
        fixed_report(text)


def fixed_report(text: str) -> LoadReport:
    """The report of "CPU" or "CPU:RPS": a utilisation, and calls a second (without them 100).

    Raises ValueError, with a message for the user.
    """
    cpu_text, colon, rps_text = text.partition(":")
    cpu, rps = _number(cpu_text), _number(rps_text) if colon else FIXED_RPS
    if not 0 < cpu <= CPU_LIMIT or not 0 < rps <= RPS_LIMIT:
        limits = f"CPU above 0, to {CPU_LIMIT:g}, RPS above 0, to {RPS_LIMIT:g}"
        raise ValueError(f"orca is {text!r}, expected measured, CPU or CPU:RPS, as 0.4:200 ({limits})")
    return LoadReport(cpu_utilization=cpu, rps_fractional=rps)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


@dataclass(slots=True)
class _Bucket:
    start_ns: int
    busy_ns: int = 0
    ended: int = 0
    failed: int = 0


class LoadMeter:
    """How busy the slots are and how many calls end, over about the last second.

    Every method takes the present instant of the monotonic clock, in nanoseconds, never an earlier one than
    the call before.
    """

    def __init__(self, now_ns: int) -> None:
        self._busy = 0
        self._at_ns = now_ns  # until when the buckets are filled
        self._buckets = deque([_Bucket(now_ns)], _BUCKETS)

    def enter(self, now_ns: int) -> None:
        """One more slot is busy."""
        self._advance(now_ns)
        self._busy += 1

    def leave(self, now_ns: int) -> None:
        """One slot less is busy."""
        self._advance(now_ns)
        self._busy -= 1

    def end(self, now_ns: int, failed: bool) -> None:
        """A call has ended."""
        self._advance(now_ns)
        self._buckets[-1].ended += 1
        self._buckets[-1].failed += failed

    def report(self, now_ns: int, slots: int) -> LoadReport:
        """The busy share of `slots` and the calls and errors a second."""
        self._advance(now_ns)
        window_ns = max(1, now_ns - self._buckets[0].start_ns)
        busy = sum(bucket.busy_ns for bucket in self._buckets) / (window_ns * slots)
        per_s = 1e9 / window_ns
        return LoadReport(
            cpu_utilization=max(busy, MIN_UTILIZATION),
            rps_fractional=sum(bucket.ended for bucket in self._buckets) * per_s,
            eps=sum(bucket.failed for bucket in self._buckets) * per_s,
        )

    def _advance(self, now_ns: int) -> None:
        skipped = (now_ns - self._at_ns) // _BUCKET_NS - _BUCKETS
        if skipped > 0:  # nothing that is kept is of the last second
            self._at_ns += skipped * _BUCKET_NS
            self._buckets.clear()
            self._buckets.append(_Bucket(self._at_ns))
        while (end_ns := self._buckets[-1].start_ns + _BUCKET_NS) <= now_ns:
            self._fill(end_ns)
            self._buckets.append(_Bucket(end_ns))
        self._fill(now_ns)

    def _fill(self, until_ns: int) -> None:
        self._buckets[-1].busy_ns += self._busy * (until_ns - self._at_ns)
        self._at_ns = until_ns
