"""Draws the set-up of an experiment as a small SVG: clients, routes with their policies, replicas.

It is as wide as a phone, and all of it follows the page's theme by `currentColor` and CSS classes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from harness.fields import PROXIED, Route, proxy_names
from harness.metrics.metric import show
from harness.report.setup_words import (
    ROUTES,
    differences,
    policies_of_routes,
    setup_in_words,
    zoned_arms,
)
from harness.spec.experiment import Experiment
from harness.spec.model import Workload
from harness.spec.zones import zones_of

# How many are drawn; of more the number is written.
MAX_CLIENTS, MAX_REPLICAS, MAX_POLICIES, MAX_NODES, MAX_SLOTS = 8, 6, 5, 4, 3
_WIDTH, _LANE_X, _LANE_W, _REPLICA_X, _REPLICA_W = 360, 92, 150, 270, 88
_LINE, _GAP, _TOP = 15, 10, 8  # heights: of a line of text, between boxes, above the first


@dataclass(frozen=True)
class Setup:
    """The drawing, and the same in sentences."""

    svg: Markup
    sentences: Sequence[str]


@dataclass(frozen=True)
class _Lane:
    """One route of the experiment, its policies, and what is to say of the nodes of its proxy."""

    route: Route
    policies: Sequence[str]
    nodes: Sequence[str]

    @property
    def lines(self) -> list[str]:
        shown = [f"policy {name}" for name in self.policies[:MAX_POLICIES]]
        more = len(self.policies) - len(shown)
        return [ROUTES[self.route][0], *shown, *([f"and {more} more"] if more else []), *self.nodes]

    @property
    def height(self) -> int:
        return len(self.lines) * _LINE + 10


@dataclass(frozen=True)
class _Replica:
    """One replica to draw, in what it differs from the others, and its zone; "" without zones."""

    name: str
    slots: int
    differences: Sequence[str]
    zone: str = ""

    @property
    def lines(self) -> list[str]:
        return [*([self.zone] if self.zone else []), *self.differences]

    @property
    def height(self) -> int:
        return 24 + 13 * len(self.lines)


def draw_setup(experiment: Experiment, *, ours: bool = True) -> Setup:
    """Return the set-up of an experiment. `ours`: its replicas have the settings that the file gives them."""
    zones = _zones_of_parts(experiment)
    lanes = [
        _Lane(route, names, _nodes(experiment, route, zones))
        for route, names in policies_of_routes(experiment).items()
    ]
    replicas = _replicas(experiment, zones, ours=ours)
    sentences = setup_in_words(experiment, ours=ours)
    left = experiment.replicas.count - len(replicas)
    heights = [
        sum(lane.height + _GAP for lane in lanes),
        sum(replica.height + _GAP for replica in replicas) + (3 * _LINE if left else 0),
        _clients_height(experiment.workload),
    ]
    height = round(max(heights)) + _TOP
    parts = [
        f'<svg class="setup" viewBox="0 0 {_WIDTH} {height}" role="img" '
        'aria-labelledby="setup-title setup-desc">',
        '<title id="setup-title">The set-up</title>',
        f'<desc id="setup-desc">{escape(" ".join(sentences))}</desc>',
        *_arrows(lanes, replicas, height),
        *_draw_clients(experiment.workload, height),
        *_draw_lanes(lanes, height),
        *_draw_replicas(replicas, left, height),
        "</svg>",
    ]
    return Setup(Markup("".join(parts)), sentences)  # noqa: S704 - all text in it is escaped


def _replicas(experiment: Experiment, zones: Mapping[str, str], *, ours: bool) -> list[_Replica]:
    """Return the replicas to draw: those that differ first, in the order of their names."""
    replicas = experiment.replicas
    different = list(replicas.different) if ours else []
    chosen = [*different, *(name for name in replicas.names if name not in different)]
    most = MAX_REPLICAS if replicas.count <= MAX_REPLICAS else MAX_REPLICAS - 1
    shown = sorted(chosen[:most], key=replicas.names.index)
    return [_replica(experiment, name, zones.get(name, ""), ours=ours) for name in shown]


def _replica(experiment: Experiment, name: str, zone: str, *, ours: bool) -> _Replica:
    if not ours:
        return _Replica(name, 0, [], zone)
    slots = experiment.replicas.work_of(name).slots
    return _Replica(name, slots, differences(experiment, name), zone)


def _zones_of_parts(experiment: Experiment) -> dict[str, str]:
    """Return each node and replica -> its zone in words; of all zones that it is in, if arms differ."""
    found: dict[str, dict[str, None]] = {}
    for _, arm in zoned_arms(experiment):
        parts = zones_of(arm, proxy_names(arm.proxies), experiment.replicas.names)
        for part, zone in parts.items():
            found.setdefault(part, {})[zone] = None
    return {part: f"zone {' or '.join(zones)}" for part, zones in found.items()}


def _nodes(experiment: Experiment, route: Route, zones: Mapping[str, str]) -> list[str]:
    """Return what is to say of the nodes of the route's proxy: their zones, or their number if several."""
    counts = sorted({one.arm.proxies for one in experiment.variants.values() if one.arm.route == route})
    if counts[-1] == 1:
        return []
    nodes = [node for node in proxy_names(counts[-1]) if node in zones]
    if not nodes:
        return [f"{' or '.join(map(str, counts))} nodes"]
    more = len(nodes) - MAX_NODES
    shown = [f"{node}: {zones[node]}" for node in nodes[:MAX_NODES]]
    return [*shown, *([f"and {more} more nodes"] if more > 0 else [])]


