"""The epoch of a cell: both clocks read together, however often something else has the CPU between them."""

from itertools import accumulate

from hypothesis import given
from hypothesis import strategies as st

from harness.run.epoch import READINGS, read_epoch

UNIX_NS = 1_790_000_000_000_000_000
DELAYS = st.integers(0, 300_000_000)


@given(delays=st.lists(st.tuples(DELAYS, DELAYS), min_size=READINGS, max_size=READINGS))
def test_the_quickest_of_the_readings_counts(delays: list[tuple[int, int]]) -> None:
    """delays: before and after each reading of the wall clock, which shows UNIX_NS + the true instant."""
    instants = list(accumulate(delay for pair in delays for delay in (*pair, 1_000_000)))
    wall = [UNIX_NS + at_ns for at_ns in instants[::3]]
    monotonic = [
        at_ns for n in range(READINGS) for at_ns in (instants[3 * n] - delays[n][0], instants[3 * n + 1])
    ]
    epoch = read_epoch(iter(monotonic).__next__, iter(wall).__next__)
    assert epoch.uncertainty_ns == -(-min(sum(pair) for pair in delays) // 2)
    assert abs(epoch.unix_ns - UNIX_NS - epoch.monotonic_ns) <= epoch.uncertainty_ns


def test_two_readings_of_this_machines_clocks_agree() -> None:
    first, second = read_epoch(), read_epoch()
    assert second.monotonic_ns > first.monotonic_ns
    apart_ns = (second.unix_ns - second.monotonic_ns) - (first.unix_ns - first.monotonic_ns)
    assert abs(apart_ns) <= first.uncertainty_ns + second.uncertainty_ns + 1
