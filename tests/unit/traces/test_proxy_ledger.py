"""The access log of an ALB is joined with a run: its third ledger, with stages and checks."""

import gzip
import json
import re
import shutil
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest

from harness.analysis.clocks import clocks_of
from harness.analysis.summary import facts_of, summarise
from harness.cli.main import main
from harness.errors import UserError
from harness.record.proxy_log import LogKind
from harness.record.run_directory import read_run
from harness.traces.proxy_ledger import join_proxy_log
from lb.trace_id import new_prefix, trace_headers
from tests.unit.synthetic.foreign_log import CLOCK_AHEAD_NS, ENDPOINTS, alb_line, as_external
from tests.unit.synthetic.synthetic_run import GOLDEN

Log = Callable[..., list[Path]]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    path = tmp_path / "run"
    shutil.copytree(GOLDEN, path)
    return path


@pytest.fixture
def log(tmp_path: Path) -> Log:
    """Write lines into several files, as an ALB does: one for each of its nodes, gzip."""

    def write(lines: list[str], files: int = 2) -> list[Path]:
        paths = [tmp_path / f"node-{number}.log.gz" for number in range(files)]
        for number, path in enumerate(paths):
            path.write_bytes(gzip.compress("".join(lines[number::files]).encode()))
        return paths

    return write


def test_the_ids_of_a_request_are_those_that_aws_and_envoy_expect() -> None:
    prefix = new_prefix(1_790_000_000_123_456_789)
    (name, root), (other, uuid) = trace_headers(prefix, 3_000_000_017)
    assert (name, other) == ("x-amzn-trace-id", "x-request-id")
    assert re.fullmatch(r"Root=1-6ab13b80-[0-9a-f]{24};lab=3000000017", root)
    assert re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}", uuid)
    assert new_prefix(1_790_000_000_123_456_789) != prefix


@pytest.mark.whole_run
@pytest.mark.parametrize("kind", ["alb", "envoy", "json"])
def test_a_log_gives_all_ledgers_and_stages(run: Path, log: Log, kind: LogKind) -> None:
    before = facts_of(read_run(run))
    lines = as_external(run, kind)
    without = summarise(read_run(run))
    assert without.arms["sticky"].ledgers.envoy is None

    told = join_proxy_log(read_run(run), log(lines))
    requests = sum(one.ledgers.client for cells in before.values() for one in cells)
    assert told == (
        f"proxy log: {requests:,} requests of 6 of 6 cells joined; 2 files ({kind}): {requests:,} requests "
        "of this run, 0 others"
    )
    facts = facts_of(read_run(run))
    for arm, cells in facts.items():
        for cell, as_it_was in zip(cells, before[arm], strict=True):
            assert cell.contradictions == ()
            assert cell.ledgers.reconciled is True
            assert (
                cell.ledgers.envoy
                == cell.ledgers.matched + cell.ledgers.unanswered
                == as_it_was.ledgers.envoy
            )
            assert cell.stages.keys() == as_it_was.stages.keys()
            for name, times in cell.stages.items():
                assert times.mean == pytest.approx(as_it_was.stages[name].mean, abs=1.2e6), name
    summary = summarise(read_run(run), facts)
    assert summary.arms["sticky"].ledgers.reconciled is True
    owner = {"alb": "ALB", "envoy": "Envoy", "json": "Envoy"}[kind]
    assert any(note.startswith(f"the proxy's ledger is an {owner}'s access log") for note in summary.notes)


def cut(lines: list[str], cells: int, keep: float) -> list[str]:
    """Return the lines, of each of the first `cells` cells only the share `keep`."""
    prefixes = [f"1-6ab1c2d{number:01x}-" for number in range(cells)]
    kept = []
    seen = dict.fromkeys(prefixes, 0)
    for line in lines:
        prefix = next((one for one in prefixes if f"Root={one}" in line), None)
        if prefix is not None:
            seen[prefix] += 1
            if seen[prefix] % 100 >= keep * 100:
                continue
        kept.append(line)
    return kept


@pytest.mark.whole_run
def test_a_cell_of_which_the_log_lacks_a_part_is_left_out_and_counted(run: Path, log: Log) -> None:
    lines = as_external(run)
    told = join_proxy_log(read_run(run), log(cut(lines, 1, 0.75)))
    first = read_run(run).cells[0]
    answered = first.requests().collect().filter(code="OK").height
    assert "of 5 of 6 cells joined; 2 files (alb): " in told
    assert re.search(
        rf"; the log lacks \d+ of {answered} of {first.folder.name}, which is left out$", told
    ), told
    cells = {cell.folder.name: cell for cell in read_run(run).cells}
    assert cells[first.folder.name].record.missing_ledgers
    assert sum(cell.proxy_log is not None for cell in cells.values()) == 5


