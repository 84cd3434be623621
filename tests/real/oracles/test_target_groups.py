"""Weighted target groups, with and without group stickiness."""

from collections import Counter, defaultdict

import pytest
import uvloop
from behind_envoy import Answer, Balanced, Metadata, StartBalanced, call, calls, connection, session
from chance import within_binomial

GROUPS = {"blue": {"replicas": 3, "weight": 80}, "green": {"replicas": 1, "weight": 20}}
SESSIONS, LENGTH = 250, 4


def run_sessions(live: Balanced, sessions: int = SESSIONS, length: int = LENGTH) -> list[list[Answer]]:
    """Run sessions with a session header and a cookie jar; return the answers of each session."""

    async def make_calls() -> list[list[Answer]]:
        finished = []
        async with connection(live.address) as stub:
            for number in range(sessions):
                jar: Metadata = ()
                answers = []
                for _ in range(length):
                    answers.append(await call(stub, (*session(number), *jar)))
                    cookie = answers[-1].header("set-cookie")
                    jar = (("cookie", cookie.partition(";")[0]),) if cookie else jar
                finished.append(answers)
        return finished

    return uvloop.run(make_calls())


def groups_of(answers: list[Answer]) -> list[str]:
    return ["green" if answer.replica == "replica-3" else "blue" for answer in answers]


def test_each_request_goes_to_a_random_group_and_round_robin_inside_it(balanced: StartBalanced) -> None:
    live = balanced("target_groups", {"groups": GROUPS}, [()] * 4)

    async def make_calls() -> list[Answer]:
        async with connection(live.address) as stub:
            return await calls(stub, [()] * 1000)

    counts = Counter(answer.replica for answer in uvloop.run(make_calls()))
    # The groups are independent random draws: use the 99.9 % binomial interval.
    assert within_binomial(counts["replica-3"], 1000, 0.2), counts
    # Exact: round robin inside the group.
    blue = [counts[f"replica-{number}"] for number in range(3)]
    assert max(blue) - min(blue) <= 1
    lines = live.access_log(1000)
    assert {(line["cluster"], live.names[line["upstream"]]) for line in lines} == {
        *(("videos.blue", f"replica-{number}") for number in range(3)),
        ("videos.green", "replica-3"),
    }


@pytest.mark.parametrize("sticky_by", ["cookie", "header"])
def test_a_session_stays_in_its_group(sticky_by: str, balanced: StartBalanced) -> None:
    live = balanced("target_groups", {"groups": GROUPS, "sticky_by": sticky_by}, [()] * 4)
    finished = run_sessions(live)
    # No exception. Without stickiness two of five sessions of four calls would stay by chance.
    assert all(len(set(groups_of(answers))) == 1 for answers in finished)
    # One random draw, or one hash, for each session.
    green = sum(groups_of(answers)[0] == "green" for answers in finished)
    assert within_binomial(green, SESSIONS, 0.2), green
    # The session keeps its group, not its replica.
    replicas: dict[str, set[str]] = defaultdict(set)
    for answers in finished:
        replicas[groups_of(answers)[0]] |= {answer.replica for answer in answers}
    assert replicas == {"blue": {"replica-0", "replica-1", "replica-2"}, "green": {"replica-3"}}


def test_without_stickiness_a_session_changes_groups(balanced: StartBalanced) -> None:
    finished = run_sessions(balanced("target_groups", {"groups": GROUPS}, [()] * 4), 60)
    stayed = sum(len(set(groups_of(answers))) == 1 for answers in finished)
    assert within_binomial(stayed, 60, 0.8**LENGTH + 0.2**LENGTH), stayed
