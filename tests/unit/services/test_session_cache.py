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
            assert cache.use(step) == (step in kept)
            kept = [*(session for session in kept if session != step), step]
        kept = kept[-size:]
        assert len(cache) == len(kept)
    assert all(cache.use(session) for session in kept)


@given(size=st.integers(1, 20), rounds=st.integers(2, 4), more=st.integers(0, 1))
def test_cyclic_use_hits_always_or_never(size: int, rounds: int, more: int) -> None:
    cache = SessionCache(size)
    sessions = [f"{number}.0" for number in range(size + more)]
    hits = [cache.use(session) for _ in range(rounds) for session in sessions]
    assert hits == [False] * len(sessions) + [more == 0] * (len(hits) - len(sessions))
