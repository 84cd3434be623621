"""Sticky sessions: by cookie, by header, strict or not; what picks a new session's replica."""

import time
from collections import Counter
from http.cookies import SimpleCookie

import pytest
import uvloop
from behind_envoy import Answer, Balanced, Metadata, StartBalanced, call, connection
from chance import within_binomial


def name_of_home(answer: Answer, by: str) -> Metadata:
    """What the answer tells its client to send back; () for nothing."""
    if by == "header":
        value = answer.header("x-lab-sticky")
        return (("x-lab-sticky", value),) if value else ()
    cookie = answer.header("set-cookie")
    return (("cookie", cookie.partition(";")[0]),) if cookie else ()


def play(target: str, by: str, sessions: int, length: int) -> list[list[Answer]]:
    """Sessions on connections of their own, each sending back what it was told last."""

    async def perform() -> list[list[Answer]]:
        played = []
        for _ in range(sessions):
            told: Metadata = ()
            answers = []
            async with connection(target) as stub:
                for _ in range(length):
                    answers.append(await call(stub, told))
                    told = name_of_home(answers[-1], by) or told
            played.append(answers)
        return played

    return uvloop.run(perform())


@pytest.mark.parametrize("by", ["cookie", "header"])
def test_a_session_stays_where_its_first_pick_was(by: str, balanced: StartBalanced) -> None:
    live = balanced("sticky", {"by": by})
    played = play(live.address, by, 12, 6)
    # 100 %: Envoy obeys what names a healthy replica.
    assert all(len({answer.replica for answer in answers}) == 1 for answers in played)
    # New sessions take turns, exactly.
    assert Counter(answers[0].replica for answers in played) == dict.fromkeys(live.servers, 4)


def test_the_cookie_lives_as_long_as_asked_for(balanced: StartBalanced) -> None:
    live = balanced("sticky", {"ttl_s": 7})
    ((answer,),) = play(live.address, "cookie", 1, 1)
    morsel = SimpleCookie(answer.header("set-cookie"))["LABALB"]
    assert (morsel["max-age"], morsel["path"]) == ("7", "/")


@pytest.mark.parametrize("first_pick", ["random", "least_request"])
def test_other_first_picks_are_drawn(first_pick: str, balanced: StartBalanced) -> None:
    live = balanced("sticky", {"first_pick": first_pick})
    first = [answer.replica for (answer,) in play(live.address, "cookie", 90, 1)]
    # Least request with nothing under way is a draw, too.
    assert all(within_binomial(count, 90, 1 / 3) for count in Counter(first).values())
    assert any(len(set(first[start : start + 3])) < 3 for start in range(88))  # not in turn


@pytest.mark.parametrize("strict", [False, True])
def test_when_the_home_is_away(strict: bool, balanced: StartBalanced) -> None:
    live = balanced("sticky", {"strict": strict})
    ((first,),) = play(live.address, "cookie", 1, 1)
    live.servers[first.replica].process.kill()
    await_unhealthy(live, live.servers[first.replica].address)

    async def perform() -> list[Answer]:
        async with connection(live.address) as stub:
            return [await call(stub, name_of_home(first, "cookie")) for _ in range(6)]

    answers = uvloop.run(perform())
    if strict:
        assert {(answer.code, answer.replica) for answer in answers} == {("UNAVAILABLE", "")}
    else:
        assert {answer.code for answer in answers} == {"OK"}
        assert {answer.replica for answer in answers} == set(live.servers) - {first.replica}
        assert all(name_of_home(answer, "cookie") for answer in answers)  # a new one each time


def await_unhealthy(live: Balanced, address: str) -> None:
    deadline_s = time.monotonic() + 15
    while live.envoy.admin.endpoint_health()[address]:
        assert time.monotonic() < deadline_s
        time.sleep(0.05)
