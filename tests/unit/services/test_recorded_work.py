"""A call of the lab's load may ask for the service time that was recorded of its request."""

import asyncio
import time

import pytest

from services.behaviour import Behaviour
from services.call import MAX_WORK_NS, Call
from services.settings import DearRequests, ReplicaSettings, ServiceTime


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


@pytest.mark.parametrize(
    ("session", "client"),
    [("12.0", 12), ("0.3", 0), ("7", 7), ("me", None), ("", None), ("-1.0", None), ("9" * 30, None)],
)
def test_the_session_names_the_client(session: str, client: int | None) -> None:
    one = Call(7, "AddVideo", "127.0.0.1:1", 0, 1, metadata=(("x-lab-session", session),))
    assert one.client() == client


def test_the_calls_of_a_dear_client_take_longer_and_the_draw_is_the_same() -> None:
    """Of four clients one is dear: its calls take 9 / 3 of the mean of 8 ms, those of the others 1 / 3."""
    dear = DearRequests(by="client", share=0.25, factor=9)
    service_time = ServiceTime(distribution="constant", mean=8, dear=dear)
    behaviour = Behaviour(ReplicaSettings(slots=4, service_time_ms=service_time), "1")

    async def served_ns(client: int) -> int:
        one = Call(7, "AddVideo", "127.0.0.1:1", 0, 1, metadata=(("x-lab-session", f"{client}.0"),))
        await behaviour.work(one)
        return one.service_ns

    took_ns = sorted(asyncio.run(served_ns(client)) for client in range(4))
    # On a busy machine a sleep takes longer, so the others are told by their least.
    assert took_ns[0] < 20_000_000 <= took_ns[-1]


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