def _arrows(lanes: Sequence[_Lane], replicas: Sequence[_Replica], height: int) -> Iterator[str]:
    """Yield the lines: from the clients to each lane, and from there to each replica."""
    for lane_y in _middles([lane.height for lane in lanes], height):
        yield _curve(64, height / 2, _LANE_X, lane_y)
        for replica_y in _middles([replica.height for replica in replicas], height):
            yield _curve(_LANE_X + _LANE_W, lane_y, _REPLICA_X, replica_y)


def _curve(x: float, y: float, to_x: float, to_y: float) -> str:
    middle = (x + to_x) / 2
    bend = f"{middle:g} {y:.1f} {middle:g} {to_y:.1f}"
    return f'<path class="way" d="M{x:g} {y:.1f}C{bend} {to_x:g} {to_y:.1f}"/>'


def _middles(heights: Sequence[int], height: int) -> list[float]:
    """Return the middle of each box of a column that stands in the middle of the drawing."""
    y = (height - sum(heights) - _GAP * (len(heights) - 1)) / 2
    middles = []
    for one in heights:
        middles.append(y + one / 2)
        y += one + _GAP
    return middles


def _radii(work: Workload) -> list[float]:
    """Return the circles of the first clients: their areas go with their rates, down to what can be seen."""
    shown = min(work.clients, MAX_CLIENTS)
    return [max(3.0, 11 * ((number + 1) ** -work.skew) ** 0.5) for number in range(shown)]


def _clients_height(work: Workload) -> float:
    return sum(2 * radius + 4 for radius in _radii(work)) + 2 * _LINE + _GAP


def _draw_clients(work: Workload, height: int) -> Iterator[str]:
    radii = _radii(work)
    y = (height - _clients_height(work)) / 2
    for radius in radii:
        yield f'<circle class="client" cx="44" cy="{y + radius:.1f}" r="{radius:.1f}"/>'
        y += 2 * radius + 4
    left = f" ({len(radii)} shown)" if len(radii) < work.clients else ""
    yield _text(2, y + _LINE, f"{work.clients} client{'s'[: work.clients > 1]}{left}")
    if work.mean_rate_per_s is not None:
        most = f", {show(work.peak_rate_per_s)} at most" if work.changes else ""
        yield _text(2, y + 2 * _LINE, f"{show(work.mean_rate_per_s)} requests/s{most}")


def _draw_lanes(lanes: Sequence[_Lane], height: int) -> Iterator[str]:
    for lane, middle in zip(lanes, _middles([lane.height for lane in lanes], height), strict=True):
        y = middle - lane.height / 2
        yield _box("box" if lane.route in PROXIED else "none", _LANE_X, y, _LANE_W, lane.height)
        for place, line in enumerate(lane.lines):
            x, line_y = _LANE_X + _LANE_W / 2, y + 17 + place * _LINE
            yield _text(x, line_y, line, middle=True, strong=place == 0)


def _draw_replicas(replicas: Sequence[_Replica], left: int, height: int) -> Iterator[str]:
    middles = _middles([replica.height for replica in replicas], height)
    for replica, middle in zip(replicas, middles, strict=True):
        y = middle - replica.height / 2
        kind = "other" if replica.differences else "box"
        yield _box(kind, _REPLICA_X, y, _REPLICA_W, replica.height)
        yield _text(_REPLICA_X + 6, y + 16, replica.name)
        for slot in range(min(replica.slots, MAX_SLOTS)):
            yield _box("slot", _REPLICA_X + _REPLICA_W - 10 - 9 * slot, y + 8, 6, 8)
        for place, words in enumerate(replica.lines):
            yield _text(_REPLICA_X + 6, y + 30 + 13 * place, words)
    if left:
        yield _text(_REPLICA_X + 6, middles[-1] + replicas[-1].height / 2 + 16, f"and {left} more")


def _box(kind: str, x: float, y: float, width: float, height: float) -> str:
    corner = "" if kind == "slot" else ' rx="5"'
    return f'<rect class="{kind}" x="{x:g}" y="{y:.1f}" width="{width:g}" height="{height:g}"{corner}/>'


def _text(x: float, y: float, words: str, *, middle: bool = False, strong: bool = False) -> str:
    anchor = ' text-anchor="middle"' if middle else ""
    weight = ' font-weight="600"' if strong else ""
    return f'<text x="{x:g}" y="{y:.1f}"{anchor}{weight}>{escape(words)}</text>'
