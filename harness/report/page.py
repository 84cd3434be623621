"""Builds report.html, one page that opens from disk, from the run directory alone."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jinja2

from harness.analysis.summary import facts_of, summarise
from harness.errors import UserError
from harness.metrics.facts import CellFacts
from harness.output.safe_text import visible
from harness.paths import PROGRAM
from harness.record.record_file import own_folder, write_record, write_text
from harness.record.run_directory import Run, read_run
from harness.record.summary import SUMMARY, Summary
from harness.report import tables
from harness.report.assets import module_script, style
from harness.report.event_tables import changes_table, event_tables
from harness.report.finding import contrast_in_words, finding_of, verdict_in_words, word_of
from harness.report.inline_svg import inline_svg
from harness.report.prediction_table import prediction_section
from harness.report.replay import believed, replay_of
from harness.report.search_tables import capacities_table, search_lines, trials_table
from harness.report.setup_drawing import draw_setup
from harness.report.share_tables import names_table, where_table
from harness.report.stage_tables import stages_table
from harness.report.story import (
    counts_in_words,
    expectation,
    lesson_of,
    next_command,
    on_aws,
    prose,
)
from harness.report.what_if import what_if_of
from harness.spec.arm import OWN_WORKLOAD
from harness.spec.experiment import Arm, Experiment, as_asked
from harness.spec.heads import OPTIONS

if TYPE_CHECKING:
    from harness.report.plots import CarryOut, MainPlot

PAGE, PLOTS_FOLDER = "report.html", "plots"


@dataclass(frozen=True)
class JudgedRun:
    """A run with all that its page is made from: the facts of its cells, and its summary.

    `plots`: whether plots are drawn.
    """

    run: Run
    facts: Mapping[str, Sequence[CellFacts]]
    summary: Summary
    plots: bool

    @property
    def page(self) -> Path:
        """The report's page."""
        return self.run.path / PAGE


def build_report(
    run_dir: Path, judged: Callable[[Path, Summary], None] | None = None, *, plots: bool = True
) -> tuple[Path, Summary]:
    """Derive summary.json, joined/, plots/ and report.html from a run directory; return page and summary.

    `judged` is called with `run_dir` and the summary as soon as there is one: plots and page take seconds.
    `plots`: whether plots are drawn.
    Raises UserError when the directory is no run of this lab, is damaged, or cannot be written.
    """
    found = judge_run(run_dir, plots=plots)
    if judged is not None:
        judged(run_dir, found.summary)
    return finish_report(found), found.summary


def judge_run(run_dir: Path, *, plots: bool = True) -> JudgedRun:
    """Derive summary.json and joined/ from a run directory. Arguments and errors as of `build_report`."""
    run = read_run(run_dir)
    with _writable(run_dir):
        if plots:
            own_folder(run_dir, PLOTS_FOLDER)  # what is in its place is noticed now, not after the verdict
        facts = facts_of(run, write_tables=True)
        summary = summarise(run, facts)
        write_record(run_dir / SUMMARY, summary)
    return JudgedRun(run, facts, summary, plots)


def finish_report(found: JudgedRun, carry_out: CarryOut | None = None) -> Path:
    """Draw the plots of a judged run and write its page; return the page's path.

    `carry_out`: draws the plots; None: one after the other. Raises UserError when the run's directory cannot
    be written.
    """
    run, summary = found.run, found.summary
    with _writable(run.path):
        drawn, main = _draw(found, carry_out) if found.plots else (None, None)
        replayed = believed(run, found.facts, summary.search)
        write_text(found.page, visible(render_report(run, summary, drawn, replayed, main)))
    return found.page


@contextmanager
def _writable(run_dir: Path) -> Iterator[None]:
    """Raise UserError instead of OSError."""
    try:
        yield
    except OSError as error:
        raise UserError(
            f"{run_dir}: the report cannot be written ({error.strerror}); copy the run to where you may write"
        ) from error


