"""The set-up of an experiment as a drawing: clients, what picks, replicas. Lengths are SVG's own units."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness.fields import Route
from harness.plan.cells import load_of
from harness.spec.experiment import Experiment
from lb.plan import client_rate_per_s

WIDTH, HEIGHT = 360, 190
MAX_CLIENTS, MAX_REPLICAS = 6, 5
LARGEST, SMALLEST = 13.0, 4.0  # radius of a client
TOP, BOTTOM = 34, 182

_PICKS: dict[Route, str] = {
    "envoy": "Envoy picks for every request",
    "envoy-l4": "Envoy picks once for a connection",
    "direct": "Each client picks for itself",
}


@dataclass(frozen=True)
class Client:
    """A client as a circle."""

    y: float
    radius: float


@dataclass(frozen=True)
class Drawing:
    """One route with the arms that use it. replicas: y and name of each that is drawn."""

    route: Route
    title: str
    arms: Sequence[str]
    clients: Sequence[Client]
    clients_text: str
    replicas: Sequence[tuple[float, str]]
    replicas_text: str

    @property
    def text(self) -> str:
        """The drawing in a sentence, for those who cannot see it."""
        return f"{self.clients_text}. {self.title}. {self.replicas_text}."


def drawings_of(experiment: Experiment, arms: Sequence[str]) -> list[Drawing]:
    """Return a drawing for each route that these arms use."""
    by_route: dict[Route, list[str]] = {}
    for name in arms:
        by_route.setdefault(experiment.variants[name].arm.route, []).append(name)
    return [_drawing(experiment, route, names) for route, names in by_route.items()]


def _drawing(experiment: Experiment, route: Route, arms: Sequence[str]) -> Drawing:
    work = experiment.workload_of(experiment.variants[arms[0]].arm)
    rate = "closed loop" if work.rate_per_s is None else f"{work.rate_per_s:g} requests/s together"
    replicas = experiment.replicas
    drawn = replicas.names[:MAX_REPLICAS]
    more = f", {len(drawn)} of them drawn" if len(drawn) < replicas.count else ""
    slots = f"{replicas.slots} slot{'s' if replicas.slots > 1 else ''} each"
    loads = [1.0] * min(MAX_CLIENTS, work.clients)
    if work.rate_per_s is not None:
        load = load_of(work, experiment.seed, 1)
        loads = [client_rate_per_s(load, number) for number in range(len(loads))]
    return Drawing(
        route=route,
        title=_PICKS[route],
        arms=arms,
        clients=[
            Client(y, max(SMALLEST, LARGEST * (one / max(loads)) ** 0.5))
            for y, one in zip(_places(len(loads)), loads, strict=True)
        ],
        clients_text=f"{work.clients} client{'s' if work.clients > 1 else ''}, {rate}",
        replicas=list(zip(_places(len(drawn)), drawn, strict=True)),
        replicas_text=f"{replicas.count} replicas, {slots}{more}",
    )


def _places(count: int) -> list[float]:
    """Return where `count` things stand below each other."""
    step = (BOTTOM - TOP) / count
    return [round(TOP + step * (number + 0.5), 1) for number in range(count)]
