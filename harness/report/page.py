"""Builds report.html, one page that opens from disk, from the run directory alone."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import jinja2

from harness.analysis.summary import Facts, facts_of, summarise
from harness.errors import UserError
from harness.output.safe_text import visible
from harness.record.record_file import own_folder, write_record, write_text
from harness.record.run_directory import Run, read_run
from harness.record.summary import SUMMARY, Summary
from harness.report import tables
from harness.report.assets import module_script, style
from harness.report.event_tables import changes_table, event_tables
from harness.report.finding import VERDICTS
from harness.report.plots import PLOTS, draw_plots
from harness.report.prediction_table import prediction_section
from harness.report.replay import replay_of
from harness.report.share_tables import names_table, where_table
from harness.report.stage_tables import stages_table
from harness.spec.arm import OWN_WORKLOAD
from harness.spec.experiment import OPTIONS, Arm, Experiment

_LEFT_IN_URLS = "!$'()*+,/:;=?@[]^`{|}~<> "


def build_report(run_dir: Path) -> tuple[Path, Summary]:
    """Derive summary.json, joined/, plots/ and report.html from a run directory; return page and summary.

    Raises UserError when the directory is no run of this lab, is damaged, or cannot be written.
    """
    run = read_run(run_dir)
    try:
        folder = own_folder(run_dir, "plots")
        facts = facts_of(run, write_tables=True)
        summary = summarise(run, facts)
        write_record(run_dir / SUMMARY, summary)
        plots = draw_plots(run.experiment, facts, folder)
        page = render_report(run, summary, plots, _believed(run, facts))
        write_text(run_dir / "report.html", visible(page))
    except OSError as error:
        raise UserError(
            f"{run_dir}: the report cannot be written ({error.strerror}); copy the run to where you may write"
        ) from error
    return run_dir / "report.html", summary


def _believed(run: Run, facts: Facts) -> Run:
    """Return the run without the cells whose records contradict themselves."""
    wrong = {(cell.arm, cell.repeat) for cells in facts.values() for cell in cells if cell.contradictions}
    cells = [cell for cell in run.cells if (cell.record.arm, cell.record.repeat) not in wrong]
    return replace(run, cells=cells)


def render_report(run: Run, summary: Summary, plots: Mapping[str, Path], replayed: Run | None = None) -> str:
    """Return the page. `plots`: plot name -> path of its SVG. `replayed`: with the cells to be replayed."""
    loader = jinja2.FileSystemLoader(Path(__file__).parent / "templates")
    environment = jinja2.Environment(
        loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    arms = summary.arms
    missing = {party: why for cell in run.cells for party, why in cell.record.missing_ledgers.items()}
    return environment.get_template("report.html.j2").render(
        summary=summary,
        error=run.manifest.error,
        failed=tables.failed_lines(summary),
        verdict_meaning=VERDICTS[summary.verdict],
        difference=_difference(run.experiment),
        lesson=[" ".join(text.split()) for text in run.experiment.lesson.split("\n\n") if text.strip()],
        prediction=prediction_section(run.path, summary),
        where=where_table(summary),
        names=names_table(summary),
        units=tables.units_table(arms),
        errors=tables.errors_table(arms),
        changes=changes_table(arms),
        events=list(event_tables(arms)),
        latency=tables.latency_table(arms),
        stages=stages_table(arms),
        ledgers=tables.ledgers_table(arms, missing),
        generator=tables.generator_table(arms),
        usage=tables.usage_table(arms),
        machine=tables.machine_table(summary),
        repeated=tables.repeated_in_words(summary),
        repeated_lines=tables.repeated_lines(summary),
        unsent=tables.unsent_lines(summary),
        plots=[_embedded(name, path) for name, path in plots.items()],
        replay=replay_of(replayed or run),
        replay_style=style("replay.css"),
        replay_script=module_script("replay_player.js"),
        command=_command(run),
        facts=_facts(run),
    )


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
        text = "Nothing: the arms are the same, so what differs between them is chance."
    else:
        count = "One thing" if len(fields) == 1 else f"{len(fields)} things"
        all_else = "All else is" if set(fields) & set(OWN_WORKLOAD) else "Replicas, workload and plan are"
        text = f"{count}: {', '.join(fields)}. {all_else} the same."
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


def _embedded(name: str, path: Path) -> dict[str, str]:
    title = name.replace("_", " ").capitalize()
    # A quarter smaller than base64. Nothing that is left as it is can end the attribute.
    svg = quote(" ".join(path.read_text(encoding="utf-8").split()), safe=_LEFT_IN_URLS)
    return {"title": title, "caption": PLOTS[name].caption, "svg": svg}


def _command(run: Run) -> str:
    manifest, load = run.manifest, run.manifest.load
    options = {OPTIONS[field]: value for field, value in manifest.overrides.items() if field in OPTIONS}
    options.setdefault("--seed", manifest.seed)
    words = [run.name, *(str(word) for option in options.items() for word in option)]
    if manifest.testbed != "local":
        words += ["--testbed", manifest.testbed, *manifest.testbed_options]
    words += ["--processes", str(load.processes)] if load.processes > 1 else []
    words += ["--expect-workers", str(load.expect_workers)] if load.expect_workers else []
    return shlex.join(["python", "run_experiment.py", *words])


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
