"""The run directory: written whole, read back, and refused with one clear line when it is damaged."""

import json
import os
import shutil
import tomllib
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from harness.analysis.summary import summarise
from harness.errors import UserError
from harness.paths import ROOT
from harness.record.cell_record import CellRecord, LoadWorkerRecord
from harness.record.ledger_files import store_ledgers
from harness.record.manifest import Host, Manifest
from harness.record.record_file import READ_BY, SCHEMA, read_record, write_record
from harness.record.run_directory import RunWriter, read_run
from harness.record.tables import store_rows, table_errors
from lb.rows import REQUEST_COLUMNS
from tests.unit.synthetic.edited_run import as_written
from tests.unit.synthetic.synthetic_run import EXPERIMENT, GOLDEN

pytestmark = pytest.mark.whole_run

HEADER = ",".join(REQUEST_COLUMNS) + "\n"
LINE = "3000000017,3,0,AddVideo,1,1,2,3,OK,,0,0,0,1,127.0.0.1:8\n"


def create(results):
    """A new run without cells."""
    host = Host(system="", machine="", cpus=None, memory_bytes=0)
    facts = {"experiment": "sticky", "seed": 1, "versions": {}, "git_commit": None, "cells": []}
    return RunWriter.create(results, Manifest(host=host, **facts), EXPERIMENT)


@pytest.fixture
def golden(tmp_path):
    return shutil.copytree(GOLDEN, tmp_path / "run")


def test_a_run_is_interrupted_until_it_is_finished(tmp_path):
    writer = create(tmp_path)
    manifest = json.loads((writer.path / "manifest.json").read_text())
    assert (manifest["status"], manifest["finished_utc"], manifest["schema"]) == ("interrupted", None, SCHEMA)
    assert not (tmp_path / "sticky" / "latest").exists()
    writer.finish("completed")
    assert writer.link_latest() is None
    manifest = json.loads((writer.path / "manifest.json").read_text())
    assert manifest["status"] == "completed"
    assert manifest["finished_utc"] >= manifest["started_utc"]
    assert (tmp_path / "sticky" / "latest").readlink().name == writer.path.name
    stored = read_run(tmp_path / "sticky" / "latest")
    assert stored.name == stored.experiment.name == "sticky"


def test_latest_is_the_newest_completed_run(tmp_path):
    first, second, third = (create(tmp_path) for _ in range(3))
    first.finish("completed")
    first.link_latest()
    second.finish("completed")
    second.link_latest()
    third.finish("failed", "no Envoy")
    assert (tmp_path / "sticky" / "latest").resolve() == second.path.resolve()
    assert json.loads((third.path / "manifest.json").read_text())["error"] == "no Envoy"


def test_latest_that_cannot_be_a_link_is_a_warning_and_leaves_nothing(tmp_path):
    writer = create(tmp_path)
    (tmp_path / "sticky" / "latest").mkdir()
    warning = writer.link_latest()
    assert warning is not None
    assert warning.endswith(f"latest does not lead to this run (Is a directory); it is in {writer.path}")
    assert sorted(path.name for path in (tmp_path / "sticky").iterdir()) == sorted(
        ["latest", writer.path.name]
    )


def test_a_panic_of_polars_is_one_line_naming_the_file(tmp_path):
    message = r"requests: expected rows, but it cannot be read \(out of order\)"
    with pytest.raises(UserError, match=message), table_errors(tmp_path / "requests", "rows"):
        raise pl.exceptions.PanicException("out of order")


def test_results_that_cannot_be_written_are_the_users_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"results folder .*file: cannot be written"):
        create(tmp_path / "file")


def test_results_in_a_folder_whose_name_is_not_utf_8_are_refused(tmp_path):
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/x\xff"))
    with pytest.raises(UserError, match=r"its name is not UTF-8.*with --results"):
        create(folder)
    assert list(tmp_path.iterdir()) == []


def test_a_cell_is_never_written_twice(tmp_path):
    writer = create(tmp_path)
    writer.cell("sticky", 1)
    with pytest.raises(FileExistsError):
        writer.cell("sticky", 1)


@pytest.mark.parametrize("cut_off", ["", "3", "3000000017,3,0,Add", LINE[:-1], "-", '"', "\x00\x00"])
@pytest.mark.parametrize("lines", [1, 50_000])
def test_a_cut_off_last_line_is_dropped(tmp_path, cut_off, lines):
    csv, parquet = tmp_path / "requests.csv", tmp_path / "requests.parquet"
    csv.write_text(HEADER + LINE * lines + cut_off)
    store_rows(csv, parquet, REQUEST_COLUMNS)
    stored = pl.read_parquet(parquet)
    assert stored.height == lines
    assert stored.row(-1)[0] == 3000000017
    assert stored["replica"][-1] == ""
    assert [path.name for path in tmp_path.iterdir()] == ["requests.parquet"]


