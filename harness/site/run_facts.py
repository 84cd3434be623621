"""What the site needs of one run: its summary, its replay, and which records may be shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness.analysis.summary import facts_of, summarise
from harness.record.run_directory import Run, read_run
from harness.record.stored_runs import StoredRun
from harness.record.summary import ArmSummary, Summary
from harness.report.prediction_table import prediction_section
from harness.report.replay import Replay, believed, replay_of


@dataclass(frozen=True)
class RunFacts:
    """A run that was read. replay: None where no cell has a request. simulator_said: what it predicted."""

    stored: StoredRun
    run: Run
    summary: Summary
    replay: Replay | None
    simulator_said: Sequence[str] = ()

    @property
    def compared(self) -> Sequence[tuple[str, ArmSummary]]:
        """The arms that the lesson compares, one or two: those of the replay."""
        return [(name, self.summary.arms[name]) for name in self.replay.data["shown"]] if self.replay else []


def read_facts(stored: StoredRun) -> RunFacts:
    """Return the facts of a run. Raises UserError naming the file that is missing or damaged."""
    run = read_run(stored.path)
    facts = facts_of(run)
    summary = summarise(run, facts)
    predicted = prediction_section(run.path, summary)
    replay = replay_of(believed(run, facts, summary.search))
    return RunFacts(stored, run, summary, replay, predicted.told if predicted else ())
