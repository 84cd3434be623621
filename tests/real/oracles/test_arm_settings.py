"""What an arm may ask of Envoy besides a policy: retries, connections that end, an access log to join by."""

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

from services import video_service_pb2 as pb


def failing(live: Balanced, replica: str, code: str) -> None:
    """From now on all calls of that replica fail at once, before response headers."""
    live.servers[replica].control.SetBehaviour(pb.Behaviour(fail_share=1.0, fail_code=code))


def retries(attempts: int, *codes: str) -> dict[str, object]:
    return {"by": "proxy", "attempts": attempts, "on": list(codes), "backoff_ms": 1}


@pytest.mark.parametrize(
    "code", ["CANCELLED", "DEADLINE_EXCEEDED", "INTERNAL", "RESOURCE_EXHAUSTED", "UNAVAILABLE"]
)
def test_envoy_tries_again_after_the_codes_asked_for(code: str, balanced: StartBalanced) -> None:
    live = balanced("round_robin", retries=retries(2, code))
    failing(live, "replica-0", code)
    answers = on_one_connection(live.address, sessions(30))
    assert {answer.code for answer in answers} == {"OK"}
    # Turns: at least every third first attempt meets the failing one; the second is made elsewhere.
    attempts = Counter(line["attempts"] for line in live.access_log(30))
    assert attempts[2] >= 10
    assert set(attempts) == {1, 2}


def test_other_codes_are_not_tried_again(balanced: StartBalanced) -> None:
    live = balanced("round_robin", retries=retries(2, "UNAVAILABLE"))
    failing(live, "replica-0", "INTERNAL")
    codes = Counter(answer.code for answer in on_one_connection(live.address, sessions(30)))
    assert codes == {"OK": 20, "INTERNAL": 10}


def test_no_more_attempts_than_asked_for(balanced: StartBalanced) -> None:
    live = balanced("round_robin", retries=retries(3, "UNAVAILABLE"))
    for replica in live.servers:
        failing(live, replica, "UNAVAILABLE")
    assert {answer.code for answer in on_one_connection(live.address, sessions(5))} == {"UNAVAILABLE"}
    assert {line["attempts"] for line in live.access_log(5)} == {3}


def test_a_retry_leaves_the_replica_that_failed_even_where_the_key_points_to_it(
    balanced: StartBalanced,
) -> None:
    live = balanced("ring_hash", retries=retries(2, "UNAVAILABLE"))
    failing(live, "replica-0", "UNAVAILABLE")
    answers = on_one_connection(live.address, sessions(60))
    assert {answer.code for answer in answers} == {"OK"}
    assert {line["attempts"] for line in live.access_log(60)} == {1, 2}


def test_a_replica_that_is_gone_counts_as_unavailable(balanced: StartBalanced) -> None:
    live = balanced("round_robin", retries=retries(2, "UNAVAILABLE"))
    live.servers["replica-0"].process.kill()
    # Before any health check can have noticed.
    assert {answer.code for answer in on_one_connection(live.address, sessions(12))} == {"OK"}


def test_connections_end_at_their_age_and_no_call_with_them(balanced: StartBalanced) -> None:
    live = balanced("round_robin", max_connection_age_s=0.3)

    async def perform() -> list[Answer]:
        answers = []
        async with connection(live.address) as stub:
            for _ in range(40):
                answers.append(await call(stub))
                await asyncio.sleep(0.04)
        return answers

    answers = uvloop.run(perform())
    assert {answer.code for answer in answers} == {"OK"}
    assert len({answer.header("x-lab-connection") for answer in answers}) >= 3


def test_the_access_log_says_what_was_where(balanced: StartBalanced) -> None:
    live = balanced("round_robin")
    (answer,) = on_one_connection(live.address, [(*session(5), ("x-lab-request-id", "77"))])
    (line,) = live.access_log(1)
    assert (line["request_id"], line["cluster"]) == ("77", "videos")
    assert live.names[line["upstream"]] == answer.replica
    assert str(line["connection"]) == answer.header("x-lab-connection")
    # A gRPC message with its five bytes of prefix: the id, the title.
    video = pb.Video(id="oracle-0", title="Oracle").ByteSize()
    assert video < line["bytes_in"] <= video + 5 + 8
    assert line["bytes_out"] > 5


def test_the_access_log_of_l4_has_a_line_a_connection(balanced: StartBalanced) -> None:
    live = balanced("round_robin", route="envoy-l4")
    answers = on_one_connection(live.address, sessions(7))
    (line,) = live.access_log(1)
    assert "request_id" not in line
    assert {live.names[line["upstream"]]} == {answer.replica for answer in answers}
    assert line["bytes_in"] > 7 * 20
    assert line["bytes_out"] > 7 * 5
    assert {"start", "duration_ms", "flags", "connection", "peer"} <= set(line)
