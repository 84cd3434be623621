"""Load reports: the bytes of ORCA, and utilization and rates over the last second."""

import struct

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from services.load_report import MIN_UTILIZATION, LoadMeter, fixed_report
from services.video_service_pb2 import LoadReport

MS = 1_000_000
EPOCH_NS = 77_123_456_789


def test_the_bytes_are_those_of_an_orca_load_report() -> None:
    # Field number << 3 | 1 (64 bits), then a double: protobuf's encoding; the numbers are OrcaLoadReport's.
    fields = ((1, 0.5), (6, 120.0), (7, 3.0))
    expected = b"".join(struct.pack("<Bd", number << 3 | 1, value) for number, value in fields)
    report = LoadReport(cpu_utilization=0.5, rps_fractional=120, eps=3)
    assert report.SerializeToString(deterministic=True) == expected


def test_a_fixed_report() -> None:
    assert fixed_report(0.2) == LoadReport(cpu_utilization=0.2, rps_fractional=100)


def test_the_share_of_busy_slots() -> None:
    meter = LoadMeter(EPOCH_NS)
    meter.enter(EPOCH_NS)
    meter.enter(EPOCH_NS + 250 * MS)
    meter.leave(EPOCH_NS + 350 * MS)
    meter.end(EPOCH_NS + 350 * MS, failed=True)
    report = meter.report(EPOCH_NS + 500 * MS, slots=4)
    assert report.cpu_utilization == pytest.approx((500 + 100) / (4 * 500))
    assert report.rps_fractional == report.eps == pytest.approx(2)


def test_the_meter_forgets_after_a_second() -> None:
    meter = LoadMeter(EPOCH_NS)
    meter.enter(EPOCH_NS)
    for number in range(100):
        meter.end(EPOCH_NS + number * MS, failed=False)
    meter.leave(EPOCH_NS + 100 * MS)
    before = meter.report(EPOCH_NS + 900 * MS, slots=1)
    assert before.cpu_utilization == pytest.approx(100 / 900)
    assert before.rps_fractional == pytest.approx(100 / 0.9)
    after = meter.report(EPOCH_NS + 1100 * MS, slots=1)
    assert (after.cpu_utilization, after.rps_fractional) == (MIN_UTILIZATION, 0)


def test_a_call_that_lasts_keeps_its_slot_busy_however_long_nothing_else_happens() -> None:
    meter = LoadMeter(EPOCH_NS)
    meter.enter(EPOCH_NS)
    report = meter.report(EPOCH_NS + 3_600_000 * MS, slots=2)
    assert report.cpu_utilization == pytest.approx(0.5)


def test_calls_that_take_no_slot_still_have_a_utilisation() -> None:
    meter = LoadMeter(EPOCH_NS)
    meter.end(EPOCH_NS + 10 * MS, failed=True)
    report = meter.report(EPOCH_NS + 10 * MS, slots=1)
    assert report.cpu_utilization == MIN_UTILIZATION
    assert report.rps_fractional == report.eps == pytest.approx(100)


@given(
    slots=st.integers(1, 8),
    service_ms=st.integers(1, 400),
    gap_ms=st.integers(0, 2500),
    calls=st.integers(1, 40),
)
def test_rate_over_utilisation_is_the_capacity(slots: int, service_ms: int, gap_ms: int, calls: int) -> None:
    """A balancer uses rate / utilization as the replica's weight. It is the capacity under any load.

    The window may cut one call in two, so the quotient is exact up to one call.
    """
    meter, now_ns = LoadMeter(EPOCH_NS), EPOCH_NS
    for _ in range(calls):
        now_ns += gap_ms * MS
        meter.enter(now_ns)
        now_ns += service_ms * MS
        meter.leave(now_ns)
        meter.end(now_ns, failed=False)
    report = meter.report(now_ns, slots)
    assume(report.cpu_utilization > MIN_UTILIZATION)
    busy_slots = report.cpu_utilization * slots
    served_per_s = report.rps_fractional * service_ms / 1000
    one_call = min(service_ms, 900) / min(900, max(1, (now_ns - EPOCH_NS) / MS))
    assert busy_slots <= served_per_s + 1e-9 <= busy_slots + one_call + 2e-9
