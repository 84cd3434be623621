"""Claims: the side of the bound, the reason, and the words."""

import pytest

from harness.analysis.claims import Claim, Decision, claim_of_times, decide, decide_times
from harness.analysis.statistics import Interval, Repeats
from harness.metrics.ranges import Range

THREE, ONE = Repeats(3, 3), Repeats(1, 1)
SHARE = Range(0, 1)


def by_repeat(*values: float | None) -> dict[int, float | None]:
    return dict(enumerate(values, start=1))


def at_least(bound: float, possible: Range = SHARE) -> Claim:
    return Claim(bound, True, possible)


def at_most(bound: float, possible: Range = SHARE) -> Claim:
    return Claim(bound, False, possible)


def test_held_and_refuted_need_the_whole_interval_on_one_side() -> None:
    values = by_repeat(1.000, 1.003, 1.001)
    assert decide(values, at_most(1.02, Range(1, 4)), THREE).verdict == "held"
    assert decide(values, at_least(1.02, Range(1, 4)), THREE).verdict == "refuted"
    decision = decide(values, at_most(1.005, Range(1, 4)), THREE)
    assert decision.verdict == "inconclusive"
    assert decision.reason.startswith("the interval 1 to 1.0051 contains the bound 1.005")
    assert decision.more_repeats_help


def test_what_would_help_is_said() -> None:
    reason = decide(by_repeat(3.3, 3.1, 3.9), at_least(3, Range()), THREE).reason
    assert "contains the bound 3; about " in reason
    assert reason.endswith(" repeats would decide it")


def test_an_interval_that_ends_on_the_bound_is_on_its_side() -> None:
    middle = by_repeat(0.25, 0.25, 0.25)
    assert decide(middle, at_most(0.25), THREE) == Decision(
        "held", "interval", 0.25, Interval(0.25, 0.25), "the interval is 0.25"
    )
    assert decide(middle, at_least(0.25), THREE).verdict == "held"


def test_a_claim_that_allows_no_exception_is_refuted_by_one() -> None:
    decision = decide(by_repeat(0.0, 0.0004, 0.0), at_most(0), THREE)
    assert (decision.verdict, decision.basis) == ("refuted", "every repeat")
    assert decision.reason == "0.0004 in repeat 2, and the claim allows no exception"
    assert decide(by_repeat(0.0, 0.0, 0.0), at_most(0), THREE).reason == "0 in each repeat"
    assert decide(by_repeat(1.0), at_least(1), ONE).basis == "every repeat"
    assert decide(by_repeat(0.99998), at_least(1), ONE).reason.startswith("0.99998 in repeat 1")
    # A deadline is not such an end: by the clocks, a call may have ended a little before it.
    soft = Range(0, 60, is_exact=False)
    assert decide(by_repeat(59.9, 60.1, 60.0), at_least(60, soft), THREE).verdict == "inconclusive"


def test_one_repeat_is_a_look() -> None:
    look = decide(by_repeat(2.0), at_least(1.5, Range()), ONE)
    assert look == Decision("held", "one repeat", 2.0, None, "one repeat, no interval")
    assert decide(by_repeat(1.4), at_least(1.5, Range()), ONE).verdict == "refuted"


def test_one_usable_repeat_of_three_decides_nothing() -> None:
    decision = decide({2: 2.0}, at_least(1.5, Range()), THREE)
    assert decision.verdict == "inconclusive"
    assert decision.reason == "one usable repeat of 3 has no interval"


def test_no_failure_seen_is_not_no_failure() -> None:
    """No failure in three repeats of 1,000 requests: with 97.5 % confidence at most 1.2 in 1,000."""
    steps = dict.fromkeys((1, 2, 3), 0.001)
    none = by_repeat(0.0, 0.0, 0.0)
    assert decide(none, at_most(0.002), THREE, one_event=steps).verdict == "held"
    decision = decide(none, at_most(0.001), THREE, one_event=steps)
    assert decision.verdict == "inconclusive"
    assert decision.reason == (
        "the interval 0 to 0.00123 contains the bound 0.001; about 4 repeats would decide it"
    )
    every = decide(by_repeat(1.0, 1.0, 1.0), at_least(0.999), THREE, one_event=steps)
    assert every.verdict == "inconclusive"
    # Without the size of a step this cannot be decided.
    assert decide(none, at_most(0.001), THREE).verdict == "held"