@pytest.mark.parametrize("content", ["", HEADER[:5], HEADER])
def test_a_ledger_without_rows_is_an_empty_table(tmp_path, content):
    (tmp_path / "requests.csv").write_text(content)
    store_rows(tmp_path / "requests.csv", tmp_path / "requests.parquet", REQUEST_COLUMNS)
    assert pl.read_parquet(tmp_path / "requests.parquet").height == 0


@pytest.mark.parametrize("content", ["a,b\n1,2\n", HEADER + "x" + LINE])
def test_a_foreign_csv_is_refused_and_kept(tmp_path, content):
    (tmp_path / "requests.csv").write_text(content)
    with pytest.raises(UserError, match=r"requests\.csv: expected"):
        store_rows(tmp_path / "requests.csv", tmp_path / "requests.parquet", REQUEST_COLUMNS)
    assert [path.name for path in tmp_path.iterdir()] == ["requests.csv"]


def cut(path, to=0.5):
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * to)])


def edit(path, **fields):
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def without(path, field):
    content = json.loads(path.read_text())
    del content[field]
    path.write_text(json.dumps(content))


CELL = "cells/sticky.1"


def written(run):
    """Put the ledgers of the cell into the files that its parts write; return its folder."""
    as_written(read_run(run).cells_of("sticky")[0])
    return run / CELL


