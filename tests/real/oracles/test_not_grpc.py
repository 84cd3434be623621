"""What Envoy answers to a browser or curl, and that calls and the analysis notice nothing of it."""

import http.client
import json
import re
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from behind_envoy import Balanced, StartBalanced
from lab_process import StartLab, experiment_file

from services.video_service_pb2 import GetVideoRequest, GetVideosReply

GET_VIDEOS = "/video_service.VideoService/GetVideos"
GROUPS = {"blue": {"replicas": 2, "weight": 80}, "green": {"replicas": 1, "weight": 20}}


def ask(address: str, method: str, path: str, headers: dict[str, str], body: bytes = b"") -> Any:
    """Make one HTTP/1.1 request; return the answer with its text read."""
    connection = http.client.HTTPConnection(address, timeout=10)
    connection.request(method, path, body, headers)
    answer = connection.getresponse()
    answer.text = answer.read()  # type: ignore[attr-defined]
    connection.close()
    return answer


@pytest.fixture(
    params=[("sticky", {}), ("target_groups", {"groups": GROUPS, "sticky_by": "cookie"})],
    ids=lambda param: param[0],
)
def live(request: pytest.FixtureRequest, balanced: StartBalanced) -> Balanced:
    return balanced(*request.param)


def test_a_plain_request_is_told_what_to_call_instead(live: Balanced) -> None:
    plain: list[tuple[str, dict[str, str]]] = [
        ("GET", {}),
        ("GET", {"cookie": "LABTG=blue; LABALB=x"}),
        ("POST", {"content-type": "application/json"}),
    ]
    for path in ("/", GET_VIDEOS):
        for method, headers in plain:
            answer = ask(live.address, method, path, headers)
            assert (answer.status, answer.headers["content-type"]) == (415, "text/plain")
            assert b"takes gRPC calls only" in answer.text
            assert f"grpcurl -plaintext {live.address} list\n".encode() in answer.text
            assert answer.text.endswith(b"GetVideos\n")
            assert answer.headers["set-cookie"] is None
    for line in live.access_log(6):
        known = {key: line[key] for key in ("request_id", "upstream", "cluster", "grpc", "http", "details")}
        assert known == {
            **dict.fromkeys(("request_id", "upstream", "cluster", "grpc")),
            **{"http": 415, "details": "direct_response"},
        }


@pytest.mark.parametrize("kind", ["", "+proto", ";charset=utf-8", "-web+proto"])
def test_every_kind_of_grpc_reaches_a_replica(live: Balanced, kind: str) -> None:
    message = GetVideoRequest(id="sample-1").SerializeToString()
    body = b"\0" + len(message).to_bytes(4, "big") + message
    headers = {"content-type": f"application/grpc{kind}", "te": "trailers", "x-lab-request-id": "7"}
    answer = ask(live.address, "POST", GET_VIDEOS, headers, body)
    (line,) = live.access_log(1)
    assert line["upstream"] in live.names
    assert line["details"] == "via_upstream"
    if kind != "-web+proto":  # gRPC's server refuses that one itself
        assert answer.headers["x-lab-replica"] in live.servers
        assert [video.id for video in GetVideosReply.FromString(answer.text[5:]).videos] == ["sample-1"]


def test_plain_requests_during_a_run_change_none_of_its_figures(start_lab: StartLab, tmp_path: Path) -> None:
    arms = {"sticky": {"route": "envoy", "policy": "sticky"}}
    lab = start_lab("run", experiment_file(tmp_path, arms=arms, workload={"duration_s": 1.5}), "--redo", 0)
    cell = lab.await_state("measure")
    port = re.findall(r"port_value: (\d+)", (cell / "envoy" / "envoy.yaml").read_text())[-1]
    statuses = {ask(f"127.0.0.1:{port}", "GET", "/", {}).status for _ in range(20)}
    status, _, err = lab.end()
    assert status in (0, 3), err  # 3: a busy machine
    assert statuses == {415}
    log = pl.read_parquet(lab.cell("sticky") / "proxy.parquet")
    assert log.filter(path="/").height == 20
    ledgers = json.loads((lab.run / "summary.json").read_text())["arms"]["sticky"]["ledgers"]
    assert ledgers["reconciled"]
    assert ledgers["envoy"] == ledgers["matched"] == lab.rows("sticky").height == log.height - 20
