"""The command `python -m lb.driver`."""

import base64
import json
import re
import subprocess
import sys

import pytest
from lab_process import ROOT, StartCell
from replica_process import StartReplica

from harness.policies.envoy_options import STICKY_COOKIE
from lb.policies import POLICIES


def driver(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "lb.driver", *words]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=30)


def table(output: str) -> dict[str, int]:
    """Return calls by replica, from the printed table."""
    return {name: int(calls) for name, calls in re.findall(r"^(replica-\d) +(\d+) +[\d.]+%$", output, re.M)}


def test_the_table_counts_the_answers_of_each_replica(start_cell: StartCell) -> None:
    live = start_cell("direct", "round_robin")
    for method in ("AddVideo", "ListVideos", "GetVideos", "GetVideo"):
        done = driver("--policy", "round_robin", "-n", "60", "--method", method, live.target)
        assert (done.returncode, done.stderr) == (0, "")
        assert f"60 calls of {method}, policy round_robin, to {live.target}\n" in done.stdout
        assert "\ncodes: OK 60\n" in done.stdout
        assert re.search(r"^latency: p50 [\d.]+ ms, p99 [\d.]+ ms, max [\d.]+ ms$", done.stdout, re.M)
        spread = table(done.stdout)
        assert (set(spread), sum(spread.values())) == (set(live.replicas), 60)
        # A third each, less the calls that were sent before the last connection was ready.
        assert min(spread.values()) >= 15


def test_pick_first_is_the_default(start_cell: StartCell) -> None:
    live = start_cell("direct", "pick_first")
    done = driver("-n", "20", "--concurrency", "5", live.target)
    assert (done.returncode, table(done.stdout)) == (0, {"replica-0": 20})


@pytest.mark.parametrize("method", ["AddVideo", "GetVideo"])
def test_with_a_cookie_jar_all_calls_go_to_one_replica(method: str, start_cell: StartCell) -> None:
    live = start_cell("envoy", "sticky")
    with_jar, without = (
        driver("-n", "12", "--method", method, *more, live.target) for more in (["--cookie-jar"], [])
    )
    assert list(table(with_jar.stdout).values()) == [12]
    assert list(table(without.stdout).values()) == [4, 4, 4]


def test_the_driver_knows_every_policy(start_cell: StartCell) -> None:
    live = start_cell("direct", "round_robin")
    for policy in POLICIES:
        done = driver("--policy", policy, "-n", "30", "--clients", "10", live.target)
        assert (done.returncode, done.stderr) == (0, "")
        assert f"30 calls of AddVideo, policy {policy}, to {live.target}\n" in done.stdout
        assert (len(table(done.stdout)) == 1) is (policy == "pick_first")


def test_options_reach_the_policy(start_cell: StartCell) -> None:
    live = start_cell("direct", "pick_first")
    words = ("--clients", "30", "-n", "60", "--option", "shuffle=true", live.target)
    shuffled = driver("--policy", "pick_first", *words)
    assert (shuffled.returncode, len(table(shuffled.stdout))) == (0, 3)


def test_connections_compression_keepalive_and_retries(start_replica: StartReplica) -> None:
    # All five attempts of one of 40 calls fail in 0.3 % of cases; no call of 40 fails at once in 0.15 %.
    server = start_replica(fail_share=0.15)
    calls = ("-n", "40", "--clients", "2", "--connections", "3", "--compression", "gzip")
    done = driver(*calls, "--keepalive", "5000", "--wait-for-ready", "--retries", "4", server.address)
    assert (done.returncode, done.stderr) == (0, "")
    rows = server.ledger()
    assert len({row["peer"] for row in rows}) == 6
    assert len(rows) == 40 + sum(row["code"] == "UNAVAILABLE" for row in rows)
    assert driver("-n", "40", server.address).returncode == 1


def test_failed_calls_are_counted_and_exit_with_1(start_cell: StartCell) -> None:
    slow = {"distribution": "constant", "mean": 1000}
    live = start_cell("direct", "round_robin", service_time_ms=slow)
    done = driver("-n", "2", "--deadline", "50", live.target)
    assert (done.returncode, done.stderr) == (1, "")
    assert "codes: DEADLINE_EXCEEDED 2" in done.stdout


