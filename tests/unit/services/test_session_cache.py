"""The session cache: the least recently used session is removed first; the size is never exceeded."""

from hypothesis import given
from hypothesis import strategies as st

from services.session_cache import SessionCache

SESSIONS = st.text("abcdef", min_size=1, max_size=1)
STEPS = st.lists(st.one_of(SESSIONS, st.integers(1, 5)), max_size=60)


@given(size=st.integers(1, 5), steps=STEPS)
def test_a_session_stays_while_it_is_recently_used(size: int, steps: list[str | int]) -> None:
    """A step is a session to use, or a new size."""
    cache, kept = SessionCache(size), list[str]()  # kept: the most recently used session comes last
    for step in steps:
        if isinstance(step, int):
            size = step
            cache.resize(size)
        else:
            assert cache.find(step) == (step in kept)
            cache.keep(step)
            kept = [*(session for session in kept if session != step), step]
        kept = kept[-size:]
        assert len(cache) == len(kept)
    assert all(cache.find(session) for session in kept)


@given(size=st.integers(1, 20), rounds=st.integers(2, 4), more=st.integers(0, 1))
def test_cyclic_use_hits_always_or_never(size: int, rounds: int, more: int) -> None:
    cache = SessionCache(size)
    sessions = [f"{number}.0" for number in range(size + more)]
    hits = []
    for session in sessions * rounds:
        hits.append(cache.find(session))
        cache.keep(session)
    assert hits == [False] * len(sessions) + [more == 0] * (len(hits) - len(sessions))


def test_a_look_alone_leaves_nothing_and_makes_a_known_session_the_latest() -> None:
    cache = SessionCache(2)
    assert not cache.find("a")
    assert not cache.find("a")
    cache.keep("a")
    cache.keep("b")
    assert cache.find("a")
    cache.keep("c")
    assert [cache.find(session) for session in "abc"] == [True, False, True]
