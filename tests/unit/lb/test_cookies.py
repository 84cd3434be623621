"""The cookie jar sends each cookie back unchanged while it is valid."""

import pytest

from lb import cookies
from lb.cookies import CookieJar

# As Envoy 1.40 sends it: stateful_session, cookie {name: LABALB, path: /, ttl: 86400s}.
ENVOY = 'LABALB="Cg8xMjcuMC4wLjE6NDMyMRCAkJ+8pDE="; Max-Age=86400; Path=/; HttpOnly'
ENVOY_SENT_BACK = 'LABALB="Cg8xMjcuMC4wLjE6NDMyMRCAkJ+8pDE="'


class Clock:
    """The clocks that the jar reads, set by the test. The wall clock starts at 2026-10-07 10:00 UTC."""

    now_s = 1000.0

    def monotonic(self) -> float:
        return self.now_s

    def time(self) -> float:
        return self.now_s - 1000.0 + 1791367200.0


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(cookies, "time", clock)
    return clock


def jar_with(*texts: str, secure: bool = False) -> CookieJar:
    jar = CookieJar(secure)
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
def test_a_max_age_of_zero_deletes_the_cookie(age: str) -> None:
    assert jar_with("a=1", f"a=1; Max-Age={age}").header() is None


@pytest.mark.parametrize("age", ["soon", "--5", "1.5", "-", "²"])
def test_a_max_age_that_is_no_number_is_ignored(age: str) -> None:
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


# An ALB sends these with every answer, each time with a new value and a new expiry.
ALB_FIRST = (
    "AWSALB=k3+x/A==; Expires=Wed, 14 Oct 2026 10:00:00 GMT; Path=/",
    "AWSALBCORS=k3+x/A==; Expires=Wed, 14 Oct 2026 10:00:00 GMT; Path=/; SameSite=None; Secure",
)
ALB_NEXT = tuple(text.replace("k3+x/A==", "pQ9/+w==").replace("14 Oct", "15 Oct") for text in ALB_FIRST)


def test_an_albs_pair_of_cookies_is_sent_back_and_renewed(clock: Clock) -> None:
    jar = jar_with(*ALB_FIRST, secure=True)
    assert jar.header() == "AWSALB=k3+x/A==; AWSALBCORS=k3+x/A=="
    clock.now_s += 6.5 * 86400
    jar.keep([("set-cookie", text) for text in ALB_NEXT])
    clock.now_s += 86400  # the first pair of cookies would have expired
    assert jar.header() == "AWSALB=pQ9/+w==; AWSALBCORS=pQ9/+w=="
    clock.now_s += 0.5 * 86400
    assert jar.header() is None


def test_target_groups_and_an_applications_own_cookie() -> None:
    jar = jar_with(
        "AWSALBTG=a; Path=/", "AWSALBTGCORS=a; Path=/; SameSite=None; Secure", "APP=7", secure=True
    )
    jar.keep([("set-cookie", "AWSALBAPP-0=AAA; Path=/")])
    assert jar.header() == "AWSALBTG=a; AWSALBTGCORS=a; APP=7; AWSALBAPP-0=AAA"


def test_an_expiry_in_the_past_deletes_the_cookie(clock: Clock) -> None:
    jar = jar_with("AWSALBAPP-0=AAA", "a=1")
    jar.keep([("set-cookie", "AWSALBAPP-0=_remove_; Expires=Thu, 01 Jan 1970 00:00:00 GMT; Path=/")])
    assert jar.header() == "a=1"


def test_max_age_goes_before_expires(clock: Clock) -> None:
    past = "Expires=Thu, 01 Jan 1970 00:00:00 GMT"
    assert jar_with(f"a=1; Max-Age=5; {past}").header() == "a=1"


@pytest.mark.parametrize("end", ["0", "soon", "", "Thu, 99 Jan 1970 00:00:00 GMT"])
def test_an_expiry_that_is_no_date_is_ignored(end: str) -> None:
    assert jar_with(f"a=1; Expires={end}").header() == "a=1"


def test_a_secure_cookie_is_for_encrypted_calls_alone() -> None:
    assert jar_with("a=1; Secure").header() is None
    assert jar_with("a=1; Secure", secure=True).header() == "a=1"


@pytest.mark.parametrize("attribute", ["Partitioned", "Priority=High", "SameSite=None", "HttpOnly", ""])
def test_an_unknown_attribute_is_ignored(attribute: str) -> None:
    assert jar_with(f"a=1; {attribute}; Path=/").header() == "a=1"


@pytest.mark.parametrize(
    ("path", "here"),
    [
        ("/", True),
        ("/video_service.VideoService", True),
        ("/video_service.VideoService/", True),
        ("relative", True),
        ("/video", False),
        ("/admin", False),
        ("/video_service.VideoService2", False),
    ],
)
def test_a_cookie_for_another_path_is_not_sent(path: str, here: bool) -> None:
    assert jar_with(f"a=1; Path={path}").header() == ("a=1" if here else None)
