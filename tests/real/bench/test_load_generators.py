"""The bench measures each load generator that is installed: its calls reach Envoy and succeed."""

import pytest

from bench import generator
from bench.peers import LAB, PEERS, STOCK, Peer

pytestmark = pytest.mark.alone
OTHERS = [peer for peer in PEERS if peer.path() is not None and peer not in (LAB, STOCK)]


def measured(peers: list[Peer], monkeypatch: pytest.MonkeyPatch) -> dict[str, generator.Found]:
    for name, seconds in {"WARM_UP_S": 0.3, "MEASURED_S": 0.7, "MARGIN_S": 0.3}.items():
        monkeypatch.setattr(generator, name, seconds)
    return {one.peer: one for one in generator.measure(peers, 1, (100,))}


def test_the_lab_and_stock_locust_keep_a_rate_and_say_how_late_they_sent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = measured([LAB, STOCK], monkeypatch)
    for peer in (LAB, STOCK):
        assert 0.5 < found[peer.name].kept < 1.5
        assert found[peer.name].cpu_us > 0
        assert 0 <= found[peer.name].late_ms["p50"] <= found[peer.name].late_ms["p99"]
    late = found["lab"].late_ms
    assert late["p50"] < late["envoy_p50"]  # a request reaches Envoy after it was sent


@pytest.mark.skipif(not OTHERS, reason="no other load generator is installed")
def test_the_other_tools_make_calls_that_succeed(monkeypatch: pytest.MonkeyPatch) -> None:
    found = measured(OTHERS, monkeypatch)
    assert all(one.calls_per_s > 0 for one in found.values())


def test_a_tool_that_fails_is_named_with_what_it_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    broken = Peer("broken", "not at all", lambda _: ["-c", "import sys; sys.exit('out of order')"])
    with pytest.raises(RuntimeError, match=r"broken ended early or with status 1:\nout of order"):
        measured([broken], monkeypatch)