def test_few_events_are_chance() -> None:
    """One failed request in each of three repeats does not prove that every repeat has one."""
    ones, steps = by_repeat(1, 1, 1), dict.fromkeys((1, 2, 3), 1.0)
    decision = decide(ones, at_most(1.5, Range()), THREE, one_event=steps)
    assert decision.interval == Interval(pytest.approx(0.2062, abs=1e-3), pytest.approx(2.922, abs=1e-3))
    assert decision.verdict == "inconclusive"
    many = by_repeat(100, 100, 100)
    assert decide(many, at_most(101, Range()), THREE, one_event=steps).verdict == "held"


def test_arms_are_compared_within_each_repeat() -> None:
    """Both arms drift by 10 from repeat to repeat. Their ratio is 2 in each repeat."""
    slow, fast = by_repeat(2.0, 20.2, 198.0), by_repeat(1.0, 10.0, 100.0)
    decision = decide_times(slow, fast, at_least(1.8, Range()), THREE)
    assert (decision.verdict, decision.measured) == ("held", 2.0)
    swapped = decide_times(slow, by_repeat(10.0, 1.0, 100.0), at_least(1.8, Range()), THREE)
    assert swapped.verdict == "inconclusive"


def test_a_repeat_that_only_one_arm_has_is_left_out() -> None:
    slow, fast = {1: 2.0, 3: 2.02, 4: 2.01}, {1: 1.0, 2: 1.0, 3: 1.0, 4: 1.0}
    assert decide_times(slow, fast, at_least(1.8, Range()), Repeats(4, 4)).verdict == "held"


@pytest.mark.parametrize(
    ("values", "others", "reason"),
    [
        (
            by_repeat(0, 0, 0),
            by_repeat(0, 0, 0),
            "nothing is a multiple of the 0 measured in repeats 1, 2, 3",
        ),
        (
            by_repeat(1, 1, 1),
            by_repeat(1, 0, 1),
            "nothing is a multiple of the 0 measured in repeat 2; written the other way round, "
            "the expectation can be decided",
        ),
        (by_repeat(1, None, 1), by_repeat(1, 1, 1), "not measured in both arms in repeat 2"),
        (by_repeat(1, 1, 1), {}, "no repeat can be used in both arms"),
        ({1: 1.0}, {2: 1.0}, "no repeat can be used in both arms"),
    ],
)
def test_nothing_is_held_by_nothing(
    values: dict[int, float | None], others: dict[int, float | None], reason: str
) -> None:
    for claim in (at_least(1, Range()), at_most(1, Range())):
        decision = decide_times(values, others, claim, THREE)
        assert (decision.verdict, decision.basis, decision.reason) == ("inconclusive", "nothing", reason)
        assert not decision.more_repeats_help


def test_an_undefined_repeat_is_no_repeat() -> None:
    assert decide(by_repeat(1.0, None, 1.0), at_least(1), THREE).reason == "not measured in repeat 2"
    assert decide({}, at_least(1), THREE).verdict == "inconclusive"
    assert decide(by_repeat(None), at_least(1), ONE).reason == "not measured in repeat 1"


def test_nothing_of_something_is_a_ratio() -> None:
    """Retries remove an error share of 5 %: at most 0.8 times as many errors, if 5 % are many failures."""
    none, some = by_repeat(0.0, 0.0, 0.0), by_repeat(0.05, 0.06, 0.05)
    claim = claim_of_times(0.8, False, SHARE, SHARE)
    coarse, fine = (dict.fromkeys((1, 2, 3), step) for step in (0.05, 0.001))
    assert decide_times(none, some, claim, THREE, one_event=fine).verdict == "held"
    assert decide_times(none, some, claim, THREE, one_event=coarse).verdict == "inconclusive"


def test_more_repeats_decide_what_few_cannot() -> None:
    looks, claim = Repeats(3, 9), at_least(3, Range())
    values = [3.8, 4.1, 4.4, 4.0, 4.3, 3.9, 4.2]
    words = [decide(by_repeat(*values[:made]), claim, looks).verdict for made in range(3, 8)]
    assert words[0] == "inconclusive"
    assert words[-1] == "held"
    # The same three repeats in a run that allows no more.
    assert decide(by_repeat(*values[:3]), claim, THREE).verdict == "held"
    assert decide(by_repeat(*values[:3]), claim, looks).verdict == "inconclusive"