@pytest.mark.whole_run
def test_a_few_missing_requests_are_counted_and_the_rest_is_joined(run: Path, log: Log) -> None:
    lines = as_external(run)
    told = join_proxy_log(read_run(run), log(cut(lines, 1, 0.99)))
    assert re.search(r"of 6 of 6 cells joined; .*; the log lacks [345] of \d+ of \w+\.1$", told), told
    facts = facts_of(read_run(run))
    assert {cell.ledgers.reconciled for cells in facts.values() for cell in cells} == {True}
    assert {cell.contradictions for cells in facts.values() for cell in cells} == {()}


def test_a_log_that_lacks_too_much_of_every_cell_is_refused(run: Path, log: Log) -> None:
    lines = as_external(run)
    with pytest.raises(
        UserError, match=r"the log lacks (\d+ of \d+ of \w+\.\d, which is left out(; )?){6}; a log"
    ):
        join_proxy_log(read_run(run), log(cut(lines, 6, 0.5)))
    assert not (run / "proxy-log").exists()


def test_other_requests_broken_lines_and_copies_are_counted(run: Path, log: Log) -> None:
    lines = as_external(run)
    other = alb_line(1_790_000_000 * 10**9, 1_790_000_001 * 10**9, "10.0.7.0:50051", "Root=1-1-2", "/a/B", 1)
    files = log([*lines, *lines[:10], other, "no line of a log\n"])
    told = join_proxy_log(read_run(run), files)
    assert told.endswith(f": {len(lines):,} requests of this run, 11 others and 1 broken lines")
    assert all(cell.proxy_log for cell in read_run(run).cells)


def test_the_log_of_another_hour_is_refused_with_both_times(run: Path, log: Log) -> None:
    as_external(run)
    hour_ns = 3600 * 10**9
    began_ns = 1_790_000_000 * 10**9 - hour_ns
    others = [alb_line(began_ns, began_ns + 10**7, ENDPOINTS.format(0), "Root=1-1-2", "/a/B", 1)] * 3
    with pytest.raises(UserError) as error:
        join_proxy_log(read_run(run), log(others, files=1))
    assert re.fullmatch(
        r"--proxy-log: none of the 3 requests in \S+\.log\.gz \(2026-09-21 13:13:20 to 2026-09-21 13:13:20 "
        r"UTC\) is of this run, whose load ran from 2026-09-21 14:13:20 to 2026-09-21 14:18:21 UTC; name the "
        r"log of that time",
        str(error.value),
    ), str(error.value)


def test_a_log_of_that_hour_without_the_runs_ids_is_refused(run: Path, log: Log) -> None:
    lines = [re.sub("Root=1-[0-9a-f]+", "Root=1-00000000", line) for line in as_external(run)]
    with pytest.raises(
        UserError, match="is it another load balancer's log, or does something before it replace"
    ):
        join_proxy_log(read_run(run), log(lines))


def test_a_run_whose_clients_sent_no_ids_is_refused(run: Path, log: Log) -> None:
    with pytest.raises(
        UserError, match="sent no ids that a load balancer would log; only those of --testbed"
    ):
        join_proxy_log(read_run(run), log(["x\n"]))


@pytest.mark.whole_run
@pytest.mark.parametrize(
    ("change", "problem"),
    [
        # A request that the log has at another target than the client names.
        (lambda line: line.replace("10.0.7.0:50051", "10.0.7.1:50051"), "the ledgers do not reconcile"),
        # Answers that left the load balancer a second after the client had them.
        (
            lambda line: re.sub(
                r"(\d\d)\.(\d{3})000Z app", lambda m: f"{(int(m[1]) + 1) % 60:02}.{m[2]}000Z app", line
            ),
            "the times of the load balancer's log fit no clock",
        ),
        (lambda line: line.replace(" 200 200 ", " 502 - "), "another HTTP status than 200 at the proxy"),
        (lambda line: line.replace("/AddVideo ", "/GetVideo "), "another method in another ledger"),
    ],
)
def test_a_log_that_contradicts_the_other_ledgers_is_noticed(
    run: Path, log: Log, change: Callable[[str], str], problem: str
) -> None:
    lines = as_external(run)
    wrong = next(place for place, line in enumerate(lines) if "10.0.7.0:50051" in line and "AddVideo" in line)
    lines[wrong] = change(lines[wrong])
    join_proxy_log(read_run(run), log(lines))
    reasons = summarise(read_run(run)).invalid_reasons
    assert any(problem in reason for reason in reasons), reasons


@pytest.mark.whole_run
def test_the_load_balancers_clock_may_be_off(run: Path, log: Log) -> None:
    lines = as_external(run)
    join_proxy_log(read_run(run), log(lines))
    cell = read_run(run).cells[0]
    clocks = clocks_of(cell)
    offset_ns = clocks.proxy_offset_ns + cell.record.epoch_unix_ns
    assert abs(offset_ns + CLOCK_AHEAD_NS) <= clocks.proxy_ns < 5_000_000
    assert json.loads((run / "proxy-log" / f"{cell.folder.name}.json").read_text())["targets"]


