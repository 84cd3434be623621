"""The summary of a machine's samples: shares of the window, the worst moment, the longest stretch."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.analysis.machine_samples import Sample, summarise_machine

S = 1_000_000_000
CORES = 2


def samples(*moments):
    """A sample at 0 and after each moment of 0.1 s: (steal, others, lab) as shares of the machine."""
    found = [Sample(0, 5.0, 100.0, 7.0, 2.0, 1.0, 1)]
    for number, (steal, others, lab) in enumerate(moments, 1):
        last, cpu_s = found[-1], CORES * 0.1
        found.append(
            Sample(
                number * S // 10,
                last.steal_s + steal * cpu_s,
                last.busy_s + (others + lab) * cpu_s,
                last.lab_s + lab * cpu_s,
                last.load_s + 0.05,
                last.pressure_s + 0.05,
                3,
            )
        )
    return found


CALM, STOLEN, ROBBED = (0.0, 0.02, 0.3), (0.8, 0.0, 0.2), (0.0, 0.7, 0.3)


def test_shares_are_of_the_whole_machine_over_the_window():
    found = summarise_machine(samples(*[CALM] * 5, *[ROBBED] * 5), CORES, 0, S)
    assert (found.cores, found.samples, found.seconds) == (2, 11, 1)
    assert found.others_share == pytest.approx(0.36)
    assert found.lab_share == pytest.approx(0.3)
    assert found.steal_share == 0
    assert found.pressure_share == pytest.approx(0.5)
    assert found.load_cores == pytest.approx(0.5)
    assert (found.running_mean, found.running_max) == (pytest.approx(2.82), 3)


def test_what_was_before_and_after_the_window_does_not_count():
    found = summarise_machine(samples(*[ROBBED] * 5, *[CALM] * 10, *[ROBBED] * 5), CORES, S // 2, 3 * S // 2)
    assert found.seconds == pytest.approx(1)
    assert found.others_share == pytest.approx(0.02)
    assert found.taken is None


def test_the_worst_moment_is_the_half_second_with_most_for_others():
    found = summarise_machine(samples(*[CALM] * 10, *[STOLEN] * 3, *[CALM] * 10), CORES, 0, 3 * S)
    worst = found.worst
    assert worst.seconds == pytest.approx(0.5)
    assert worst.steal_share == pytest.approx(0.48)
    assert 0.8 <= worst.at_s <= 1.0


def test_the_longest_stretch_bridges_a_calm_tenth_of_a_second():
    moments = [*[CALM] * 3, ROBBED, *[CALM] * 5, *[ROBBED] * 4, CALM, *[ROBBED] * 4, *[CALM] * 3]
    taken = summarise_machine(samples(*moments), CORES, 0, 3 * S).taken
    assert (taken.at_s, taken.seconds) == (pytest.approx(0.9), pytest.approx(0.9))
    assert taken.others_share == pytest.approx((8 * 0.7 + 0.02) / 9, abs=1e-3)


def test_a_window_that_was_never_measured_has_no_figures():
    found = summarise_machine(samples(CALM), CORES, 0, 0)
    assert (found.seconds, found.others_share, found.worst, found.taken) == (0, None, None, None)


share = st.floats(0, 1)


@given(st.lists(st.tuples(share, share, share), min_size=1, max_size=40))
def test_shares_are_shares_and_no_moment_is_worse_than_the_worst(moments):
    found = summarise_machine(samples(*moments), CORES, 0, len(moments) * S // 10)
    for part in (found, found.worst):
        for field in ("steal_share", "others_share", "lab_share", "pressure_share"):
            assert 0 <= getattr(part, field) <= 1
    mean = found.steal_share + found.others_share
    if mean < 1 and found.seconds >= 0.5:
        whole_moments = [found.worst.steal_share + found.worst.others_share]
        assert max(whole_moments) >= min(1, mean) * 0.5  # edges: moments overlap the ends of the window less
    if found.taken:
        assert found.taken.seconds <= found.seconds + 1e-9
