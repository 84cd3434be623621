"""A session: the metadata of its calls, what it keeps from answers, when it ends."""

from dataclasses import replace

import pytest

from lb.session import Session, source_address
from lb.settings import ClientSettings

SETTINGS = ClientSettings("127.0.0.1:1", None, True, True, 1, 1.0, 0)
COOKIE = ("set-cookie", "LABALB=abc; Path=/")
STICKY = ("x-lab-sticky", "MTI3LjAuMC4xOjE=")


def carried(session: Session, request_id: int = 7) -> dict[str, str]:
    metadata = session.metadata(request_id)
    assert len(dict(metadata)) == len(metadata)
    return dict(metadata)


def test_a_call_sends_its_request_id_and_its_session() -> None:
    session = Session(3, 2, 0, SETTINGS)
    assert carried(session) == {"x-lab-request-id": "7", "x-lab-session": "3.2"}
    assert carried(session, 8)["x-lab-request-id"] == "8"


def test_a_call_names_the_repeat_from_which_replicas_draw() -> None:
    assert carried(Session(3, 2, 0, replace(SETTINGS, draw="1.2")))["x-lab-draw"] == "1.2"


def test_cookies_and_the_echo_header_of_an_answer_are_sent_back() -> None:
    session = Session(0, 0, 0, replace(SETTINGS, echo_header="x-lab-sticky"))
    session.update([("x-lab-replica", "replica-0")])
    assert set(carried(session)) == {"x-lab-request-id", "x-lab-session"}
    session.update([COOKIE, STICKY])
    assert carried(session)["cookie"] == "LABALB=abc"
    assert carried(session)["x-lab-sticky"] == STICKY[1]
    session.update([("x-lab-sticky", "bmV3")])
    assert carried(session)["x-lab-sticky"] == "bmV3"


@pytest.mark.parametrize(
    ("settings", "kept"),
    [
        (replace(SETTINGS, cookie_jar=False), set()),
        (SETTINGS, {"cookie"}),
        (replace(SETTINGS, cookie_jar=False, echo_header="x-lab-sticky"), {"x-lab-sticky"}),
    ],
)
def test_only_what_the_settings_name_is_kept(settings: ClientSettings, kept: set[str]) -> None:
    session = Session(0, 0, 0, settings)
    session.update([COOKIE, STICKY, ("x-lab-sticky-bin", b"1")])
    assert set(carried(session)) - {"x-lab-request-id", "x-lab-session"} == kept


def test_lifetimes_that_vary_are_exponential_and_the_same_for_the_same_session() -> None:
    settings = replace(SETTINGS, session_lifetime_s=2.0, lifetimes_vary=True, draw="1.1")
    ends_ns = [Session(client, 0, 5, settings).ends_ns for client in range(2000)]
    assert ends_ns == [Session(client, 0, 5, settings).ends_ns for client in range(2000)]
    assert ends_ns != [Session(client, 1, 5, settings).ends_ns for client in range(2000)]
    lasted_s = [((end_ns or 0) - 5) / 1e9 for end_ns in ends_ns]
    mean = sum(lasted_s) / len(lasted_s)
    assert mean == pytest.approx(2, rel=0.15)
    # Of an exponential time, half is longer than mean x ln 2.
    assert sum(one > 2 * 0.6931 for one in lasted_s) / len(lasted_s) == pytest.approx(0.5, abs=0.07)


def test_a_session_ends_its_lifetime_after_it_opened() -> None:
    assert Session(0, 0, 5, SETTINGS).ends_ns is None
    assert Session(0, 0, 5, replace(SETTINGS, session_lifetime_s=0.25)).ends_ns == 250_000_005


def test_each_client_sends_its_own_source_address() -> None:
    own = replace(SETTINGS, own_source_address=True)
    assert carried(Session(0, 0, 0, own))["x-forwarded-for"] == "10.0.0.1"
    assert carried(Session(0, 1, 0, own))["x-forwarded-for"] == "10.0.0.1"
    assert source_address(254) == "10.0.0.255"
    assert source_address(255) == "10.0.1.0"
    assert source_address(2**24 - 3) == "10.255.255.254"
    assert len({source_address(client) for client in range(10_000)}) == 10_000
