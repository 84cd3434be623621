"""The tables of `python -m bench.generator`: printed, and written into docs/generator.md."""

import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from bench.capacity.page import filled
from bench.peers import LAB, Peer
from harness.run.provenance import host, versions

KEPT_SHARE = 0.9  # of the rate: below it a tool is not compared. Poisson arrivals vary by 3 % in 1,200 calls


class Found(NamedTuple):
    """One measurement. `rate_per_s`: asked, 0 for a closed loop. `cpu_us`: CPU time of the tool for a call.

    `late_ms`: see bench.generator. `other_cores`: what other processes of the machine used.
    """

    peer: str
    rate_per_s: int
    calls_per_s: float
    cpu_us: float
    late_ms: dict[str, float]
    other_cores: float

    @property
    def kept(self) -> float:
        """The share of the asked rate that the tool made; 1 in a closed loop."""
        return self.calls_per_s / self.rate_per_s if self.rate_per_s else 1.0

    def line(self) -> str:
        """Return the figures as a line of text."""
        late = " ".join(f"{name} {ms:.2f}" for name, ms in self.late_ms.items())
        asked = f"{self.rate_per_s}/s" if self.rate_per_s else "closed"
        return f"{asked:<8}{self.peer:<18}{self.calls_per_s:>8.0f}/s {self.cpu_us:>6.0f} us  {late}"


Rows = Iterator[tuple[str, ...]]


def span(values: list[float], style: str = ".0f") -> str:
    """Return the median, with the least and the most in brackets."""
    return f"{statistics.median(values):{style}} ({min(values):{style}} to {max(values):{style}})"


def _of(found: list[Found], peer: str, rate_per_s: int) -> list[Found]:
    return [one for one in found if (one.peer, one.rate_per_s) == (peer, rate_per_s)]


def ratios(found: list[Found], peer: str, rate_per_s: int) -> list[float]:
    """Return the lab's CPU time of a call / the tool's, of each round in which both kept the rate."""
    pairs = zip(_of(found, LAB.name, rate_per_s), _of(found, peer, rate_per_s), strict=False)
    return [lab.cpu_us / other.cpu_us for lab, other in pairs if lab.kept >= KEPT_SHARE <= other.kept]


def speed_ratios(found: list[Found], peer: str) -> list[float]:
    """Return the tool's calls/s in a closed loop / the lab's, of each round. Each has one core at most."""
    pairs = zip(_of(found, LAB.name, 0), _of(found, peer, 0), strict=False)
    return [other.calls_per_s / lab.calls_per_s for lab, other in pairs]


def costs(found: list[Found], peers: list[Peer]) -> Rows:
    """Rows: rate, tool, share of the rate kept, CPU a call, the lab's cost / the tool's."""
    for rate_per_s in sorted({one.rate_per_s for one in found if one.rate_per_s}):
        for peer in peers:
            if some := _of(found, peer.name, rate_per_s):
                kept, cpu_us = span([100 * one.kept for one in some]), span([one.cpu_us for one in some])
                yield f"{rate_per_s:,}", peer.name, kept, cpu_us, _compared(found, peer, rate_per_s)


def most(found: list[Found], peers: list[Peer]) -> Rows:
    """Rows: tool, calls for each CPU second in a closed loop, calls a second, the lab's cost / the tool's."""
    for peer in peers:
        if some := _of(found, peer.name, 0):
            rates = span([one.calls_per_s for one in some], ",.0f")
            each_cpu_s = span([1e6 / one.cpu_us for one in some], ",.0f")
            yield peer.name, each_cpu_s, rates, _compared(found, peer, 0)


def _compared(found: list[Found], peer: Peer, rate_per_s: int) -> str:
    """Return the lab's CPU time of a call / the tool's in words."""
    if peer.name == LAB.name:
        return ""
    values, rounds = ratios(found, peer.name, rate_per_s), len(_of(found, peer.name, rate_per_s))
    fewer = "" if len(values) == rounds else f", {len(values)} of {rounds} rounds"
    return span(values, ".2f") + fewer if values else "rate not kept"


def late(found: list[Found], peers: list[Peer]) -> Rows:
    """Rows: rate, tool, how late it sent (p50, p99), how late Envoy had the request (p50, p99); ms."""
    for rate_per_s in sorted({one.rate_per_s for one in found if one.rate_per_s}):
        for peer in peers:
            some = [one.late_ms for one in _of(found, peer.name, rate_per_s)]
            if some and some[0]:
                names = ("p50", "p99", "envoy_p50", "envoy_p99")
                figures = (
                    span([ms[name] for ms in some], ".2f") if name in some[0] else "" for name in names
                )
                yield f"{rate_per_s:,}", peer.name, *figures


def tools(found: list[Found], peers: list[Peer]) -> Rows:
    """Rows: tool, how it keeps a rate."""
    for peer in peers:
        if any(one.peer == peer.name for one in found):
            yield peer.name, peer.plan


def measured(found: list[Found]) -> Rows:
    """One row: where, with which versions, and the CPU that other processes took."""
    machine, known = host(), versions()
    parts = ", ".join(f"{part} {known[part]}" for part in ("lb-lab", "python", "envoy", "grpcio"))
    others = span([one.other_cores for one in found], ".2f")
    yield f"{machine.cpus} cores, {machine.system}", parts, others


def write_page(page: Path | None, found: list[Found], peers: list[Peer]) -> None:
    """Print all tables. Replace the rows of the tables below `<!-- NAME -->` in the page, if there is one."""
    text = "" if page is None else page.read_text()
    for name, rows in {
        "measured": measured(found),
        "tools": tools(found, peers),
        "costs": costs(found, peers),
        "late": late(found, peers),
        "most": most(found, peers),
    }.items():
        listed = [*rows]
        print(f"\n{name}", *(" | ".join(row) for row in listed), sep="\n")
        if listed and page is not None:
            text = filled(text, name, iter(listed))
    if page is not None:
        page.write_text(text)
