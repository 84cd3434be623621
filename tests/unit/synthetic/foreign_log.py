"""A stored run as if its load balancer was not the lab's, and what that wrote into its access log."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from harness.record.proxy_log import LogKind
from harness.record.run_directory import Cell, read_run
from lb.trace_id import trace_headers
from tests.unit.synthetic.edited_run import edit, seal_again

CLOCK_AHEAD_NS = 37_250_000  # the load balancer's clock to this machine's
ENDPOINTS = "10.0.7.{}:50051"  # where the load balancer finds the replicas


def as_external(run: Path, kind: LogKind = "alb") -> list[str]:
    """Take the proxy's ledger out of a run; return the lines that another balancer would have written."""
    edit(run / "manifest.json", testbed="external", testbed_options=["--target", "lb.example.com:443"])
    lines = []
    for number, cell in enumerate(read_run(run).cells):
        prefix = f"6ab1c2d{number:01x}3f2a4b5c"
        lines += _lines(cell, prefix, kind)
        (cell.folder / "proxy.parquet").unlink()
        told = {"missing_ledgers": {"envoy": "the proxy is not the lab's"}, "trace_prefix": prefix}
        edit(
            cell.folder / "cell.json",
            own_clocks=True,
            replicas=dict.fromkeys(cell.record.replicas, ""),
            **told,
        )
    seal_again(run)
    return lines


def _lines(cell: Cell, prefix: str, kind: LogKind) -> Iterator[str]:
    ledger = cell.proxy_ledger()
    assert ledger is not None
    places = {address: place for place, address in enumerate(cell.record.replicas.values())}
    for row in ledger.collect().iter_rows(named=True):
        began_ns = row["start_unix_ns"] + CLOCK_AHEAD_NS
        target = ENDPOINTS.format(places[row["upstream"]])
        (_, trace), (_, uuid) = trace_headers(prefix, row["request_id"])
        ended_ns = began_ns + row["duration_us"] * 1000
        if kind == "envoy":
            yield _envoy_line(began_ns, ended_ns, target, uuid, row["path"])
        elif kind == "json":
            yield _json_line(began_ns, ended_ns, target, uuid, row["path"])
        else:
            yield alb_line(began_ns, ended_ns, target, trace, row["path"], 40_000 + row["connection"])


def alb_line(began_ns: int, ended_ns: int, target: str, trace: str, path: str, port: int) -> str:
    """Return the line that an ALB writes of a gRPC request; its times are whole milliseconds."""
    took_s = (ended_ns - began_ns) / 1e9
    return (
        f"grpcs {_moment(ended_ns)} app/lab/50dc6c495c0c9188 203.0.113.7:{port} {target} "
        f'0.000 {took_s:.3f} 0.000 200 200 220 148 "POST https://lb.example.com:443{path} HTTP/2.0" '
        '"grpc-python-asyncio/1.85.1" '
        "ECDHE-RSA-AES128-GCM-SHA256 TLSv1.2 "
        "arn:aws:elasticloadbalancing:eu-central-1:123456789012:targetgroup/lab/73e2d6bc24d8a067 "
        f'"Self=1-6ab1c2d0-0123456789abcdef01234567;{trace}" "lb.example.com" "session-reused" 1 '
        f'{_moment(began_ns)} "forward" "-" "-" "{target}" "200" "-" "-" TID_0123456789abcdef "-" "-" "-"\n'
    )


def _envoy_line(began_ns: int, ended_ns: int, target: str, uuid: str, path: str) -> str:
    """Return the line of Envoy's default format; its times are cut to whole milliseconds."""
    began_ms, took_ms = began_ns // 10**6, (ended_ns - began_ns) // 10**6
    return (
        f'[{_moment(began_ms * 10**6)[:-4]}Z] "POST {path} HTTP/2" 200 - 30 12 {took_ms} {took_ms} "-" '
        f'"grpc-python-asyncio/1.85.1" "{uuid}" "lb.example.com" "{target}"\n'
    )


def _json_line(began_ns: int, ended_ns: int, target: str, uuid: str, path: str) -> str:
    """Return the line of Envoy in Istio's JSON; its times are cut to whole milliseconds."""
    began_ms, took_ms = began_ns // 10**6, (ended_ns - began_ns) // 10**6
    line = {
        "start_time": f"{_moment(began_ms * 10**6)[:-4]}Z",
        "method": "POST",
        "path": path,
        "protocol": "HTTP/2",
        "response_code": 200,
        "response_flags": "-",
        "bytes_received": 30,
        "bytes_sent": 12,
        "duration": took_ms,
        "upstream_service_time": str(took_ms),
        "x_forwarded_for": None,
        "request_id": uuid,
        "upstream_host": target,
        "downstream_remote_address": "203.0.113.7:40000",
    }
    return f"{json.dumps(line)}\n"


def _moment(unix_ns: int) -> str:
    milliseconds = round(unix_ns / 1e6)
    seconds = datetime.fromtimestamp(milliseconds // 1000, UTC)
    return f"{seconds:%Y-%m-%dT%H:%M:%S}.{milliseconds % 1000:03}000Z"
