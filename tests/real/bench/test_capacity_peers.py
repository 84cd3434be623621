"""The peers of `make capacity` and real gRPC understand each other, and calls that fail are not counted."""

import os
from pathlib import Path

import grpc
import pytest
from replica_process import StartReplica

from bench.capacity import nghttp2
from bench.capacity.parts import SERVICE, VIDEO, LocalTestbed, check_ledgers, measure
from bench.capacity.points import Point
from services import video_service_pb2 as pb
from services.video_service_pb2_grpc import VideoServiceStub

pytestmark = [
    pytest.mark.alone,
    pytest.mark.skipif(not nghttp2.installed(), reason="needs h2load and nghttpd (Debian: nghttp2)"),
]
PIDS = {"test": os.getpid()}


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nghttp2, "SETTLE_S", 0.3)
    monkeypatch.setattr(nghttp2, "MEASURED_S", 1.0)


def test_grpc_understands_nghttpd(tmp_path: Path) -> None:
    reply = pb.AddVideoReply(video=VIDEO)
    with nghttp2.answerers(2, f"{SERVICE}/AddVideo", reply, tmp_path) as answering:
        assert len(answering) == 2
        for address in answering:
            with grpc.insecure_channel(address) as channel:
                answer, call = VideoServiceStub(channel).AddVideo.with_call(pb.Video(id="a", title="b"))
            assert answer == reply
            assert ("x-lab-replica", "replica-0") in call.trailing_metadata()


def test_h2load_calls_a_replica_at_its_rate(start_replica: StartReplica, tmp_path: Path) -> None:
    replica = start_replica()
    request = pb.GetVideoRequest(id="sample-0")
    url = f"http://{replica.address}/{SERVICE}/GetVideos"
    found = nghttp2.call(url, request, 2, 100, PIDS, tmp_path)
    assert found["calls_per_s"] == pytest.approx(100, rel=0.1)
    rows = replica.ledger()
    assert {(row["method"], row["code"]) for row in rows} == {("GetVideos", "OK")}
    assert len(rows) == pytest.approx(160, rel=0.1)


def test_h2load_without_a_server_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=r"h2load's calls to .* failed"):
        nghttp2.call("http://127.0.0.1:9/x", VIDEO, 2, 100, PIDS, tmp_path)


def test_calls_that_fail_are_no_calls_answered(start_replica: StartReplica, tmp_path: Path) -> None:
    replica = start_replica(fail_share=1)
    url = f"http://{replica.address}/{SERVICE}/GetVideos"
    nghttp2.call(url, pb.GetVideoRequest(id="sample-0"), 2, 100, PIDS, tmp_path)
    with pytest.raises(RuntimeError, match="UNAVAILABLE"):
        check_ledgers(replica.ledger_path.parent)


@pytest.mark.parametrize(
    ("what", "route", "replicas"), [("load", "direct", 1), ("envoy", "envoy", 2), ("replica", "direct", 1)]
)
def test_a_part_alone_is_measured(what: str, route: str, replicas: int, tmp_path: Path) -> None:
    with LocalTestbed(tmp_path / "logs") as testbed:
        row = measure(Point(what, route, 100, 4, replicas, 1), testbed, tmp_path / "point")
    assert row["calls_per_s"] == pytest.approx(100, rel=0.2)
    assert 0 < row[f"{what}_cores"] < 1
