"""A gRPC service that is not the lab's, written in Go, behind an Envoy that is not the lab's either."""

import json
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from lab_process import ROOT, StartLab, experiment_file

from harness.cli.main import main
from harness.errors import UserError
from harness.plan.run_options import ExternalOptions, RunOptions
from harness.proxy.render import envoy_program
from harness.run.experiment import measure_and_report
from harness.spec.experiment import load_experiment
from harness.spec.own_service import OwnService
from harness.testbed.external.replicas import Target
from harness.testbed.external.service import service_calls

SOURCE = ROOT / "tests" / "real" / "own_service"
PROTO = str(SOURCE / "greeter.proto")
SERVERS = 3
GREET = {
    "proto": "reflection",
    "method": "greeter.Greeter/Greet",
    "requests": {"name": "client {client}, request {number}"},
    "replica_from": "header x-served-by",
}
ARMS = {"turns": {"route": "envoy", "policy": "round_robin"}}
EVEN = [{"arm": "turns", "metric": "balance.max_off_fair_requests", "at_most": 1}]


@dataclass
class Greeters:
    """Servers behind an Envoy at `target`, which writes its default access log."""

    target: str
    log: Path


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the Go server once. Go keeps what it has compiled, so this is quick from the second time on."""
    go = shutil.which("go")
    if go is None:
        pytest.skip("no go on the PATH, which builds a gRPC server that is not the lab's")
    there = subprocess.run([go, "mod", "download"], cwd=SOURCE, capture_output=True, text=True, timeout=100)
    if there.returncode:
        pytest.skip(f"go cannot get the modules of {SOURCE.name}/go.sum: {there.stderr.strip()[-200:]}")
    binary = tmp_path_factory.mktemp("own-service") / "greeter"
    command = [go, "build", "-buildvcs=false", "-mod=readonly", "-o", str(binary), "."]
    done = subprocess.run(command, cwd=SOURCE, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    return binary


# Names of our own in Envoy's second access log.
JSON_FIELDS = {
    "begun": "%START_TIME%",
    "took": "%DURATION%",
    "trace": {"id": "%REQ(X-REQUEST-ID)%"},
    "host": "%UPSTREAM_HOST%",
    "code": "%RESPONSE_CODE%",
    "rpc": "%REQ(:PATH)%",
    "flags": "%RESPONSE_FLAGS%",
    "in": "%BYTES_RECEIVED%",
    "out": "%BYTES_SENT%",
}


@pytest.fixture(scope="module")
def greeters(server: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Greeters]:
    folder = tmp_path_factory.mktemp("greeters")
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    running: list[subprocess.Popen[Any]] = []
    try:
        for number in range(SERVERS):
            running.append(subprocess.Popen([str(server), f"greeter-{number}"], **pipes))
        ports = [int(one.stdout.readline()) for one in running]
        config, admin = folder / "envoy.json", folder / "admin"
        config.write_text(json.dumps(envoy_config(ports, folder / "access.log")))
        command = [str(envoy_program()), "-c", str(config), "--concurrency", "1", "--disable-hot-restart"]
        command += ["--admin-address-path", str(admin), "--file-flush-interval-msec", "50", "-l", "error"]
        with (folder / "envoy.log").open("wb") as log:
            running.append(subprocess.Popen(command, stdout=log, stderr=log))
        deadline_s = time.monotonic() + 60
        while not (admin.exists() and admin.read_text()):
            assert running[-1].poll() is None, (folder / "envoy.log").read_text()
            assert time.monotonic() < deadline_s
            time.sleep(0.05)
        yield Greeters(listener_of(admin.read_text().strip()), folder / "access.log")
    finally:
        for one in running:
            one.kill()
            one.communicate()


def listener_of(admin: str) -> str:
    from urllib.request import urlopen

    with urlopen(f"http://{admin}/listeners?format=json", timeout=20) as answer:
        listeners = json.loads(answer.read())["listener_statuses"]
    return f"127.0.0.1:{listeners[0]['local_address']['socket_address']['port_value']}"


def envoy_config(ports: list[int], log: Path) -> dict[str, Any]:
    """Return a plain configuration of Envoy: gRPC, round robin, the default access log."""

    def address(port: int) -> dict[str, Any]:
        return {"socket_address": {"address": "127.0.0.1", "port_value": port}}

    def typed(name: str, **fields: Any) -> dict[str, Any]:
        return {"@type": f"type.googleapis.com/envoy.extensions.{name}", **fields}

    manager = typed(
        "filters.network.http_connection_manager.v3.HttpConnectionManager",
        stat_prefix="in",
        codec_type="HTTP2",
        access_log=[
            {
                "name": "file",
                "typed_config": typed("access_loggers.file.v3.FileAccessLog", path=str(log)),
            },
            {
                "name": "file",
                "typed_config": typed(
                    "access_loggers.file.v3.FileAccessLog",
                    path=str(log.with_suffix(".json")),
                    log_format={"json_format": JSON_FIELDS},
                ),
            },
        ],
        route_config={
            "virtual_hosts": [
                {
                    "name": "all",
                    "domains": ["*"],
                    "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "greeters", "timeout": "0s"}}],
                }
            ]
        },
        http_filters=[{"name": "router", "typed_config": typed("filters.http.router.v3.Router")}],
    )
    http2 = typed(
        "upstreams.http.v3.HttpProtocolOptions", explicit_http_config={"http2_protocol_options": {}}
    )
    cluster = {
        "name": "greeters",
        "type": "STATIC",
        "typed_extension_protocol_options": {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": http2},
        "load_assignment": {
            "cluster_name": "greeters",
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address(port)}} for port in ports]}],
        },
    }
    chain = {"filters": [{"name": "http", "typed_config": manager}]}
    return {
        "admin": {"address": address(0)},
        "static_resources": {
            "listeners": [{"name": "in", "address": address(0), "filter_chains": [chain]}],
            "clusters": [cluster],
        },
    }


def greeting_experiment(folder: Path, service: dict[str, Any], **changes: Any) -> Path:
    """Write an experiment that calls the greeters; return its path."""
    path = experiment_file(folder, arms=ARMS, **changes)
    tree = json.loads(path.read_text())
    tree |= {"replicas": {"count": SERVERS}, "service": service}
    del tree["workload"]["calls"]
    path.write_text(json.dumps(tree))
    return path


@pytest.mark.calm  # a generator that lags on a busy machine leaves a run without a verdict
@pytest.mark.usefixtures("without_plots")
def test_a_unary_method_by_reflection_and_then_the_balancers_log(
    greeters: Greeters, start_lab: StartLab, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = greeting_experiment(tmp_path, GREET, expect=EVEN)
    lab = start_lab("run", path, "--testbed", "external", "--target", greeters.target, "--redo", 0)
    status, out, err = lab.end()
    assert status in (0, 3), out + err  # 3: a busy machine
    rows = pl.read_parquet(lab.cell("turns") / "requests.parquet")
    assert set(rows["code"]) == {"OK"}
    assert set(rows["method"]) == {"Greet"}
    assert set(rows["replica"]) == {f"greeter-{number}" for number in range(SERVERS)}
    summary = json.loads((lab.run / "summary.json").read_text())
    arm = summary["arms"]["turns"]
    assert arm["balance"]["max_off_fair_requests"] <= 1
    # What such a service does not tell is not there, and it is not 0.
    assert arm["queue_ms"]["p50"] is None
    assert arm["in_flight"]["max"] is None
    assert any("the service (greeter.Greeter/Greet) is not the lab's" in note for note in summary["notes"])
    assert "Not available: the ledger of the replicas" in (lab.run / "report.html").read_text()

    assert main(["report", str(lab.run), "--proxy-log", str(greeters.log)]) == 0
    told = capsys.readouterr().out.splitlines()[0]
    assert told.startswith(f"proxy log: {rows.height:,} requests of 1 of 1 cells joined; "), told
    summary = json.loads((lab.run / "summary.json").read_text())
    ledgers = summary["arms"]["turns"]["ledgers"]
    assert (ledgers["matched"], ledgers["envoy"], ledgers["reconciled"]) == (rows.height, rows.height, True)
    assert not [one for one in summary["invalid_reasons"] if "contradict" in one or "reconcile" in one]

    # The same requests in another form: JSON lines with names of our own.
    json_log = str(greeters.log.with_suffix(".json"))
    columns = "time=begun,request_id=trace.id,duration_ms=took,target=host,status=code,path=rpc,flags=flags,"
    columns += "bytes_received=in,bytes_sent=out"
    assert main(["report", str(lab.run), "--proxy-log", json_log, "--columns", columns]) == 0
    assert capsys.readouterr().out.startswith(f"proxy log: {rows.height:,} requests of 1 of 1 cells joined; ")
    again = json.loads((lab.run / "summary.json").read_text())
    assert again["arms"] == summary["arms"]


@pytest.mark.calm
@pytest.mark.usefixtures("without_plots")
def test_a_stream_of_answers_by_a_proto_file_where_only_the_log_says_who_answered(
    greeters: Greeters, tmp_path: Path
) -> None:
    (tmp_path / "asked.jsonl").write_text("1\n3\n\n5\n")
    shutil.copy(PROTO, tmp_path)
    service = {
        "proto": "greeter.proto",
        "method": "greeter.Greeter/Greetings",
        "requests": "asked.jsonl",
        "replica_from": "upstream-log",
    }
    experiment = load_experiment(str(greeting_experiment(tmp_path, service)))
    options = ExternalOptions(target=greeters.target)
    page, summary = measure_and_report(
        experiment, RunOptions(tmp_path / "results", quiet=True, testbed="external", external=options, redo=0)
    )
    arm = summary.arms["turns"]
    assert (arm.errors, sum(arm.replicas.values()), arm.metrics["spread.max_over_mean"]) == ({}, 0, None)
    assert main(["report", str(page.parent), "--proxy-log", str(greeters.log)]) == 0
    arm_after = json.loads((page.parent / "summary.json").read_text())["arms"]["turns"]
    assert len(arm_after["replicas"]) == SERVERS
    assert sum(arm_after["replicas"].values()) == arm.requests
    assert max(arm_after["replicas"].values()) - min(arm_after["replicas"].values()) <= 1
    assert arm_after["repeats"][0]["invalid_reasons"] == summary.arms["turns"].repeats[0].invalid_reasons


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"method": "greeter.Greter/Greet"}, "service.method: the server's reflection has no greeter.Greter"),
        ({"method": "greeter.Greeter/Gret"}, "has no method 'Gret'; did you mean 'Greet'?"),
        ({"method": "greeter.Greeter/GreetAll"}, "takes a stream of requests; expected a unary call"),
        ({"replica_from": "header x-nobody"}, "have no header x-nobody; they have: .*x-served-by"),
        ({"requests": "none.jsonl"}, r"service.requests: \S+none.jsonl: cannot be read"),
        (
            {"requests": {"name": 1}, "method": "greeter.Greeter/Greetings"},
            "is no google.protobuf.Int32Value",
        ),
    ],
)
def test_a_service_that_cannot_be_called_so_is_one_line(
    greeters: Greeters, tmp_path: Path, change: dict[str, Any], problem: str
) -> None:
    experiment = load_experiment(str(greeting_experiment(tmp_path, {**GREET, **change})))
    options = ExternalOptions(target=greeters.target)
    with pytest.raises(UserError, match=problem) as error:
        measure_and_report(
            experiment, RunOptions(tmp_path / "results", quiet=True, testbed="external", external=options)
        )
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("proto", "requests", "problem"),
    [
        ("none.proto", '{"name": "a"}', "no such file; expected a proto file, or `reflection`"),
        ("bad.proto", '{"name": "a"}', r"service.proto: \S+bad.proto:1:1: Expected"),
        (PROTO, "{", r"r.jsonl:1: expected one request as JSON"),
        (PROTO, '{"name": "a"}\n[1]', r"r.jsonl:2: is no google.protobuf.Struct"),
        (PROTO, "\n", "has 0 requests; expected 1 to 10,000"),
    ],
)
def test_files_with_mistakes_are_one_line(tmp_path: Path, proto: str, requests: str, problem: str) -> None:
    (tmp_path / "bad.proto").write_text("no proto\n")
    (tmp_path / "r.jsonl").write_text(requests)
    own = {**GREET, "proto": str(tmp_path / proto), "requests": str(tmp_path / "r.jsonl")}
    with pytest.raises(UserError, match=problem) as error:
        service_calls(OwnService.model_validate(own), Target("127.0.0.1:1"), 1)
    assert "\n" not in str(error.value)


def test_a_template_gives_each_client_and_request_its_own() -> None:
    own = OwnService.model_validate({**GREET, "proto": PROTO})
    calls = service_calls(own, Target("127.0.0.1:1"), 4)
    assert (calls.path, calls.streams, len(calls.requests)) == ("/greeter.Greeter/Greet", False, 4)
    assert len({one for row in calls.requests for one in row}) == 4 * 100


def test_a_server_without_reflection_is_told_apart(server: Path) -> None:
    with pytest.raises(
        UserError, match=re.escape("service.proto: reflection of --target 127.0.0.1:1: a call")
    ):
        service_calls(OwnService.model_validate(GREET), Target("127.0.0.1:1"), 1)