@pytest.mark.whole_run
@pytest.mark.usefixtures("without_plots")
def test_the_command_takes_several_files_and_keeps_what_it_joined(
    run: Path, log: Log, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = log(as_external(run))
    assert main(["report", str(run), "--proxy-log", str(first), str(second)]) == 0
    told, page = capsys.readouterr().out.splitlines()
    assert told.startswith("proxy log: ")
    assert page == str(run / "report.html")
    assert "Not available: the ledger of the proxy" not in (run / "report.html").read_text()
    first.unlink()
    assert summarise(read_run(run)).arms["sticky"].ledgers.reconciled is True


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a,b\n1,2\n", "is a log of csv; expected an ALB's, or Envoy's as text or JSON"),
        ("", "the file is empty; expected an access log"),
        (None, "cannot be read (No such file or directory)"),
    ],
)
def test_a_file_that_is_no_such_log_is_refused_in_one_line(
    run: Path, tmp_path: Path, text: str | None, problem: str, capsys: pytest.CaptureFixture[str]
) -> None:
    as_external(run)
    if text is not None:
        (tmp_path / "a.csv").write_text(text)
    assert main(["report", str(run), "--proxy-log", str(tmp_path / "a.csv")]) == 2
    told = capsys.readouterr().err
    assert problem in told
    assert told.count("\n") == 1


OWN_NAMES = {"response_code": "code", "upstream_host": "backend", "path": "rpc"}
OWN_COLUMNS = "time=at.unix,request_id=trace,duration_s=took,target=backend,status=code,path=rpc"


def with_own_names(line: str) -> str:
    """Return Istio's line with other names: nested, seconds since 1970, and the id of X-Amzn-Trace-Id."""
    fields = json.loads(line)
    moment = datetime.fromisoformat(fields["start_time"])
    digits = fields["request_id"].replace("-", "")
    own = {
        "at": {"unix": moment.timestamp()},
        "trace": f"Self=1-2-3;Root=1-{digits[:8]}-{digits[8:]};lab=1",
        "took": fields["duration"] / 1000,
        **{name: fields[theirs] for theirs, name in OWN_NAMES.items()},
    }
    return f"{json.dumps(own)}\n"


@pytest.mark.whole_run
@pytest.mark.usefixtures("without_plots")
def test_json_lines_with_other_names_need_a_mapping(
    run: Path, log: Log, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = [with_own_names(line) for line in as_external(run, "json")]
    files = [str(path) for path in log([*lines, '{"at": 3}\n', "{no json\n"])]
    words = ["report", str(run), "--proxy-log", *files]
    assert main(words) == 2
    told = capsys.readouterr().err
    assert (
        "is a request with a time; the fields were time=start_time, client=downstream_remote_address" in told
    )
    assert told.endswith(": say with --columns what yours are called\n")
    assert told.count("\n") == 1
    assert main([*words, "--columns", OWN_COLUMNS.replace("request_id=trace", "request_id=took")]) == 2
    assert "; none has an id of the lab's form; the fields were time=at.unix" in capsys.readouterr().err
    assert main([*words, "--columns", OWN_COLUMNS]) == 0
    told = capsys.readouterr().out
    assert f"{len(lines):,} requests of 6 of 6 cells joined; 2 files (json)" in told
    assert f"{len(lines):,} requests of this run, 0 others and 2 broken lines" in told
    facts = facts_of(read_run(run))
    assert {cell.ledgers.reconciled for cells in facts.values() for cell in cells} == {True}
    assert {cell.contradictions for cells in facts.values() for cell in cells} == {()}


@pytest.mark.parametrize(
    ("columns", "problem"),
    [
        ("time=a,target=b,duration_ms=c", "--columns: request_id is missing; expected request_id=NAME"),
        ("time=a,request_id=b,duration_ms=c", "--columns: target is missing; expected target=NAME"),
        ("time=a,request_id=b,target=c", "--columns: duration_ms is missing; expected it, duration_s or"),
        ("time=a,requestid=b", "--columns: 'requestid' is no field of a log; did you mean 'request_id'"),
        (OWN_COLUMNS, "is a log of alb, whose columns are known; leave it out"),
    ],
)
def test_a_mapping_that_cannot_be_meant_is_one_line(
    run: Path, log: Log, columns: str, problem: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (path,) = log(as_external(run), files=1)
    assert main(["report", str(run), "--proxy-log", str(path), "--columns", columns]) == 2
    told = capsys.readouterr().err
    assert problem in told
    assert told.count("\n") == 1
    assert main(["report", str(run), "--columns", columns]) == 2
    assert capsys.readouterr().err == (
        "error: --columns: only with --proxy-log FILE; expected a log of JSON lines\n"
    )


def test_a_second_folder_is_no_log(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(run), "another"]) == 2
    assert "report: expected one DIR, and another besides; files of a log need" in capsys.readouterr().err
