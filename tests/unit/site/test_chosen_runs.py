"""Which run of an experiment the site shows."""

from pathlib import Path
from typing import Any

from harness.record.manifest import MANIFEST, Host, Manifest
from harness.record.record_file import write_record
from harness.site.chosen import Choice, choose_runs
from harness.spec.experiment import catalogue

HOST = Host(system="Linux", machine="x86_64", cpus=2, memory_bytes=2**33)


def store(results: Path, day: int, **fields: Any) -> str:
    """Write the manifest of a run of `sticky` that began on that day; return its name."""
    values: dict[str, Any] = {"status": "completed", "experiment": "sticky", **fields}
    name = f"202611{day:02}T000000Z-aaaaaa"
    manifest = Manifest(
        run=name,
        started_utc=f"2026-11-{day:02}T00:00:00Z",
        seed=1,
        versions={},
        host=HOST,
        git_commit=None,
        cells=[],
        **values,
    )
    folder = results / "sticky" / name
    folder.mkdir(parents=True)
    write_record(folder / MANIFEST, manifest)
    return name


def choice(results: Path) -> Choice:
    (found,) = (one for one in choose_runs(results) if one.experiment.name == "sticky")
    return found


def shown(results: Path) -> str | None:
    run = choice(results).run
    return run and run.manifest.run


def test_without_any_run_every_experiment_is_missing(tmp_path: Path) -> None:
    choices = choose_runs(tmp_path)
    assert [one.experiment for one in choices] == list(catalogue())
    assert all(one.run is None and not one.others and not one.unreadable for one in choices)


def test_the_newest_finished_run_is_shown(tmp_path: Path) -> None:
    store(tmp_path, 1)
    newest = store(tmp_path, 2)
    store(tmp_path, 3, status="interrupted")
    store(tmp_path, 4, status="failed")
    assert shown(tmp_path) == newest


def test_a_measured_run_is_preferred_to_a_newer_simulated_one(tmp_path: Path) -> None:
    simulated = store(tmp_path, 2, testbed="simulated")
    assert shown(tmp_path) == simulated
    measured = store(tmp_path, 1)
    assert shown(tmp_path) == measured


def test_a_changed_question_is_an_answer_to_an_exercise_only(tmp_path: Path) -> None:
    same = store(tmp_path, 1, overrides={"repeats": 1, "workload.duration_s": 2.0, "seed": 7})
    other = store(tmp_path, 2, overrides={"repeats": 1, "workload.skew": 0.0})
    assert shown(tmp_path) == same
    (found,) = choice(tmp_path).others
    assert found.manifest.run == other
    assert found.changes == {"workload.skew": 0.0}


def test_a_damaged_manifest_is_named_and_passed_over(tmp_path: Path) -> None:
    good = store(tmp_path, 1)
    damaged = tmp_path / "sticky" / store(tmp_path, 2) / MANIFEST
    damaged.write_text("{")
    assert shown(tmp_path) == good
    (line,) = choice(tmp_path).unreadable
    assert str(damaged) in line


def test_links_and_runs_that_are_being_made_are_no_runs(tmp_path: Path) -> None:
    name = store(tmp_path, 1)
    (tmp_path / "sticky" / "latest").symlink_to(name)
    (tmp_path / "sticky" / name).rename(tmp_path / "sticky" / f".{name}.tmp")
    assert shown(tmp_path) is None
