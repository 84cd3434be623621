"""Sticky sessions: by cookie or header, strict or not, and the first pick of a session."""

import time
from collections import Counter
from http.cookies import SimpleCookie

import pytest
import uvloop
from behind_envoy import Answer, Balanced, Metadata, StartBalanced, call, connection
from chance import within_binomial


def session_metadata(answer: Answer, by: str) -> Metadata:
    """Return the cookie or header that the client must send back; () for none."""
    if by == "header":
        value = answer.header("x-lab-sticky")
        return (("x-lab-sticky", value),) if value else ()
    cookie = answer.header("set-cookie")
    return (("cookie", cookie.partition(";")[0]),) if cookie else ()


def run_sessions(target: str, by: str, sessions: int, length: int) -> list[list[Answer]]:
    """Run sessions, each on its own connection; return the answers of each session."""

    async def make_calls() -> list[list[Answer]]:
        finished = []
        for _ in range(sessions):
            sent_back: Metadata = ()
            answers = []
            async with connection(target) as stub:
                for _ in range(length):
                    answers.append(await call(stub, sent_back))
                    sent_back = session_metadata(answers[-1], by) or sent_back
            finished.append(answers)
        return finished

    return uvloop.run(make_calls())


@pytest.mark.parametrize("by", ["cookie", "header"])
def test_a_session_stays_on_the_replica_of_its_first_call(by: str, balanced: StartBalanced) -> None:
    live = balanced("sticky", {"by": by})
    finished = run_sessions(live.address, by, 12, 6)
    # No exception: Envoy always follows a cookie or header that names a healthy replica.
    assert all(len({answer.replica for answer in answers}) == 1 for answers in finished)
    # First picks are exactly round robin.
    assert Counter(answers[0].replica for answers in finished) == dict.fromkeys(live.servers, 4)


def test_the_cookie_has_the_configured_lifetime(balanced: StartBalanced) -> None:
    live = balanced("sticky", {"ttl_s": 7})
    ((answer,),) = run_sessions(live.address, "cookie", 1, 1)
    morsel = SimpleCookie(answer.header("set-cookie"))["LABALB"]
    assert (morsel["max-age"], morsel["path"]) == ("7", "/")


@pytest.mark.parametrize("first_pick", ["random", "least_request"])
def test_other_first_picks_are_random(first_pick: str, balanced: StartBalanced) -> None:
    live = balanced("sticky", {"first_pick": first_pick})
    first = [answer.replica for (answer,) in run_sessions(live.address, "cookie", 90, 1)]
    # Least request without requests in flight is random, too.
    assert all(within_binomial(count, 90, 1 / 3) for count in Counter(first).values())
    assert any(len(set(first[start : start + 3])) < 3 for start in range(88))  # not round robin


@pytest.mark.parametrize("strict", [False, True])
def test_a_session_whose_replica_is_dead_fails_only_if_strict(strict: bool, balanced: StartBalanced) -> None:
    live = balanced("sticky", {"strict": strict})
    ((first,),) = run_sessions(live.address, "cookie", 1, 1)
    live.servers[first.replica].process.kill()
    await_unhealthy(live, live.servers[first.replica].address)

    async def make_calls() -> list[Answer]:
        async with connection(live.address) as stub:
            return [await call(stub, session_metadata(first, "cookie")) for _ in range(6)]

    answers = uvloop.run(make_calls())
    if strict:
        assert {(answer.code, answer.replica) for answer in answers} == {("UNAVAILABLE", "")}
    else:
        assert {answer.code for answer in answers} == {"OK"}
        assert {answer.replica for answer in answers} == set(live.servers) - {first.replica}
        assert all(session_metadata(answer, "cookie") for answer in answers)  # each answer sets a new cookie


def await_unhealthy(live: Balanced, address: str) -> None:
    deadline_s = time.monotonic() + 15
    while live.envoy.admin.endpoint_health()[address]:
        assert time.monotonic() < deadline_s
        time.sleep(0.05)
