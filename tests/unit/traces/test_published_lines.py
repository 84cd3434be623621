"""Published lines parse, and so do the quirks of real logs of all ages."""

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from harness.traces.alb import AlbFields, parse_alb
from harness.traces.envoy import parse_envoy
from harness.traces.log_format import format_of
from harness.traces.raw_lines import RAW

SAMPLES = Path(__file__).parent / "samples"
CREATED = 1_530_570_168_364_000_000  # 2018-07-02T22:22:48.364Z
EVERYTHING = AlbFields(connection=True, path=True)
FIRST = "http 2018-07-02T22:23:00.186641Z app/lb/1 1.2.3.4:5 10.0.0.1:80 0.010 0.100 0.020 200 200 34 366"
REST = (
    '- - arn:aws:x "Root=1-5" "-" "-" 0 2018-07-02T22:22:48.364000Z "forward" "-" "-" "10.0.0.1:80" "200" '
    '"-" "-" TID_1 "-" "-" "-"'
)


def parsed(name: str) -> pl.DataFrame:
    return parse_alb((SAMPLES / name).read_bytes(), EVERYTHING)


def one(line: str) -> dict[str, Any]:
    rows = parse_alb(line.encode(), EVERYTHING)
    assert rows.height == 1
    return rows.row(0, named=True)


def test_awss_examples_of_today() -> None:
    rows = parsed("aws_2026.log")
    assert rows["time_ns"].to_list() == [CREATED] * 5 + [1_543_616_568_364_000_000] * 2
    assert rows["status"].to_list() == [200, 200, 200, 101, 101, 200, 502]
    assert rows["target"].to_list() == [
        *("10.0.0.1:80", "10.0.0.1:80", "10.0.0.66:9000", "10.0.1.192:8010", "10.0.0.171:8010"),
        *(None, None),  # a Lambda function has no address
    ]
    assert rows["target_time_ns"].to_list() == [10**6, 48 * 10**6, 2 * 10**6, 3 * 10**6, 10**6, None, None]
    assert rows["client"][0] == "192.168.131.39:2817"
    assert rows["connection"].to_list() == ["TID_1234abcd5678ef90"] * 7
    assert rows["bytes_received"].to_list() == [34, 0, 5, 218, 218, 34, 34]
    assert rows["bytes_sent"].to_list() == [366, 57, 257, 587, 786, 366, 366]
    assert rows["path"].to_list() == ["/"] * 7


def test_awss_examples_of_2018() -> None:
    rows = parsed("aws_2018.log")
    assert rows["time_ns"].to_list() == [CREATED] * 2
    assert rows["target"].to_list() == ["10.0.0.1:80", "10.0.0.66:9000"]
    assert rows["connection"].to_list() == [None, None]


def test_addresses_of_ipv6() -> None:
    row = parsed("opentelemetry.log").row(0, named=True)
    assert (row["client"], row["target"]) == ("[fe80::202:b3ff:fe1e:8329]:443", "[2001:db8::1]:80")


def test_envoys_example() -> None:
    data = (SAMPLES / "envoy.log").read_bytes()
    row = parse_envoy(data, path=True).row(0, named=True)
    assert row == {
        **dict.fromkeys(RAW),
        "time_ns": 1_460_751_420_310_000_000,
        "client": "10.0.35.28",
        "target": "10.0.2.1:80",
        "status": 204,
        "target_time_ns": 100_000_000,
        "bytes_received": 154,
        "bytes_sent": 0,
        "path": "/api/v1/locations",
    }


@pytest.mark.parametrize("path", sorted(SAMPLES.glob("*.log")), ids=lambda path: path.stem)
def test_the_format_is_told_from_the_first_line(path: Path) -> None:
    assert format_of(path) == ("envoy" if path.stem == "envoy" else "alb")


@pytest.mark.parametrize(
    "quoted",
    [
        r'"GET http://a:80/x HTTP/1.1" "say \"hi\" \\"',
        r'"GET http://a:80/x\" \"y HTTP/1.1" "-"',
        r'"GET http://a:80/x HTTP/1.1" "\" 0 2031-01-01T00:00:00.000000Z \" \""',
        r'"GET http://a:80/x HTTP/1.1" "\x22Mozilla\x22"',
    ],
)
def test_escaped_quotes_move_no_field(quoted: str) -> None:
    row = one(f"{FIRST} {quoted} {REST}")
    assert (row["time_ns"], row["connection"], row["path"]) == (CREATED, "TID_1", row["path"])
    assert row["path"].startswith("/x")