DAMAGE = {
    "no manifest": (lambda run: (run / "manifest.json").unlink(), "not a run directory"),
    "cut off manifest": (lambda run: cut(run / "manifest.json"), r"manifest\.json: expected JSON"),
    "foreign manifest": (
        lambda run: (run / "manifest.json").write_text("[]"),
        f"with schema {SCHEMA}, found schema None",
    ),
    "schema that is no number": (
        lambda run: edit(run / "manifest.json", schema=True),
        f"with schema {SCHEMA}, found schema True",
    ),
    "earlier manifest": (
        lambda run: edit(run / "manifest.json", schema=1),
        r"manifest\.json: schema 1 was written by lb-lab 0\.1; install lb-lab 0\.1 to read it, or run the "
        r"experiment again$",
    ),
    "later manifest": (
        lambda run: edit(run / "manifest.json", schema=SCHEMA + 1, versions={"lb-lab": "0.9"}),
        rf"manifest\.json: schema {SCHEMA + 1} was written by lb-lab 0\.9; install lb-lab 0\.9 to read it",
    ),
    "earlier cell": (
        lambda run: edit(run / CELL / "cell.json", schema=1),
        r"cell\.json: schema 1 was written by lb-lab 0\.1; install",
    ),
    "later cell": (
        lambda run: edit(run / CELL / "cell.json", schema=SCHEMA + 1),
        rf"cell\.json: schema {SCHEMA + 1} was written by lb-lab of another version; install that version to "
        "read it",
    ),
    "field missing": (
        lambda run: without(run / "manifest.json", "host"),
        r"manifest\.json: key 'host' is missing; expected a file written by this lab",
    ),
    "field that writers may leave out": (
        lambda run: without(run / CELL / "cell.json", "incomplete_ledgers"),
        r"cell\.json: key 'incomplete_ledgers' is missing",
    ),
    "field of a field missing": (
        lambda run: edit(run / "manifest.json", load={"processes": 1}),
        r"manifest\.json: load: key 'expect_workers' is missing; expected a whole number",
    ),
    "unknown field": (
        lambda run: edit(run / CELL / "cell.json", cut_off=[]),
        r"cell\.json: unknown key 'cut_off'",
    ),
    "field of another type": (
        lambda run: edit(run / CELL / "cell.json", replicas=[]),
        r"cell\.json: replicas: a list is not a mapping; expected a mapping",
    ),
    "number as text": (
        lambda run: edit(run / CELL / "cell.json", repeat="1"),
        r"cell\.json: repeat: '1' is not a whole number; expected a whole number",
    ),
    "unknown word": (
        lambda run: edit(run / "manifest.json", status="complete"),
        r"manifest\.json: status: 'complete' is not known here; expected 'completed' or 'interrupted' or "
        r"'failed'; did you mean 'completed'\?",
    ),
    "not a number": (
        lambda run: edit(run / CELL / "cell.json", planned_rate_per_s=float("nan")),
        r"cell\.json: planned_rate_per_s: ",
    ),
    "number that no table holds": (
        lambda run: edit(run / CELL / "cell.json", measure_start_ns=-(2**62) - 1),
        r"cell\.json: expected JSON written by this lab \(the number -4611686018427387905 is too large\)",
    ),
    "nested without end": (
        lambda run: (run / "manifest.json").write_text("[" * 100_000),
        r"manifest\.json: expected JSON written by this lab \(nested too deeply\)",
    ),
    "odd cells": (
        lambda run: edit(run / "manifest.json", cells=[1]),
        r"manifest\.json: cells\[0\]: 1 is not a mapping",
    ),
    "no experiment": (lambda run: (run / "experiment.yaml").unlink(), r"experiment\.yaml: expected"),
    "cut off experiment": (lambda run: cut(run / "experiment.yaml"), r"experiment\.yaml"),
    "no cell": (lambda run: shutil.rmtree(run / CELL), r"cell\.json: expected this file"),
    "no cell.json": (lambda run: (run / CELL / "cell.json").unlink(), r"cell\.json: expected this file"),
    "no rows": (lambda run: (run / CELL / "requests.parquet").unlink(), r"requests\.parquet: expected"),
    "cut off parquet": (lambda run: cut(run / CELL / "requests.parquet"), r"requests\.parquet: expected"),
    "empty parquet": (lambda run: cut(run / CELL / "requests.parquet", 0), r"requests\.parquet: expected"),
    "foreign parquet": (
        lambda run: pl.DataFrame({"a": [1]}).write_parquet(run / CELL / "requests.parquet"),
        r"requests\.parquet: expected a column request_id of type Int64, found None",
    ),
    "foreign ledger": (
        lambda run: (written(run) / "replica-0.csv").write_text("a,b\n1,2\n"),
        r"replica-0\.csv: expected the columns",
    ),
    "broken access log": (
        lambda run: (written(run) / "access.log").write_text("1\x1f/\x1fnow\n"),
        r"sticky\.1: expected ledgers",
    ),
    "foreign table": (
        lambda run: pl.DataFrame({"a": [1]}).write_parquet(run / CELL / "proxy.parquet"),
        r"proxy\.parquet: expected a column request_id of type Int64, found None",
    ),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_run_is_refused_in_one_line_naming_the_file(golden, damage):
    harm, message = DAMAGE[damage]
    harm(golden)
    with pytest.raises(UserError, match=message) as caught:
        summarise(read_run(golden))
    assert "\n" not in str(caught.value)


def test_bytes_gone_bad_inside_a_parquet_file_are_refused(golden):
    path = golden / CELL / "requests.parquet"
    content = bytearray(path.read_bytes())
    content[40:400] = b"\xff" * 360
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"sticky\.1: expected ledgers"):
        summarise(read_run(golden))


def test_a_ledger_of_the_proxy_that_is_gone_is_told(golden):
    (golden / CELL / "proxy.parquet").unlink()
    reasons = [
        reason for reason in summarise(read_run(golden)).invalid_reasons if "sticky, repeat 1" in reason
    ]
    assert "the seal of cells/sticky.1/proxy.parquet is broken: the file is missing" in " ".join(reasons)


def test_of_an_interrupted_run_what_is_there_is_reported(golden):
    edit(golden / "manifest.json", status="interrupted")
    for arm in ("sticky", "round_robin"):
        shutil.rmtree(golden / "cells" / f"{arm}.3")
    shutil.rmtree(golden / "cells" / "round_robin.2")
    (golden / "cells" / "sticky.2" / "cell.json").unlink()
    summary = summarise(read_run(golden))
    assert (summary.status, summary.verdict) == ("interrupted", "inconclusive")
    assert [len(arm.repeats) for arm in summary.arms.values()] == [1, 1]
    assert summary.invalid_reasons == [
        "sticky: not usable, because 1 of 3 repeats were recorded",
        "round_robin: not usable, because 1 of 3 repeats were recorded",
    ]


def test_rows_that_a_killed_run_left_as_csv_are_read(golden):
    edit(golden / "manifest.json", status="interrupted")
    parquet = golden / CELL / "requests.parquet"
    whole = pl.read_parquet(parquet)
    whole.write_csv(parquet.with_suffix(".csv"))
    parquet.unlink()
    with parquet.with_suffix(".csv").open("a") as file:
        file.write("12,")
    assert read_run(golden).cells_of("sticky")[0].requests().collect().equals(whole)


