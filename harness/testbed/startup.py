"""Starts the components of a cell in order: the replicas, then the proxy."""

from collections.abc import Callable, Sequence
from typing import Protocol

from harness.events.fleet import Endpoint, Fleet
from harness.testbed.base import LiveCell

Await = Callable[[Callable[[], bool], str], None]


class StartableFleet(Fleet, Protocol):
    """A fleet of which nothing runs yet. `live` describes it to the rest of the harness."""

    live: LiveCell

    @property
    def has_proxy(self) -> bool: ...


def start_components(fleet: StartableFleet, names: Sequence[str], wait: Await) -> LiveCell:
    """Start the replicas `names` and then the proxy, if the route has one; return when all are ready.

    `wait(ready, name)` waits until `ready()`. It raises LabError when a component dies or `name` takes too
    long.
    """
    for _ in names:
        fleet.start_new()
    for name in names:
        wait(lambda name=name: fleet.ready(name), name)  # type: ignore[misc]
    live = fleet.live
    fleet.publish({name: Endpoint(live.replicas[name]) for name in names})
    if fleet.has_proxy:
        fleet.start_proxy()
        wait(fleet.proxy_ready, "envoy")
        wait(lambda: _all_healthy(live), "envoy")
    return live


def _all_healthy(live: LiveCell) -> bool:
    assert live.envoy is not None
    health = live.envoy.endpoint_health()
    return len(health) == len(live.replicas) and all(health.values())
