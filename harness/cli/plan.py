"""The command `plan`: its question, its answer on the terminal, its picture and its experiment."""

import shlex
import textwrap
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from harness.cli.new_file import as_path, confirm_new, experiment_name, write_file
from harness.errors import UserError
from harness.output.safe_console import SafeConsole
from harness.output.safe_text import say
from harness.paths import PROGRAM, RESULTS
from harness.plan.question import NAMES, FleetQuestion, question_of, recorded_load
from harness.spec.experiment import load_experiment

WIDTH = 80
TRACE = ".parquet"  # the end of a trace's name
LOGS = (".log", ".csv", ".json", ".jsonl")  # those of logs
REQUIRED = ("clients", "rate_per_s", "targets", "service_ms")


def answer(
    name: str | None,
    given: Mapping[str, Any],
    svg: Path | None,
    write: Path | None,
    dask: str | None = None,
) -> int:
    """Answer the question that the options ask, or an experiment with the options that differ from it.

    given: fields of FleetQuestion. dask: the scheduler of a cluster that simulates. Prints the answer, and
    writes the picture and the experiment. Raises UserError, before anything is simulated, for what cannot be
    asked or written.
    """
    question = _question(name, given)
    if write is not None and question.recorded is not None:
        raise UserError("--write: an experiment that plays a trace is written by hand: docs/observe.md")
    verifies = None if write is None else experiment_name(write, "--write")
    picture = svg or RESULTS / "plan" / f"{_picture_name(question)}.svg"
    for path, option in ((svg, "--svg"), (write, "--write")):
        if path is not None:
            confirm_new(path, option)
    # The simulator's import takes longer than the check of the options.
    from harness.cli.plan_answer import print_answer
    from harness.cli.plan_picture import plan_svg
    from harness.plan.advice import plan_fleet
    from harness.plan.dask_pool import pool_at

    with pool_at(dask) as pool:
        found = plan_fleet(question, pool)
    print_answer(found, SafeConsole())
    write_file(picture, plan_svg(found), "--svg")
    say(f"\npicture: {picture}")
    if write is not None and verifies is not None:
        from harness.plan.verification import verification_of

        verification = verification_of(question, verifies)
        write_file(write, verification.text, "--write")
        for line in verification.scaled:
            say("\n".join(textwrap.wrap(f"scaled: {line}", WIDTH, subsequent_indent=" " * 8)))
        say(f"experiment: {write}; run it: {PROGRAM} {shlex.quote(as_path(write))}")
    return 0


def _of_trace(path: Path, given: Mapping[str, Any]) -> FleetQuestion:
    """Return the question about the recorded load of a trace. Raises UserError for what else it needs."""
    _confirm_of_trace(given)
    missing = [NAMES[field] for field in ("targets", "service_ms") if field not in given]
    if missing:
        raise UserError(f"plan {path}: {' and '.join(missing)} missing, which a trace does not give")
    load = recorded_load(path)
    return FleetQuestion(
        **{"rate_per_s": load.rate_per_s, **given}, clients=len(load.requests_of), skew=0.0, recorded=load
    )


def _confirm_of_trace(given: Mapping[str, Any]) -> None:
    """Raise UserError for an option that the trace gives."""
    for field in ("clients", "skew", "seconds"):
        if field in given:
            raise UserError(f"{NAMES[field]}: the trace gives it; leave it out (--rate plays it faster)")


def _question(name: str | None, given: Mapping[str, Any]) -> FleetQuestion:
    if name is not None and name.endswith(TRACE):
        return _of_trace(Path(name), given)
    if name is not None:
        if name.removesuffix(".gz").endswith(LOGS):
            raise UserError(
                f"plan {name}: a log is no trace yet; write one with {PROGRAM} observe {name} --save-trace "
                f"NAME{TRACE}"
            )
        question = question_of(load_experiment(name))
        if question.recorded is not None:
            _confirm_of_trace(given)
        return replace(question, **given)
    missing = [NAMES[field] for field in REQUIRED if field not in given]
    if missing:
        raise UserError(
            f"plan: {', '.join(missing)} missing; expected {', '.join(NAMES[field] for field in REQUIRED)}, "
            "or the NAME or FILE of an experiment"
        )
    return FleetQuestion(**{"skew": 0.0, **given})


def _picture_name(question: FleetQuestion) -> str:
    own = question
    return f"{own.clients}-clients-{own.rate_per_s:g}-per-s-{own.targets}-targets"
