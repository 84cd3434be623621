"""`python -m bench.predictions [RESULTS] [--page FILE]`: how far the predictions of the newest runs held.

It reads the newest completed run of each experiment in RESULTS (default results/), and writes
docs/predictions.md: coverage, surprises with reasons, and every arm. It measures nothing. A run without
a prediction is predicted now, with the costs of the runs that had ended before it.
"""

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.analysis.summary import facts_of, summarise
from harness.analysis.surprises import CORE, Comparison, comparisons
from harness.errors import UserError
from harness.metrics.metric import show
from harness.paths import RESULTS, ROOT
from harness.record.machine_costs import MachineCosts, with_run
from harness.record.manifest import MANIFEST
from harness.record.prediction import BAND_SHARE, Prediction, read_prediction
from harness.record.record_file import write_text
from harness.record.run_directory import Run, read_run
from harness.record.summary import Summary
from harness.run.prediction import PREDICTED_TESTBEDS
from harness.testbed.simulated.predict import predict

PAGE = ROOT / "docs" / "predictions.md"
FEWEST, MOST = 0.80, 0.97  # the share that should lie inside of bands of 90 %
SHOWN = {"spread.max_over_mean": "busiest / fair", "latency_ms.p99": "p99, ms", "error_share": "error share"}


@dataclass(frozen=True)
class Scored:
    """One run with its prediction. afterwards: it was predicted now, and not before it was measured."""

    run: Run
    summary: Summary
    prediction: Prediction
    afterwards: bool

    @property
    def comparisons(self) -> list[Comparison]:
        """Everything that was predicted and measured."""
        return list(comparisons(self.prediction, self.summary))


def main() -> None:
    """Read the runs and write the page."""
    parser = argparse.ArgumentParser(prog="python -m bench.predictions", description=__doc__)
    parser.add_argument("results", nargs="?", type=Path, default=RESULTS, help="default: results/")
    parser.add_argument("--page", type=Path, default=PAGE, help="default: docs/predictions.md")
    given = parser.parse_args()
    try:
        scored = score(newest_runs(given.results))
    except UserError as error:
        parser.error(str(error))
    if not scored:
        parser.error(f"{given.results}: there is no completed run on testbed local or docker")
    write_text(given.page, page(scored))
    print(f"{given.page}: {_coverage_in_words([one for run in scored for one in run.comparisons])}")


def newest_runs(results: Path) -> list[Run]:
    """Return the newest completed run of each experiment on the lab's own parts, in order of time."""
    newest = {}
    for path in sorted(results.glob(f"*/*/{MANIFEST}"), key=lambda path: path.parent.name):
        if path.parent.is_symlink():
            continue
        run = read_run(path.parent)
        if run.manifest.status == "completed" and run.manifest.testbed in PREDICTED_TESTBEDS:
            newest[run.name] = run
    return sorted(newest.values(), key=lambda run: run.manifest.started_utc)


def score(runs: Sequence[Run]) -> list[Scored]:
    """Return each run with its prediction. runs: in order of time."""
    costs, scored = MachineCosts(), []
    for run in runs:
        summary = summarise(run, facts_of(run))
        found = read_prediction(run.path)
        before = found if found is not None and found.skipped is None else None
        prediction = before or predict(run.experiment, run.manifest.testbed, costs)
        scored.append(Scored(run, summary, prediction, afterwards=before is None))
        costs = with_run(costs, run.manifest.testbed, summary)
    return scored


def page(scored: Sequence[Scored]) -> str:
    """Return the page in Markdown."""
    every = [one for run in scored for one in run.comparisons]
    surprises = [(run.run.name, one) for run in scored for one in run.comparisons if one.is_surprise]
    parts = [
        "# Predicted and measured",
        "<!-- Made by `python -m bench.predictions` from the newest run of each experiment. -->",
        "Before a run on real parts is measured, the simulator predicts each metric of each arm as a band. "
        "[simulator.md](simulator.md) says how. This page compares the bands with what was then measured. "
        "Nine of ten repeats should lie in their band.",
        "## How often the bands held",
        _coverage_in_words(every),
        *_not_counted(scored, every),
        _table(["metric", "repeats measured", "in the band", "share"], _coverage_rows(every)),
        "## Surprises",
        "A median over the repeats outside of its band is a surprise.",
        _table(
            ["experiment, arm", "metric", "predicted (5-95 %)", "measured", "reason"],
            (_surprise_row(name, one) for name, one in surprises),
        )
        if surprises
        else "There is none.",
        "## Every arm",
        "Predicted median, the band in brackets, and the measured median. A surprise is bold.",
        _table(["experiment, arm", *SHOWN.values()], _arm_rows(scored)),
    ]
    return "\n\n".join(parts) + "\n"


