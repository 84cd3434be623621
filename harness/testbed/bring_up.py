"""The parts of a cell come up in order, on any testbed: replicas, then the proxy that finds them healthy."""

from collections.abc import Callable, Sequence
from typing import Protocol

from harness.events.fleet import Endpoint, Fleet
from harness.testbed.base import LiveCell

Await = Callable[[Callable[[], bool], str], None]


class FreshFleet(Fleet, Protocol):
    """A fleet of which nothing runs yet. `live`: what others know of it; `has_proxy`: whether it has one."""

    live: LiveCell

    @property
    def has_proxy(self) -> bool: ...


def bring_up(fleet: FreshFleet, names: Sequence[str], wait: Await) -> LiveCell:
    """Start the replicas `names` and the proxy, where there is one; return when all are ready.

    `wait(ready, part)` looks until `ready()`; it raises LabError when `part` dies or takes too long.
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
