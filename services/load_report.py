"""Load reports (ORCA): a replica reports its load after each call, and balancers derive its weight from it.

The weight is rps / (utilization + eps / rps * penalty). It estimates how many calls a second the replica
could serve. Sources: gRFC A51 (reports travel in the trailing metadata of each answer), gRFC A58 (the weight;
rps counts all calls, whatever their result), Envoy's client_side_weighted_round_robin.
"""

from collections import deque
from dataclasses import dataclass

from services.video_service_pb2 import LoadReport

METADATA_KEY = "endpoint-load-metrics-bin"
FIXED_RPS = 100.0
# A balancer ignores a report with utilization 0. With this minimum a replica that hardly works, because it
# fails all calls at once, still has a finite weight.
MIN_UTILIZATION = 0.001

_BUCKET_NS = 100_000_000
_BUCKETS = 10  # so the window is 0.9 to 1 s long


def fixed_report(cpu_utilization: float) -> LoadReport:
    """Return the report of a fixed utilization, at FIXED_RPS calls a second."""
    return LoadReport(cpu_utilization=cpu_utilization, rps_fractional=FIXED_RPS)


@dataclass(slots=True)
class _Bucket:
    start_ns: int
    busy_ns: int = 0
    ended: int = 0
    failed: int = 0


class LoadMeter:
    """Measures how busy the slots are and how many calls end, over about the last second.

    Every method takes the current instant of the monotonic clock in nanoseconds. It must never decrease.
    """

    def __init__(self, now_ns: int) -> None:
        self._busy = 0
        self._at_ns = now_ns  # the buckets are filled up to this instant
        self._buckets = deque([_Bucket(now_ns)], _BUCKETS)

    def enter(self, now_ns: int) -> None:
        """Count one more busy slot."""
        self._advance(now_ns)
        self._busy += 1

    def leave(self, now_ns: int) -> None:
        """Count one busy slot less."""
        self._advance(now_ns)
        self._busy -= 1

    def end(self, now_ns: int, failed: bool) -> None:
        """Count a call that has ended."""
        self._advance(now_ns)
        self._buckets[-1].ended += 1
        self._buckets[-1].failed += failed

    def report(self, now_ns: int, slots: int) -> LoadReport:
        """Return the report: busy share of `slots`, calls and errors a second."""
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
        if skipped > 0:  # all buckets are older than the window
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
