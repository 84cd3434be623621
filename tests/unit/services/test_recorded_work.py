"""A call of the lab's load may ask for the service time that was recorded of its request."""

import asyncio
import time

import pytest

from services.behaviour import Behaviour
from services.call import MAX_WORK_NS, Call
from services.settings import ReplicaSettings, ServiceTime


def call(asked: str | None, identity: str = "1.1/7") -> Call:
    metadata = () if asked is None else (("x-lab-work-ns", asked),)
    return Call(7, "AddVideo", "127.0.0.1:1", 0, 1, metadata=metadata, identity=identity)


@pytest.mark.parametrize(
    ("asked", "work_ns"),
    [
        ("5000000", 5_000_000),
        ("0", 0),
        (str(10**17), MAX_WORK_NS),
        (None, None),
        ("", None),
        ("-1", None),
        ("1e9", None),
        ("9" * 30, None),
    ],
)
def test_only_a_number_counts(asked: str | None, work_ns: int | None) -> None:
    assert call(asked).recorded_work_ns() == work_ns


def test_calls_by_hand_ask_for_nothing() -> None:
    assert call("5000000", identity="").recorded_work_ns() is None


def test_the_replica_takes_that_time_and_its_own_slowness() -> None:
    settings = ReplicaSettings(
        slots=1, service_time_ms=ServiceTime(distribution="constant", mean=0), slow_factor=2
    )

    async def served_ns(asked: str) -> int:
        one = call(asked)
        await Behaviour(settings, "1").work(one)
        return one.service_ns

    started_ns = time.monotonic_ns()
    took_ns = asyncio.run(served_ns("20000000"))
    # Not the settings' time, which is 0, but twice 20 ms. Timers may end a millisecond early, and on a busy
    # machine any time later.
    assert 39_000_000 <= took_ns <= time.monotonic_ns() - started_ns