def test_quotes_that_are_not_escaped_leave_the_first_fields() -> None:
    row = one(f'{FIRST} "GET / HTTP/1.1" "a"b"c" {REST}')
    # Sent at 23:00.186641, less the three processing times.
    assert row["time_ns"] == 1_530_570_180_186_641_000 - 130_000_000
    assert (row["target"], row["status"], row["connection"]) == ("10.0.0.1:80", 200, None)


def test_entries_of_2016_end_after_the_trace_id() -> None:
    row = one(f'{FIRST} "GET http://a:80/ HTTP/1.1" "curl" - - arn:aws:x "Root=1-5"')
    assert row["time_ns"] == 1_530_570_180_186_641_000 - 130_000_000
    assert row["client"] == "1.2.3.4:5"


@pytest.mark.parametrize("agent", ["curl", 'a\\"b', 'a\\" \\"b'])
def test_the_trace_id_is_found_where_it_is_wanted(agent: str) -> None:
    line = f'{FIRST} "GET / HTTP/1.1" "{agent}" {REST.replace("Root=1-5", "Self=1-5;Root=1-7;lab=3")}'
    (row,) = parse_alb(line.encode(), AlbFields(request=True)).to_dicts()
    assert row["request"] == "Self=1-5;Root=1-7;lab=3"
    assert (row["time_ns"], row["ended_ns"]) == (CREATED, 1_530_570_180_186_641_000)
    assert "request" not in parse_alb(line.encode()).columns


def test_no_target_and_negative_times() -> None:
    line = FIRST.replace("10.0.0.1:80 0.010 0.100 0.020 200 200", "- -1 -1 -1 400 -")
    row = one(f'{line} "- http://a.example:80- " "-" - - - "-" "-" "-" - 2018-07-02T22:22:48.364000Z "-" "-"')
    assert (row["time_ns"], row["target"], row["target_time_ns"], row["status"]) == (CREATED, None, None, 400)
    assert row["path"] is None


def test_a_negative_time_of_one_stage_is_left_out_of_the_arrival() -> None:
    row = one(FIRST.replace("0.100 0.020", "0.100 -1") + ' "GET http://a:80/ HTTP/1.1" "curl" - - - "-"')
    assert row["time_ns"] == 1_530_570_180_186_641_000 - 110_000_000


@pytest.mark.parametrize(
    "line",
    [
        "",
        "not a log",
        FIRST.rpartition(" ")[0],
        FIRST.replace("2018-07-02T22:23:00.186641Z", "yesterday"),
        FIRST.replace("2018-", "9999-"),
        FIRST.replace("200 200", "OK 200"),
        '"' * 40,
    ],
)
def test_what_is_no_entry_has_no_time(line: str) -> None:
    assert one(f"{line}\n")["time_ns"] is None


def test_a_broken_line_spoils_no_other() -> None:
    good = f'{FIRST} "GET http://a:80/ HTTP/1.1" "curl" {REST}'
    lines = [good, 'http "never closed', good, "", '\x00\x01"\r', good]
    times = parse_alb("\n".join(lines).encode())["time_ns"].to_list()
    assert [time is not None for time in times] == [True, False, True, False, False, True]


def test_envoys_user_agents_may_have_quotes() -> None:
    line = (SAMPLES / "envoy.log").read_text()
    for agent in ('a"b', '"', '" "x" "y', 'a" 500 "b'):
        row = parse_envoy(line.replace("nsq2http", agent).encode()).row(0, named=True)
        assert (row["target"], row["status"], row["target_time_ns"]) == ("10.0.2.1:80", 204, 100_000_000)


def test_envoys_total_duration_stands_in_for_the_upstreams() -> None:
    line = (SAMPLES / "envoy.log").read_text().replace(" 226 100 ", " 226 - ")
    assert parse_envoy(line.encode())["target_time_ns"].to_list() == [226_000_000]
    nowhere = line.replace("tcp://10.0.2.1:80", "-")
    assert parse_envoy(nowhere.encode()).select("target", "target_time_ns").row(0) == (None, None)