@pytest.mark.parametrize("cut_off", [False, True])
def test_ledgers_that_a_killed_run_left_as_written_are_read(golden, cut_off):
    (cell, *_) = read_run(golden).cells_of("sticky")
    replicas, proxy = (ledger.collect() for ledger in (cell.replica_ledger(), cell.proxy_ledger()))
    as_written(cell)
    if cut_off:
        for name, end in {"access.log": "12\x1f/video", "replica-0.csv": "12,AddVid"}.items():
            with (cell.folder / name).open("a") as file:
                file.write(end)
    assert_frame_equal(cell.replica_ledger().collect(), replicas, check_row_order=False)
    assert_frame_equal(cell.proxy_ledger().collect(), proxy, check_column_order=False)
    names = {path.name for path in cell.folder.iterdir()}
    store_ledgers(cell.folder, cell.record.replicas)
    assert_frame_equal(cell.replica_ledger().collect(), replicas.sort("request_id"))
    assert_frame_equal(cell.proxy_ledger().collect(), proxy.sort("request_id"), check_column_order=False)
    gone = names - {path.name for path in cell.folder.iterdir()}
    assert gone == {"access.log", *(f"{name}.csv" for name in cell.record.replicas)}


def test_a_log_of_connections_stays_as_it_is(golden):
    (cell, *_) = read_run(golden).cells_of("sticky")
    (cell.folder / "proxy.parquet").unlink()
    (cell.folder / "access.jsonl").write_text('{"start": "1"}\n')
    store_ledgers(cell.folder, cell.record.replicas)
    assert (cell.folder / "access.jsonl").exists()
    assert not (cell.folder / "proxy.parquet").exists()
    with pytest.raises(UserError, match=r"access\.jsonl: .* install lb-lab 0\.3\.0 to read it, or"):
        cell.proxy_ledger()


def test_a_run_directory_may_lie_in_a_folder_with_any_name(golden, tmp_path):
    odd = tmp_path / "a [1] *é"
    golden.rename(odd)
    assert all(arm.ledgers.reconciled for arm in summarise(read_run(odd)).arms.values())


def test_a_column_of_another_type_is_refused(golden):
    parquet = golden / CELL / "requests.parquet"
    pl.read_parquet(parquet).with_columns(pl.lit(1).alias("cache")).write_parquet(parquet)
    with pytest.raises(UserError, match=r"requests\.parquet: expected a column cache of type String"):
        summarise(read_run(golden))


@pytest.mark.parametrize("file", ["manifest.json", f"{CELL}/cell.json"])
def test_whatever_is_written_over_a_field_is_read_or_refused_in_one_line(golden, file):
    """For every value of every field, the result is a record or one clear line."""
    content = json.loads((golden / file).read_text())
    for field in content:
        for value in (None, True, -1, 1.5, 10**400, "", "x" * 300, [], [{}], {}, {"": None}):
            (golden / file).write_text(json.dumps(content | {field: value}))
            try:
                run = read_run(golden)
            except UserError as error:
                assert "\n" not in str(error)
            else:
                assert all(cell.record.policy is not None for cell in run.cells)


def test_every_earlier_schema_names_the_version_that_reads_it():
    assert list(READ_BY) == list(range(1, SCHEMA))
    ours = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"].split(".")
    assert all(version.split(".") < ours[:2] for version in READ_BY.values())


def test_a_record_is_read_as_it_was_written(tmp_path):
    worker = {"name": "w", "host": "h", "clients": [1, 2], "rows": 3, "planned_requests": None}
    worker |= {
        "measured_requests": 2,
        "offset_ns": -5,
        "offset_uncertainty_ns": 1,
        "ended": "lost",
        "ended_ns": 9,
    }
    record = read_run(GOLDEN).cells[0].record
    record.load_workers = [LoadWorkerRecord(**worker)]
    record.missing_ledgers = {"envoy": "why"}
    record.incomplete_ledgers = ["envoy", "replica-1"]
    write_record(tmp_path / "cell.json", record)
    again = read_record(tmp_path / "cell.json", CellRecord)
    assert again == record
    assert (again.incomplete_replicas, again.incomplete_proxy) == ({"replica-1"}, True)
    assert again.lost_clients == {1, 2}


def test_a_field_is_never_set_to_what_a_reader_would_refuse():
    record = read_run(GOLDEN).cells[0].record
    with pytest.raises(ValueError, match="status"):
        record.status = "done"