def _table(head: Sequence[str], rows: Iterator[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _counted(every: Sequence[Comparison]) -> list[Comparison]:
    return [one for one in every if not one.costs_missing]


def _coverage_in_words(every: Sequence[Comparison]) -> str:
    counted = _counted(every)
    measured, inside = sum(len(one.measured) for one in counted), sum(one.inside for one in counted)
    if not measured:
        return "Nothing that was predicted has been measured."
    share = inside / measured
    word = "as it should be" if FEWEST <= share <= MOST else "too few" if share < FEWEST else "too many"
    return (
        f"{inside:,} of {measured:,} measurements ({share:.0%}) lie inside of their {BAND_SHARE:.0%} band. "
        f"Between {FEWEST:.0%} and {MOST:.0%} is good: this is {word}."
    )


def _not_counted(scored: Sequence[Scored], every: Sequence[Comparison]) -> Iterator[str]:
    """Yield a paragraph for each kind of measurement or run that does not count, or counts less."""
    missing = sum(len(one.measured) for one in every if one.costs_missing)
    if missing:
        yield (
            f"{missing:,} latencies are not counted. When they were predicted, no calm run on the machine "
            "had ended, so the costs of proxy and network were not known."
        )
    skipped = [f"{run.run.name} ({run.prediction.skipped})" for run in scored if run.prediction.skipped]
    if skipped:
        yield f"Not predicted: {'; '.join(skipped)}."
    later = [run.run.name for run in scored if run.afterwards]
    if later:
        which = "All runs" if len(later) == len(scored) else f"Of {len(scored)} runs {len(later)}"
        yield (
            f"{which} were predicted after they had been measured, from the experiment alone. Nothing was "
            "predicted when they ran: they are older than predictions, or the simulator was not compiled yet."
        )
        if len(later) < len(scored):
            yield "\n".join(f"- {name}" for name in later)


def _coverage_rows(every: Sequence[Comparison]) -> Iterator[list[str]]:
    counted = _counted(every)
    for metric in dict.fromkeys([*CORE, *(one.metric for one in counted)]):
        own = [one for one in counted if one.metric == metric]
        measured, inside = sum(len(one.measured) for one in own), sum(one.inside for one in own)
        if measured:
            yield [f"`{metric}`", f"{measured:,}", f"{inside:,}", f"{inside / measured:.0%}"]


def _surprise_row(name: str, one: Comparison) -> list[str]:
    return [
        f"{name}, {one.arm}",
        f"`{one.metric}`",
        f"{show(one.median)} ({show(one.low)}-{show(one.high)})",
        show(one.measured_median),
        one.reason,
    ]


def _arm_rows(scored: Sequence[Scored]) -> Iterator[list[str]]:
    for run in sorted(scored, key=lambda run: run.run.name):
        found = {(one.arm, one.metric): one for one in run.comparisons}
        for arm in run.summary.arms:
            predicted = run.prediction.arms.get(arm)
            if predicted is not None and predicted.not_modelled:
                reason = f"not modelled: {', '.join(predicted.not_modelled)}"
                yield [f"{run.run.name}, {arm}", reason, *[""] * (len(SHOWN) - 1)]
            else:
                yield [f"{run.run.name}, {arm}", *(_cell(found.get((arm, metric))) for metric in SHOWN)]


def _cell(one: Comparison | None) -> str:
    if one is None:
        return ""
    measured = show(one.measured_median)
    text = f"{show(one.median)} ({show(one.low)}-{show(one.high)}): {measured}"
    return f"**{text}**" if one.is_surprise else text


if __name__ == "__main__":
    main()
