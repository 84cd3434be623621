"""Files become traces: identities hashed, broken lines counted, formats told apart, bad usage in one line."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from docs.examples.alb_log import Traffic, line_of, requests_of
from harness.errors import UserError
from harness.traces import line_batches
from harness.traces.alb import parse_alb
from harness.traces.named_columns import parse_csv, parse_mapping
from harness.traces.pseudonyms import KEY_VARIABLE, Pseudonyms, trace_key
from harness.traces.read import ReadOptions, read_trace
from harness.traces.trace import COLUMNS, OPTIONAL, Trace

KEY = b"0123456789abcdef"
LINES = [line_of(one) for one in requests_of(Traffic(requests=400, clients=20, targets=3))]
Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def carry_out(text: str | bytes, name: str = "a.log") -> Path:
        path = tmp_path / name
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return path

    return carry_out


def read(*paths: Path, **options) -> Trace:
    return read_trace(paths, ReadOptions(**{"key": KEY, **options}))


def test_a_trace_has_one_row_a_request_in_the_order_of_arrival(write: Write) -> None:
    trace = read(write("".join(reversed(LINES))))
    assert trace.table.columns == [name for name in COLUMNS if name not in OPTIONAL]
    assert trace.table.schema == {name: COLUMNS[name][0] for name in trace.table.columns}
    assert trace.table.height == len(LINES)
    assert trace.table["time_unix_ns"].is_sorted()


def test_no_address_is_left(write: Write, tmp_path: Path) -> None:
    trace = read(write("".join(LINES)))
    trace.save(tmp_path / "t.parquet")
    kept = str(trace) + str(pl.read_parquet(tmp_path / "t.parquet").to_dicts())
    for secret in ("203.0.", "192.0.2", "AddVideo", "TID_"):
        assert secret not in kept
    assert len(set(trace.targets)) == 3


def test_the_hash_depends_on_the_key_alone(write: Write) -> None:
    path = write("".join(LINES))
    clients = read(path).table["client"]
    assert clients.equals(read(path).table["client"])
    assert not clients.equals(read(path, key=KEY[::-1]).table["client"])
    assert clients[0] == Pseudonyms(KEY).of(LINES[0].split()[3].rpartition(":")[0])


def test_paths_and_targets_are_kept_when_asked_for(write: Write) -> None:
    trace = read(write("".join(LINES)), keep_paths=True, keep_targets=True)
    assert trace.table["path"].unique().to_list() == ["/video/AddVideo"]
    assert sorted(trace.targets) == ["192.0.2.10:8080", "192.0.2.11:8080", "192.0.2.12:8080"]


@pytest.mark.parametrize(("identity", "clients"), [("ip", 1), ("ip+port", 2), ("conn_trace_id", 3)])
def test_what_a_client_is(write: Write, identity: str, clients: int) -> None:
    one = LINES[0].split()
    lines = [
        LINES[0].replace(one[3], client).replace("TID_", f"TID_{number}")
        for number, client in enumerate(["203.0.113.9:1", "203.0.113.9:1", "203.0.113.9:2"])
    ]
    assert read(write("".join(lines)), identity=identity).table["client"].n_unique() == clients


def test_many_files_of_several_kinds_and_ages(write: Write) -> None:
    half = len(LINES) // 2
    zipped = write(gzip.compress("".join(LINES[:half]).encode()) + gzip.compress(b"".join([])), "a.log.gz")
    old = [line.partition(' "video.example.com"')[0] + "\n" for line in LINES[half:]]
    trace = read(zipped, write("".join(old), "unzipped.gz"))
    assert trace.table.height == len(LINES)
    assert set(trace.formats.values()) == {"alb"}


def test_small_batches_give_the_same_trace(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write("".join([*LINES[:100], "broken\n", "\n", *LINES[100:]]).rstrip("\n"))
    whole = read(path)
    monkeypatch.setattr(line_batches, "BATCH_BYTES", 9000)
    parts = read(path)
    assert parts.table.equals(whole.table)
    assert parts.broken == whole.broken
    assert parts.broken.first == [(str(path), 101, "broken")]
    assert parts.broken.lines == len(LINES) + 1  # an empty line is no line of a log


def test_the_first_five_broken_lines_are_named(write: Write) -> None:
    lines = [*LINES, *(f"broken {number} {'x' * 100}\n" for number in range(7))]
    broken = read(write("".join(lines)), max_broken=0.1).broken
    assert broken.broken == 7
    assert [number for _, number, _ in broken.first] == [401, 402, 403, 404, 405]
    assert all(len(text) == 63 for _, _, text in broken.first)


def test_too_many_broken_lines_are_an_error(write: Write) -> None:
    path = write("".join([*LINES[:8], "broken\x1b[31m\n", "broken\n"]))
    with pytest.raises(UserError, match=r"2 of 10 lines so far are broken.*--max-broken") as error:
        read(path, max_broken=0.19)
    assert "\x1b" not in str(error.value)
    assert read(path, max_broken=0.2).broken.broken == 2


def test_a_very_long_line_is_broken_and_bounded(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(line_batches, "BATCH_BYTES", 1 << 12)
    monkeypatch.setattr(line_batches, "_PIECE_BYTES", 1 << 12)
    monkeypatch.setattr(line_batches, "MAX_LINE_BYTES", 1 << 13)
    trace = read(write("".join([*LINES[:50], "x" * (1 << 16), "\n", *LINES[50:]])))
    assert trace.table.height == len(LINES)
    ((_, number, text),) = trace.broken.first
    assert (number, text) == (51, "(a line of more than 8,192 bytes)")


@pytest.mark.parametrize("batch", [line_batches.BATCH_BYTES, 3_000])
def test_gzip_that_is_cut_off_is_one_broken_line(
    write: Write, monkeypatch: pytest.MonkeyPatch, batch: int
) -> None:
    monkeypatch.setattr(line_batches, "BATCH_BYTES", batch)
    monkeypatch.setattr(line_batches, "_PIECE_BYTES", batch)
    zipped = gzip.compress("".join(LINES).encode())
    trace = read(write(zipped[: len(zipped) // 2], "a.gz"), max_broken=0.5)
    assert 0 < trace.table.height < len(LINES)
    ((_, number, text),) = trace.broken.first
    assert "gzip data is damaged or cut off" in text
    assert number == trace.table.height + 1


@pytest.mark.parametrize("magic", [b"\x1f\x8b", b"x\x9c", b"x\x01", b"(\xb5/\xfd", b"\xef\xbb\xbf"])
def test_lines_that_begin_like_a_compressed_file_are_lines(write: Write, magic: bytes) -> None:
    rows = parse_alb(magic + b"\n" + LINES[0].encode())
    assert rows["time_ns"].is_null().to_list() == [True, False]
    table = parse_csv(magic + b",a\n1717000000,b\n", ["t", "c"], {"time": "t", "client": "c"})
    assert table["client"].to_list() == ["a", "b"]


CSV = "when,who,where,code,took,cookie\n" + "".join(
    f"{1_717_000_000 + n},10.9.8.{n % 3}:{n},t{n % 2},200,0.0{n % 10},c{n % 5}\n" for n in range(40)
)
MAPPING = "time=when,client=who,target=where,status=code,target_time_s=took,session=cookie"


def test_csv_with_named_columns(write: Write) -> None:
    trace = read(write(CSV, "a.csv"), columns=parse_mapping(MAPPING), keep_targets=True)
    assert trace.targets == ["t0", "t1"]
    assert trace.table["client"].n_unique() == 3
    assert trace.table["session"].n_unique() == 5
    assert trace.table["target_time_ns"].max() == 90_000_000


def test_json_lines_with_istios_names_and_others(write: Write) -> None:
    log = {"start_time": "2026-11-24T10:00:00.5Z", "response_code": 503, "upstream_host": "10.0.0.1:80"}
    log |= {"duration": 12, "downstream_remote_address": "10.1.1.1:33", "h": {"x-user": "ann"}}
    path = write((json.dumps(log) + "\n") * 3 + "[1,\n", "a.json")
    trace = read(path, max_broken=0.3, keep_targets=True)
    assert trace.table.row(0)[2:5] == (0, 503, 12_000_000)
    by_header = read(path, max_broken=0.3, identity="column:h.x-user")
    assert by_header.table["client"][0] == Pseudonyms(KEY).of("ann")


def test_a_saved_trace_and_other_parquet(write: Write, tmp_path: Path) -> None:
    trace = read(write("".join(LINES)))
    trace.save(tmp_path / "t.parquet")
    again = read(tmp_path / "t.parquet", keep_targets=True)
    same = ["time_unix_ns", "target", "status", "target_time_ns", "bytes_sent"]
    assert again.table.select(same).equals(trace.table.select(same))
    assert list(again.targets) == list(trace.targets)
    assert again.table["client"].n_unique() == trace.table["client"].n_unique()
    with pytest.raises(UserError, match="there is no column 'user' for client"):
        read(tmp_path / "t.parquet", identity="column:user")
    other = pl.DataFrame({"ts": ["2026-11-24 10:00:00", None], "u": ["a", "b"]})
    other.write_parquet(tmp_path / "o.parquet")
    found = read(tmp_path / "o.parquet", columns={"time": "ts", "client": "u"}, max_broken=0.5)
    assert (found.table.height, found.broken.broken) == (1, 1)


@pytest.mark.parametrize(
    ("name", "text", "options", "message"),
    [
        ("a.log", "", {}, "the file is empty"),
        ("a.log", b"\x1f\x8b\x08\x00abc", {}, "no line of it can be read; is the gzip data damaged"),
        ("a.log", "hello\n", {}, "none of its first lines is of a known format; say which with --format"),
        ("a.csv", CSV, {}, "a CSV log needs --columns"),
        (
            "a.csv",
            CSV,
            {"columns": {"time": "whenn"}},
            "a.csv:1: there is no column 'whenn' for time; did you ",
        ),
        ("a.log", LINES[0], {"identity": "column:x"}, "--client column:x: .* has no named columns"),
        ("a.log", LINES[0], {"identity": "cookie"}, "--client: 'cookie'; expected ip, ip\\+port, conn_trace"),
        ("a.json", '{"a": 1}\n', {"identity": "conn_trace_id"}, "only ALB logs have it"),
        ("a.json", '{"a": 1}\n', {}, "1 of 1 lines so far are broken"),
        ("a.log", "\n\n", {"log_format": "alb"}, "no request in these logs"),
        ("a.parquet", "PAR1 and no more", {}, "expected a Parquet file"),
    ],
)
def test_bad_logs_are_one_line(
    write: Write, name: str, text: str | bytes, options: dict, message: str
) -> None:
    with pytest.raises(UserError, match=message) as error:
        read(write(text, name), **options)
    assert "\n" not in str(error.value)


def test_a_file_counts_once(write: Write, tmp_path: Path) -> None:
    path = write("".join(LINES))
    with pytest.raises(UserError, match="named twice"):
        read(path, tmp_path / "." / "a.log")
    with pytest.raises(UserError, match="a folder or a device"):
        read(tmp_path)
    with pytest.raises(UserError, match="No such file"):
        read(tmp_path / "none")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("tme=a", "'tme' is no field of a log; did you mean 'time'"),
        ("time=a,client", "client names no column"),
        ("time=a,time=b", "time is given twice"),
        ("client=a", "time is missing"),
    ],
)
def test_a_mapping_with_a_mistake(text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        parse_mapping(text)


def test_where_the_key_comes_from(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("f" * 32 + "\n")
    environment = {KEY_VARIABLE: "e" * 32}
    assert trace_key(file, environment) == b"f" * 32
    assert trace_key(None, environment) == b"e" * 32
    assert trace_key(None, {}) != trace_key(None, {})
    file.write_text("short")
    with pytest.raises(UserError, match="a key of 5 bytes; expected 16 to 64"):
        trace_key(file, environment)
    with pytest.raises(UserError, match="cannot be read"):
        trace_key(tmp_path / "none", environment)
