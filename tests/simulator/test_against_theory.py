"""The simulator against results of queueing theory and of the theory of random placement."""

import math

import numpy as np
import pytest

import tests.simulator.kernels  # noqa: F401
from simulator.simulation import simulate
from simulator.system import Policy
from tests.simulator.loads import MS, fleet, poisson


def erlang_c(slots: int, load: float) -> float:
    """Return the probability that a call waits in M/M/c (A. K. Erlang, 1917). load: rate x service time."""
    served = sum(load**n / math.factorial(n) for n in range(slots))
    waiting = load**slots / math.factorial(slots) * slots / (slots - load)
    return waiting / (served + waiting)


@pytest.mark.parametrize(("slots", "utilisation"), [(1, 0.5), (1, 0.8), (4, 0.7), (16, 0.9)])
def test_waiting_times_are_those_of_m_m_c(slots: int, utilisation: float) -> None:
    """Poisson arrivals, exponential service, c slots: P(wait) is Erlang C, E[wait] = C / (c mu - lambda)."""
    mean_s, count = 0.01, 200_000
    rate_per_s = utilisation * slots / mean_s
    found = simulate(fleet(1, Policy("proxy", "random"), slots), poisson(count, rate_per_s, 1000 * mean_s))
    wait_s = found.queue_ns[2000:] / 1e9  # the first ones find an empty queue
    waits = erlang_c(slots, rate_per_s * mean_s)
    # Successive waits depend on each other; with 20 batches the mean's own error is known.
    batches = wait_s[: len(wait_s) // 20 * 20].reshape(20, -1)
    for of_batch, expected in (
        (batches.mean(axis=1), waits / (slots / mean_s - rate_per_s)),
        ((batches > 0).mean(axis=1), waits),
    ):
        error = of_batch.std(ddof=1) / math.sqrt(20)
        assert abs(of_batch.mean() - expected) < 4.5 * error
        assert error < 0.12 * expected  # so that the check can fail


def test_round_robin_splits_a_poisson_stream_into_erlang_streams() -> None:
    """Every k-th arrival of a Poisson stream: gaps with a coefficient of variation of 1 / sqrt(k)."""
    found = simulate(fleet(4, Policy("proxy", "round_robin"), slots=1000), poisson(40_000, 4000, 0.0))
    gaps = np.diff(found.sent_ns[found.replica == 2])
    assert np.std(gaps) / np.mean(gaps) == pytest.approx(1 / math.sqrt(4), rel=0.03)


def test_random_placement_is_balls_into_bins() -> None:
    """m balls into n bins: each bin is binomial, and the fullest has m/n + sqrt(2 m log n / n) or so.

    Source: M. Raab, A. Steger, "Balls into Bins: A Simple and Tight Analysis", RANDOM 1998 (m >> n log n).
    """
    balls, bins = 100_000, 100
    found = simulate(fleet(bins, Policy("proxy", "random"), slots=1000), poisson(balls, 1e6, 0.0))
    counts = np.bincount(found.replica, minlength=bins)
    chi_square = ((counts - balls / bins) ** 2 / (balls / bins)).sum()
    assert abs(chi_square - (bins - 1)) < 4.5 * math.sqrt(2 * (bins - 1))
    excess = (counts.max() - balls / bins) / math.sqrt(2 * balls * math.log(bins) / bins)
    assert 0.6 < excess < 1.4


def test_two_choices_leave_the_fullest_bin_only_log_log_above_the_mean() -> None:
    """n balls into n bins, none leaves: the fullest has log n / log log n with one choice, and
    log log n / log d + O(1) with d.

    Source: Y. Azar, A. Broder, A. Karlin, E. Upfal, "Balanced Allocations", SIAM J. Comput. 29 (1999).
    """
    bins = 2000
    calls = poisson(bins, 1e6, mean_ms=0.0, work_ns=np.full(bins, 10**13))  # a day: nobody leaves
    fullest = {}
    for choices in (1, 2, 4):
        rule = "random" if choices == 1 else "least_request"
        system = fleet(bins, Policy("proxy", rule, choices=choices), slots=1000, deadline_ns=10**12)
        fullest[choices] = np.bincount(simulate(system, calls).attempts.replica).max()
    assert 5 <= fullest[1] <= 9  # log n / log log n is 3.7, and the constant is larger than 1
    assert fullest[2] <= math.log2(math.log(bins)) + 2
    assert fullest[4] <= fullest[2] <= 4 < fullest[1]


def test_more_choices_wait_less() -> None:
    """At 90 % utilisation: M. Mitzenmacher, "The Power of Two Choices", IEEE TPDS 2001, for many servers.

    In the limit, P(queue >= i) is r ** ((d**i - 1) / (d - 1)); the mean wait follows by Little's law.
    """
    rate, mean_ms, servers = 0.9, 1.0, 200
    calls = poisson(400_000, rate * servers / mean_ms * 1000, mean_ms, clients=1000)
    waits = {}
    for choices in (1, 2):
        rule = "random" if choices == 1 else "least_request"
        found = simulate(fleet(servers, Policy("proxy", rule, choices=choices)), calls)
        waits[choices] = found.queue_ns[100_000:].mean() / MS
    in_system = {
        1: rate / (1 - rate),
        2: sum(rate ** (2**level - 1) for level in range(1, 30)),
    }
    for choices, customers in in_system.items():
        expected = customers / rate * mean_ms - mean_ms
        assert waits[choices] == pytest.approx(expected, rel=0.12)
