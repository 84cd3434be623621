"""`python -m bench.false_verdicts`: how often the judge is wrong, by simulation with known truth.

A scenario says how repeats vary around the true value. The judge's own code makes the judgements. In the
worst case the truth is at the bound. A billionth short of it, every `held` is false. A billionth beyond it,
every `refuted` is false. Both rates should be at most 5 %. Power is the share of right decisions when the
truth is further away.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.analysis.claims import ByRepeat, Claim, Decision, decide, decide_times
from harness.analysis.statistics import Repeats

MOST_FALSE = 0.05
DESIGNS = (Repeats(3, 3), Repeats(5, 5), Repeats(9, 9), Repeats(3, 9))
EFFECTS = (1.05, 1.2, 1.5, 2.0)  # times the bound
BOUND = 3.0
A_BILLIONTH = 1e-9

Floats = NDArray[np.float64]
Draw = Callable[[np.random.Generator, tuple[int, int]], Floats]


@dataclass(frozen=True)
class Scenario:
    """`draw` returns log(measured / truth): a row for each judgement, a column for each repeat. Median: 0.

    None: the measured values count events that happen independently, and the truth is their mean number.
    drift: log of the factor that both arms of a repeat share; the claim is about their ratio.
    is_limit: the scenario breaks the judge's assumptions; it is shown but does not count.
    """

    name: str
    draw: Draw | None
    drift: Draw | None = None
    is_limit: bool = False


def _normal(share: float) -> Draw:
    return lambda random, shape: np.log(np.maximum(1 + share * random.standard_normal(shape), 0.01))


def _lognormal(sigma: float) -> Draw:
    return lambda random, shape: sigma * random.standard_normal(shape)


def _heavy(random: np.random.Generator, shape: tuple[int, int]) -> Floats:
    return 0.2 * random.standard_t(2, shape)


def _skewed(random: np.random.Generator, shape: tuple[int, int]) -> Floats:
    return 0.2 * (random.exponential(size=shape) - math.log(2))


def _largest(random: np.random.Generator, shape: tuple[int, int]) -> Floats:
    return 0.2 * (random.gumbel(size=shape) + math.log(math.log(2)))


def _near_constant(random: np.random.Generator, shape: tuple[int, int]) -> Floats:
    """Most repeats are exactly equal; one in five is one step above or below."""
    return np.log1p(0.01 * random.choice([-1, 0, 1], p=[0.1, 0.8, 0.1], size=shape))


def _outliers(random: np.random.Generator, shape: tuple[int, int]) -> Floats:
    disturbed = random.random(shape) < 0.1
    return 0.1 * random.standard_normal(shape) + np.where(disturbed, math.log(3), 0)


def _trend(random: np.random.Generator, shape: tuple[int, int]) -> Floats:
    """The machine becomes 2 % slower from repeat to repeat, up or down around the truth."""
    steps = 0.02 * (np.arange(shape[1]) - (shape[1] - 1) / 2)
    return steps * random.choice([-1, 1], size=(shape[0], 1)) + 0.1 * random.standard_normal(shape)


def _walk(random: np.random.Generator, shape: tuple[int, int]) -> Floats:
    return (0.3 * random.standard_normal(shape)).cumsum(axis=1)


def _correlated(random: np.random.Generator, shape: tuple[int, int]) -> Floats:
    values = random.standard_normal(shape)
    for repeat in range(1, shape[1]):
        values[:, repeat] = 0.5 * values[:, repeat - 1] + math.sqrt(0.75) * values[:, repeat]
    return 0.1 * values


SCENARIOS = (
    Scenario("normal, 10 %", _normal(0.1)),
    Scenario("normal, 30 %", _normal(0.3)),
    Scenario("lognormal, 0.2", _lognormal(0.2)),
    Scenario("lognormal, 0.5", _lognormal(0.5)),
    Scenario("heavy tails (t, 2 df)", _heavy),
    Scenario("skewed (exponential)", _skewed),
    Scenario("largest values (Gumbel)", _largest),
    Scenario("near-constant", _near_constant),
    Scenario("outliers (10 %, x 3)", _outliers),
    Scenario("trend in one arm", _trend),
    Scenario("drift in both arms", _lognormal(0.1), drift=_walk),
    Scenario("counted events, 3 a repeat", None),
    Scenario("correlated repeats (0.5)", _correlated, is_limit=True),
)


@dataclass(frozen=True)
class Rates:
    """Shares of judgements. The false ones are those of the worse direction (at least or at most).

    power: effect -> share that is decided and right, mean of both directions.
    repeats_made: mean, at the bound.
    """

    false_held: float
    false_refuted: float
    power: tuple[float, ...]
    repeats_made: float

    @property
    def are_low(self) -> bool:
        """Whether both rates are within their limit."""
        return max(self.false_held, self.false_refuted) <= MOST_FALSE


def rates(
    scenario: Scenario, design: Repeats, judgements: int, seed: int, effects: Sequence[float] = EFFECTS
) -> Rates:
    """Judge `judgements` simulated runs for each direction of the claim, and again for each effect."""
    random = np.random.default_rng(seed)

    def share(words: str, effect: float, is_least: bool, runs: int = judgements) -> float:
        decisions = _judge(scenario, design, runs, random, effect, is_least)
        return sum(decision.verdict == words for decision, _ in decisions) / runs

    both, half = (True, False), max(judgements // 2, 1)
    made = [repeats for _, repeats in _judge(scenario, design, half, random, 1 - A_BILLIONTH, True)]
    return Rates(
        false_held=max(share("held", 1 - A_BILLIONTH, is_least) for is_least in both),
        false_refuted=max(share("refuted", 1 + A_BILLIONTH, is_least) for is_least in both),
        power=tuple(
            sum(share("held", effect, is_least, half) for is_least in both) / 2 for effect in effects
        ),
        repeats_made=sum(made) / half,
    )


def _judge(
    scenario: Scenario,
    design: Repeats,
    runs: int,
    random: np.random.Generator,
    effect: float,
    is_least: bool,
) -> Iterator[tuple[Decision, int]]:
    """Yield each decision and its number of repeats. The truth is `effect` beyond the bound."""
    shape = (runs, design.most)
    truth = BOUND * effect if is_least else BOUND / effect
    claim = Claim(BOUND, is_least)
    if scenario.draw is None:
        values = random.poisson(truth, shape).astype(np.float64)
    else:
        values = truth * np.exp(scenario.draw(random, shape))
    common = None if scenario.drift is None else np.exp(scenario.drift(random, shape))
    step = {} if scenario.draw else dict.fromkeys(range(1, design.most + 1), 1.0)
    for row in range(runs):
        yield _one(values[row], None if common is None else common[row], claim, design, step)


def _one(
    values: Floats, common: Floats | None, claim: Claim, design: Repeats, step: dict[int, float]
) -> tuple[Decision, int]:
    """Make repeats as a run does: until the claim is decided or the maximum is reached."""
    for made in range(design.least, design.most + 1):
        if common is None:
            decision = decide(_by_repeat(values[:made]), claim, design, one_event=step)
        else:
            arm = _by_repeat((values * common)[:made])
            decision = decide_times(arm, _by_repeat(common[:made]), claim, design)
        if not decision.more_repeats_help:
            break
    return decision, made


def _by_repeat(values: Floats) -> ByRepeat:
    return dict(enumerate(values.tolist(), start=1))


def main(argv: Sequence[str] | None = None) -> int:
    """Print the table; return 1 if a rate is above its limit."""
    parser = argparse.ArgumentParser(prog="python -m bench.false_verdicts", description=__doc__)
    parser.add_argument("--judgements", type=int, default=10_000, help="for each rate")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(argv)
    powers = " | ".join(f"decided at x {effect:g}" for effect in EFFECTS)
    print(f"| repeats vary | repeats | false held | false refuted | {powers} | repeats made at the bound |")
    print("|---" * (5 + len(EFFECTS)) + "|")
    too_high = 0
    for scenario in SCENARIOS:
        for design in DESIGNS:
            found = rates(scenario, design, options.judgements, options.seed)
            print(_row(scenario, design, found), flush=True)
            too_high += not found.are_low and not scenario.is_limit
    print(f"{too_high} rows have a rate above {MOST_FALSE:.0%} ({options.judgements:,} judgements each)")
    return 1 if too_high else 0


def _row(scenario: Scenario, design: Repeats, found: Rates) -> str:
    fixed = design.least == design.most
    repeats = str(design.most) if fixed else f"{design.least} to {design.most}"
    false = f"{found.false_held:.1%} | {found.false_refuted:.1%}"
    power = " | ".join(f"{share:.0%}" for share in found.power)
    name = f"{scenario.name}{' (limit)' if scenario.is_limit else ''}"
    return f"| {name} | {repeats} | {false} | {power} | {found.repeats_made:.1f} |"


if __name__ == "__main__":
    sys.exit(main())