def _draw(found: JudgedRun, carry_out: CarryOut | None) -> tuple[dict[str, Path], MainPlot | None]:
    """Draw the plots; return them by their names, and the one that answers the question."""
    # It imports matplotlib, which takes longer than all else of a report without plots.
    from harness.report.plots import draw_plots, in_turn
    from harness.report.plotting import PlotData

    data = PlotData.of(found.run.experiment, found.facts, found.summary.search)
    folder = own_folder(found.run.path, PLOTS_FOLDER)
    return draw_plots(data, folder, finding_of(found.summary).metrics, carry_out or in_turn)


def render_report(
    run: Run,
    summary: Summary,
    plots: Mapping[str, Path] | None,
    replayed: Run | None = None,
    main: MainPlot | None = None,
) -> str:
    """Return the page.

    `plots`: plot name -> path of its SVG; None: plots were left out. `replayed`: with the cells to be
    replayed. `main`: the plot that stands beside the lesson.
    """
    loader = jinja2.FileSystemLoader(Path(__file__).parent / "templates")
    environment = jinja2.Environment(
        loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["expectation"] = expectation
    experiment = as_asked(run.experiment)
    replay, what_if = replay_of(replayed or run), what_if_of(run, summary)
    scripts = [module_script("replay_player.js")] if replay else []
    scripts += [module_script("whatif_panel.js")] if what_if else []
    styles = ["page.css", *(["replay.css"] if replay else []), *(["whatif.css"] if what_if else [])]
    return environment.get_template("report.html.j2").render(
        **_tables(run, summary),
        summary=summary,
        style="".join(map(style, styles)),
        error=run.manifest.error,
        failed=tables.failed_lines(summary),
        setup=draw_setup(experiment, ours=run.manifest.testbed != "external"),
        prediction=prediction_section(run.path, summary),
        finding=finding_of(summary).text,
        verdict_meaning=verdict_in_words(summary),
        words=[word_of(summary, one) for one in summary.expectations],
        main_plot=main and _main_plot(summary, plots or {}, main),
        lesson=lesson_of(experiment),
        prose=prose,
        on_aws=on_aws(experiment),
        exercise=prose(experiment.teaching.exercise) if experiment.teaching else None,
        next_command=next_command(experiment),
        counts=counts_in_words([word_of(summary, one) for one in summary.expectations]),
        not_judged=tables.not_judged_lines(summary),
        difference=_difference(experiment),
        repeated=tables.repeated_in_words(summary),
        repeated_lines=tables.repeated_lines(summary),
        unsent=tables.unsent_lines(summary),
        searched=list(search_lines(summary.search)) if summary.search else [],
        plots=[
            _embedded(name, path.read_text(encoding="utf-8"), summary)
            for name, path in (plots or {}).items()
            if main is None or main.svg is not None or name != main.name
        ],
        redraw=f"{PROGRAM} report DIR" if plots is None else None,
        replay=replay,
        what_if=what_if,
        scripts=scripts,
        command=_command(run),
        facts=_facts(run),
    )


def _tables(run: Run, summary: Summary) -> dict[str, Any]:
    """Return the tables of the page by their names in the template."""
    arms = summary.arms
    missing = {party: why for cell in run.cells for party, why in cell.record.missing_ledgers.items()}
    return {
        "capacities": capacities_table(summary),
        "trials": summary.search and trials_table(summary.search),
        "where": where_table(summary),
        "names": names_table(summary),
        "units": tables.units_table(arms),
        "errors": tables.errors_table(arms),
        "changes": changes_table(arms),
        "events": list(event_tables(arms)),
        "latency": tables.latency_table(arms),
        "stages": stages_table(arms),
        "ledgers": tables.ledgers_table(arms, missing),
        "generator": tables.generator_table(arms),
        "usage": tables.usage_table(arms),
        "machine": tables.machine_table(summary),
    }


def _difference(experiment: Experiment) -> dict[str, Any]:
    """Return the fields in which the arms differ, and each arm's values.

    Where all arms have the same policy, every option is a field.
    """
    variants = experiment.variants
    one_policy = len({(variant.arm.route, variant.arm.policy) for variant in variants.values()}) == 1
    arms = {name: _fields(variant.arm, one_policy) for name, variant in variants.items()}
    names = dict.fromkeys(field for arm in arms.values() for field in arm)
    fields = [field for field in names if len({arm.get(field, "default") for arm in arms.values()}) > 1]
    if len(arms) == 1:
        text = "There is one arm; it is compared with nothing."
    elif not fields:
        text = "The arms are the same, so what differs between them is chance."
    else:
        count = "One thing differs" if len(fields) == 1 else f"{len(fields)} things differ"
        all_else = "All else is" if set(fields) & set(OWN_WORKLOAD) else "Replicas, workload and plan are"
        text = f"{count} between the arms: {', '.join(fields)}. {all_else} the same."
    rows = {name: [arm.get(field, "default") for field in fields] for name, arm in arms.items()}
    return {"text": text, "fields": fields, "rows": rows}


def _fields(arm: Arm, one_policy: bool) -> dict[str, str]:
    """Return field -> value in words, for all fields of the arm."""
    fields = arm.model_dump(exclude={"sweep"})
    if one_policy:
        fields |= {f"options.{name}": value for name, value in fields.pop("options").items()}
    return {name: _word(value) for name, value in fields.items()}


def _word(value: object) -> str:
    if value is None or value == {}:
        return tables.ABSENT
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        return ", ".join(f"{name}: {_word(own)}" for name, own in value.items())
    if isinstance(value, list):
        return ", ".join(_word(own) for own in value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def _main_plot(summary: Summary, plots: Mapping[str, Path], main: MainPlot) -> dict[str, Any]:
    """Return the plot beside the lesson; the wide one where it cannot be drawn narrow."""
    if main.svg is None:
        svg = plots[main.name].read_text(encoding="utf-8")
        return {**_embedded(main.name, svg, summary), "wide": True}
    return {**_embedded(main.name, main.svg, summary, ids=f"main-{main.name}"), "wide": False}


def _embedded(name: str, svg: str, summary: Summary, ids: str = "") -> dict[str, Any]:
    """Return a plot as the template wants it; its title says what it shows, then the figures of the arms."""
    from harness.report.plots import PLOTS

    plot, words = PLOTS[name], name.replace("_", " ").capitalize()
    stated = contrast_in_words(summary, plot.states) if plot.states else ""
    title = f"{words}. {stated}".strip()
    return {
        "title": title,
        "caption": plot.caption,
        "svg": inline_svg((ids or name).replace("_", "-"), svg, title, plot.caption),
    }


def _command(run: Run) -> str:
    manifest, load = run.manifest, run.manifest.load
    options = {OPTIONS[field]: value for field, value in manifest.overrides.items() if field in OPTIONS}
    options.setdefault("--seed", manifest.seed)
    words = [run.name, *(str(word) for option in options.items() for word in option)]
    if manifest.testbed != "local":
        words += ["--testbed", manifest.testbed, *manifest.testbed_options]
    words += ["--processes", str(load.processes)] if load.processes > 1 else []
    words += ["--expect-workers", str(load.expect_workers)] if load.expect_workers else []
    return f"{PROGRAM} {shlex.join(words)}"


def _facts(run: Run) -> tables.Table:
    manifest = run.manifest
    rows = [
        ["run", f"{run.name}/{manifest.run}"],
        ["started", manifest.started_utc],
        ["finished", manifest.finished_utc or "not finished"],
        ["status", manifest.status],
        ["testbed", manifest.testbed],
        ["cells", f"{len(run.cells)} recorded of {len(manifest.cells)} planned"],
        ["seed", str(manifest.seed)],
        ["commit", manifest.git_commit or "unknown"],
        ["versions", ", ".join(f"{name} {version}" for name, version in manifest.versions.items())],
        ["host", ", ".join(f"{name}: {value}" for name, value in manifest.host)],
    ]
    return tables.Table([], rows)
