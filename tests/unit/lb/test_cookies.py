"""The cookie jar: what set-cookie brings goes back unchanged, as long as it is valid."""

import pytest

from lb import cookies
from lb.cookies import CookieJar

# As Envoy 1.40 sends it: stateful_session, cookie {name: LABALB, path: /, ttl: 86400s}.
ENVOY = 'LABALB="Cg8xMjcuMC4wLjE6NDMyMRCAkJ+8pDE="; Max-Age=86400; Path=/; HttpOnly'
ENVOY_SENT_BACK = 'LABALB="Cg8xMjcuMC4wLjE6NDMyMRCAkJ+8pDE="'


class Clock:
    """The monotonic clock as the jar reads it, set by hand."""

    now_s = 1000.0

    def monotonic(self) -> float:
        return self.now_s


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(cookies, "time", clock)
    return clock


def jar_with(*texts: str) -> CookieJar:
    jar = CookieJar()
    jar.keep([("set-cookie", text) for text in texts])
    return jar


def test_an_empty_jar_sends_nothing() -> None:
    jar = CookieJar()
    jar.keep(None)
    jar.keep([("x-lab-replica", "replica-0")])
    assert jar.header() is None


def test_envoys_cookie_goes_back_byte_for_byte() -> None:
    assert jar_with(ENVOY).header() == ENVOY_SENT_BACK


def test_several_cookies_go_back_in_one_header() -> None:
    assert jar_with("a=1", ENVOY, "b=2; Path=/").header() == f"a=1; {ENVOY_SENT_BACK}; b=2"


def test_a_newer_value_replaces_an_older_one() -> None:
    assert jar_with("a=1", "b=2", "a=3").header() == "a=3; b=2"


def test_a_cookie_ends_with_its_max_age(clock: Clock) -> None:
    jar = jar_with("short=1; Max-Age=10", "session=2")
    clock.now_s += 9.9
    assert jar.header() == "short=1; session=2"
    clock.now_s += 0.1
    assert jar.header() == "session=2"


@pytest.mark.parametrize("age", ["0", "-1"])
def test_an_age_of_nothing_deletes(age: str) -> None:
    assert jar_with("a=1", f"a=1; Max-Age={age}").header() is None


@pytest.mark.parametrize("age", ["soon", "--5", "1.5", "-", "²"])
def test_an_age_that_is_no_number_is_ignored(age: str) -> None:
    assert jar_with(f"a=1; Max-Age={age}").header() == "a=1"


@pytest.mark.parametrize(
    "text", ["", "LABALB", "=1", ";;;", "a b=1", "a=\x00; Path=/", "Path=/", "é=1", "a/b=1"]
)
def test_a_malformed_cookie_is_ignored(text: str) -> None:
    assert jar_with(text, "good=1").header() == "good=1"


def test_binary_metadata_is_no_cookie() -> None:
    jar = CookieJar()
    jar.keep([("set-cookie", b"a=1")])
    assert jar.header() is None