def test_no_server_exits_with_1() -> None:
    done = driver("-n", "3", "127.0.0.1:1")
    assert (done.returncode, done.stderr) == (1, "")
    assert re.search(r"^\(no answer\) +3 +100.0%$", done.stdout, re.M)
    assert "codes: UNAVAILABLE 3" in done.stdout


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nowhere"], "'nowhere' is not HOST:PORT"),
        (["127.0.0.1:http"], "'127.0.0.1:http' is not HOST:PORT"),
        (["a:1,b:2"], "several addresses must all be IPv4"),
        (["--policy", "roundrobin", "127.0.0.1:1"], "invalid choice: 'roundrobin'"),
        (["-n", "0", "127.0.0.1:1"], "'0' is not a whole number from 1 to 10000000"),
        (["-n", "²", "127.0.0.1:1"], "'²' is not a whole number"),
        (["--method", "Delete", "127.0.0.1:1"], "invalid choice: 'Delete'"),
        (["--policy", "round_robin", "--option", "a=1", "127.0.0.1:1"], "has no option 'a'; it takes none"),
        (["--option", "shufle=true", "127.0.0.1:1"], "no option 'shufle'; did you mean shuffle?"),
        (["--option", "shuffle", "127.0.0.1:1"], "'shuffle' is not NAME=VALUE"),
        (["--option", "shuffle=perhaps", "127.0.0.1:1"], 'shuffle="perhaps" for pick_first: '),
        (["--retries", "5", "127.0.0.1:1"], "'5' is not a whole number from 0 to 4"),
        (["--keepalive", "200", "127.0.0.1:1"], "'200' is not a whole number from 1000 to 86400000"),
        (["--policy", "ring_hash", "--option", "max_ring_size=9", "127.0.0.1:1"], "is above max_ring_size 9"),
        (["--rate", "0", "a:1"], "'0' is not a number above 0, at most 1e+06"),
        (["--duration", "nan", "a:1"], "'nan' is not a number above 0"),
        (["--rate", "5", "--concurrency", "2", "a:1"], "--concurrency: has no effect with --rate"),
        (["--header", "x", "a:1"], "'x' is not NAME:VALUE in ASCII"),
        (["--header", "x: é", "a:1"], "is not NAME"),
        (["--header", "grpc-timeout: 1", "a:1"], "'grpc-timeout' cannot be set"),
        (["--header", "x-lab-session: 1", "a:1"], "'x-lab-session' cannot be set"),
        (["--header", "x-bin: 1", "a:1"], "'x-bin' cannot be set"),
        ([], "target"),
    ],
)
def test_bad_usage_exits_2_without_a_traceback(words: list[str], message: str) -> None:
    done = driver(*words)
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_json_is_one_object_with_the_figures_of_the_table(start_cell: StartCell) -> None:
    live = start_cell("direct", "round_robin")
    done = driver("--policy", "round_robin", "-n", "30", "--json", live.target)
    assert (done.returncode, done.stderr) == (0, "")
    found = json.loads(done.stdout)
    assert (found["calls"], found["codes"], set(found["replicas"])) == (30, {"OK": 30}, set(live.replicas))
    assert sum(found["replicas"].values()) == 30
    assert 0 < found["latency_ms"]["p50"] <= found["latency_ms"]["p99"] <= found["latency_ms"]["max"]
    assert "late_ms" not in found


def test_an_open_loop_keeps_its_rate_although_answers_are_late(start_cell: StartCell) -> None:
    """Each call takes 200 ms. A closed loop with one caller would make ten calls in two seconds."""
    live = start_cell(
        "direct", "pick_first", service_time_ms={"distribution": "constant", "mean": 200}, slots=64
    )
    done = driver("--rate", "60", "--duration", "2", "--clients", "3", "--json", live.target)
    assert (done.returncode, done.stderr) == (0, "")
    found = json.loads(done.stdout)
    assert 60 < found["calls"] < 190  # Poisson with mean 120: more than five deviations
    assert found["latency_ms"]["p50"] >= 200
    assert found["late_ms"]["p50"] >= 0


def test_a_duration_ends_a_closed_loop(start_cell: StartCell) -> None:
    live = start_cell("direct", "pick_first", service_time_ms={"distribution": "constant", "mean": 50})
    for words, least, most in ((["--duration", "0.5"], 1, 10), (["--duration", "30", "-n", "3"], 3, 3)):
        found = json.loads(driver(*words, "--json", live.target).stdout)
        assert least <= found["calls"] <= most


def test_headers_are_sent_with_every_call(start_cell: StartCell) -> None:
    """A cookie that names replica-1 (Envoy's message `Cookie`, field 1) is obeyed, so it has arrived."""
    live = start_cell("envoy", "sticky")
    address = live.replicas["replica-1"].encode()
    cookie = base64.b64encode(b"\x0a" + bytes([len(address)]) + address).decode()
    done = driver("-n", "12", "--header", f"Cookie: {STICKY_COOKIE}={cookie}", live.target)
    assert (done.returncode, table(done.stdout)) == (0, {"replica-1": 12})
