"""Settings of an arm besides the policy: retries, the age of connections, and the access log."""

import asyncio
from collections import Counter

import pytest
import uvloop
from behind_envoy import (
    Answer,
    Balanced,
    StartBalanced,
    call,
    connection,
    on_one_connection,
    session,
    sessions,
)

from services import lab_control_pb2 as lab
from services import video_service_pb2 as pb


def fail(live: Balanced, replica: str, code: str) -> None:
    """Make all calls to that replica fail at once, before response headers."""
    live.servers[replica].control.SetBehaviour(lab.Behaviour(fail_share=1.0, fail_code=code))


def retries(attempts: int, *codes: str) -> dict[str, object]:
    return {"by": "proxy", "attempts": attempts, "on": list(codes), "backoff_ms": 1}


@pytest.mark.parametrize(
    "code", ["CANCELLED", "DEADLINE_EXCEEDED", "INTERNAL", "RESOURCE_EXHAUSTED", "UNAVAILABLE"]
)
def test_envoy_retries_the_configured_codes(code: str, balanced: StartBalanced) -> None:
    live = balanced("round_robin", retries=retries(2, code))
    fail(live, "replica-0", code)
    answers = on_one_connection(live.address, sessions(30))
    assert {answer.code for answer in answers} == {"OK"}
    # Round robin: every third first attempt goes to the failing replica. The second goes elsewhere.
    attempts = Counter(line["attempts"] for line in live.access_log(30))
    assert attempts[2] >= 10
    assert set(attempts) == {1, 2}


def test_envoy_does_not_retry_other_codes(balanced: StartBalanced) -> None:
    live = balanced("round_robin", retries=retries(2, "UNAVAILABLE"))
    fail(live, "replica-0", "INTERNAL")
    codes = Counter(answer.code for answer in on_one_connection(live.address, sessions(30)))
    assert codes == {"OK": 20, "INTERNAL": 10}


def test_envoy_makes_no_more_attempts_than_configured(balanced: StartBalanced) -> None:
    live = balanced("round_robin", retries=retries(3, "UNAVAILABLE"))
    for replica in live.servers:
        fail(live, replica, "UNAVAILABLE")
    assert {answer.code for answer in on_one_connection(live.address, sessions(5))} == {"UNAVAILABLE"}
    assert {line["attempts"] for line in live.access_log(5)} == {3}


def test_a_retry_goes_to_another_replica_even_if_the_hash_key_maps_to_the_failed_one(
    balanced: StartBalanced,
) -> None:
    live = balanced("ring_hash", retries=retries(2, "UNAVAILABLE"))
    fail(live, "replica-0", "UNAVAILABLE")
    answers = on_one_connection(live.address, sessions(60))
    assert {answer.code for answer in answers} == {"OK"}
    assert {line["attempts"] for line in live.access_log(60)} == {1, 2}


def test_a_killed_replica_counts_as_unavailable(balanced: StartBalanced) -> None:
    live = balanced("round_robin", retries=retries(2, "UNAVAILABLE"))
    live.servers["replica-0"].process.kill()
    # The calls come before a health check can fail.
    assert {answer.code for answer in on_one_connection(live.address, sessions(12))} == {"OK"}


def test_connections_end_at_their_maximum_age_and_no_call_fails(balanced: StartBalanced) -> None:
    live = balanced("round_robin", max_connection_age_s=0.3)

    async def make_calls() -> list[Answer]:
        answers = []
        async with connection(live.address) as stub:
            for _ in range(40):
                answers.append(await call(stub))
                await asyncio.sleep(0.04)
        return answers

    answers = uvloop.run(make_calls())
    assert {answer.code for answer in answers} == {"OK"}
    assert len({answer.header("x-lab-connection") for answer in answers}) >= 3


def test_the_access_log_has_cluster_replica_connection_and_bytes(balanced: StartBalanced) -> None:
    live = balanced("round_robin")
    (answer,) = on_one_connection(live.address, [(*session(5), ("x-lab-request-id", "77"))])
    (line,) = live.access_log(1)
    assert (line["request_id"], line["cluster"]) == (77, "videos")
    assert live.names[line["upstream"]] == answer.replica
    assert str(line["connection"]) == answer.header("x-lab-connection")
    # A gRPC message (id and title) with its prefix of five bytes.
    video = pb.Video(id="oracle-0", title="Oracle").ByteSize()
    assert video < line["bytes_in"] <= video + 5 + 8
    assert line["bytes_out"] > 5


def test_the_access_log_of_l4_has_one_line_for_each_connection(balanced: StartBalanced) -> None:
    live = balanced("round_robin", route="envoy-l4")
    answers = on_one_connection(live.address, sessions(7))
    (line,) = live.access_log(1)
    assert "request_id" not in line
    assert {live.names[line["upstream"]]} == {answer.replica for answer in answers}
    assert line["bytes_in"] > 7 * 20
    assert line["bytes_out"] > 7 * 5
    assert {"start", "duration_ms", "flags", "connection", "peer"} <= set(line)
