"""The clock offset of two machines: the error is never larger than the stated uncertainty."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from load.clock_offset import SAME_CLOCK, ClockOffset, clock_name, estimate_offset, settled_offset

legs = st.integers(0, 10**9)


@given(st.integers(-(10**18), 10**18), st.lists(st.tuples(legs, legs, legs), min_size=1))
def test_the_true_offset_lies_within_the_uncertainty(
    offset_ns: int, trips: list[tuple[int, int, int]]
) -> None:
    round_trips = [
        (sent_ns, sent_ns + there_ns + offset_ns, sent_ns + there_ns + back_ns)
        for sent_ns, there_ns, back_ns in trips
    ]
    estimate = estimate_offset(round_trips)
    assert abs(estimate.offset_ns - offset_ns) <= estimate.uncertainty_ns
    assert estimate.uncertainty_ns <= min(there + back for _, there, back in trips) / 2 + 1


@pytest.mark.parametrize(
    ("measured_ns", "own", "masters", "settled"),
    [
        (90, "boot-1", "boot-1", SAME_CLOCK),
        (90, "boot-1", "boot-2", ClockOffset(90, 100)),
        (90, "", "", ClockOffset(90, 100)),
        # Machines restored from the same snapshot have the same name and different clocks.
        (110, "boot-1", "boot-1", ClockOffset(110, 100)),
    ],
)
def test_clocks_with_one_name_are_the_same_unless_the_measurement_contradicts(
    measured_ns: int, own: str, masters: str, settled: ClockOffset
) -> None:
    assert settled_offset(ClockOffset(measured_ns, 100), own, masters) == settled


def test_this_machine_names_its_clock() -> None:
    assert clock_name() == clock_name() != ""
