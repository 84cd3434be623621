"""The set-up of an experiment in sentences: who sends what, who picks, who serves, what happens."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from harness.fields import Route, is_proxy, proxy_names
from harness.metrics.metric import show
from harness.plan.capacity import capacity_per_s
from harness.spec.arm import Arm, CrossZone
from harness.spec.experiment import Event, Experiment
from harness.spec.model import Workload
from harness.spec.zones import zones_of

MAX_EVENTS = 3  # that are told
# Route -> its name in a drawing, and who picks.
ROUTES: Mapping[Route, tuple[str, str]] = {
    "envoy": ("Envoy, layer 7", "Envoy picks a replica for each request"),
    "envoy-l4": ("Envoy, layer 4", "Envoy picks a replica for each connection"),
    "direct": ("no proxy", "Without a proxy, each client picks a replica by itself"),
    "xds": (
        "control plane",
        "Without a proxy, each client picks a replica by itself, as a control plane tells it",
    ),
}
_TARGETS = {"all": "all replicas", "any": "one replica", "most_loaded": "the most loaded replica"}
# Where nodes of a proxy with zones send. In all other arms: to all zones alike.
_WAYS: Mapping[CrossZone, str] = {
    False: "a node sends to its own zone only",
    "spill_over": "a node prefers its own zone and spills over to others",
    "zone_aware": "Envoy routes zone-aware: as much as is fair stays in the node's zone",
}


def setup_in_words(experiment: Experiment, *, ours: bool) -> list[str]:
    """Return the set-up in sentences. `ours`: the replicas have the settings that the file gives them."""
    return list(_sentences(experiment, ours))


def policies_of_routes(experiment: Experiment) -> dict[Route, list[str]]:
    """Return route -> the names of the policies that arms have on it, in the file's order."""
    policies: dict[Route, dict[str, None]] = {}
    for variant in experiment.variants.values():
        policies.setdefault(variant.arm.route, {})[variant.arm.policy] = None
    return {route: list(names) for route, names in policies.items()}


def differences(experiment: Experiment, replica: str) -> list[str]:
    """Return in what a replica differs from the others: "slow factor 5"."""
    overrides = experiment.replicas.different.get(replica)
    fields = {} if overrides is None else overrides.model_dump(exclude_none=True)
    return [f"{field.replace('_', ' ')} {_short(value)}" for field, value in fields.items()]


def _short(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _sentences(experiment: Experiment, ours: bool) -> Iterator[str]:
    replicas = experiment.replicas
    yield _clients(experiment.workload)
    for route, policies in policies_of_routes(experiment).items():
        word = "policy" if len(policies) == 1 else "policies"
        yield f"{ROUTES[route][1]} ({word} {_listed(policies)})."
    if nodes := sorted({variant.arm.proxies for variant in experiment.variants.values()} - {1}):
        counts = _listed([str(one) for one in nodes])
        yield f"There are arms with {counts} nodes of Envoy. Each node picks by itself."
    yield from _zones(experiment)
    alone = replicas.count == 1
    number = "There is one replica" if alone else f"There are {replicas.count} replicas"
    yield f"{number}{'' if alone else ', each'} with {_room(experiment)}." if ours else f"{number}."
    different = [f"{name} ({', '.join(differences(experiment, name))})" for name in replicas.different]
    if ours and different:
        yield f"Different from the others: {', '.join(different)}."
    if experiment.events:
        told = ", ".join(map(_event, experiment.events[:MAX_EVENTS]))
        more = len(experiment.events) - MAX_EVENTS
        yield f"While it is measured: {told}{f', and {more} more' if more > 0 else ''}."


def zoned_arms(experiment: Experiment) -> list[tuple[list[str], Arm]]:
    """Return the layouts of zones that arms have: the names of the arms with that layout, and one of them."""
    layouts: dict[str, tuple[list[str], Arm]] = {}
    for name, variant in experiment.variants.items():
        if variant.arm.zones:
            layout = f"{variant.arm.zones} {variant.arm.proxies}"
            layouts.setdefault(layout, ([], variant.arm))[0].append(name)
    return list(layouts.values())


def _zones(experiment: Experiment) -> Iterator[str]:
    """Yield which nodes and replicas are in which zone, and where nodes send."""
    layouts, replicas = zoned_arms(experiment), experiment.replicas.names
    for names, arm in layouts:
        zones = zones_of(arm, proxy_names(arm.proxies), replicas)
        inside = [
            f"zone {zone} has {_parts([part for part, own in zones.items() if own == zone])}"
            for zone in arm.zones
        ]
        arms = f"In arm{'s'[: len(names) > 1]} {_listed(names)}, " if len(layouts) > 1 else ""
        told = f"{arms}{'; '.join(inside)}."
        yield told[0].upper() + told[1:]
    ways = {variant.arm.cross_zone for variant in experiment.variants.values() if variant.arm.zones}
    for way, where in _WAYS.items():
        if way in ways:
            yield f"There are arms in which {where}."


def _parts(parts: Sequence[str]) -> str:
    """Return nodes and replicas in words: three or more replicas are a range, as zones get them in order."""
    nodes = [part for part in parts if is_proxy(part)]
    replicas = parts[len(nodes) :]
    return _listed([*nodes, f"{replicas[0]} to {replicas[-1]}"] if len(replicas) > 2 else list(parts))


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _clients(work: Workload) -> str:
    clients = "One client sends" if work.clients == 1 else f"{work.clients} clients send"
    if work.locustfile is not None:
        return f"{work.clients} users run the tasks of a Locust file and wait for each answer (closed loop)."
    if work.rate_per_s is None:
        return f"{clients} a request {show(work.think_time_ms, 'ms')} after each answer (closed loop)."
    rate = show(work.mean_rate_per_s)
    how = "" if not work.changes else f" on average ({work.changes_in_words})"
    if work.clients == 1:
        return f"{clients} {rate} requests per second{how}."
    each = (
        f"some far more than others (Zipf, exponent {work.skew:g})" if work.skew else "all at the same rate"
    )
    return f"{clients} {rate} requests per second together{how}, {each}."


def _room(experiment: Experiment) -> str:
    slots = experiment.replicas.slots
    words = f"{slots} slot{'s'[: slots > 1]}"
    capacity, cache = capacity_per_s(experiment.replicas, experiment.workload), experiment.replicas.cache
    if capacity is None:
        return words
    room = f"{words} and room for {show(round(capacity))} requests per second"
    if cache is None or not cache.hit_factor:
        return room
    hits = show(round(capacity / cache.hit_factor))
    return f"{room} that miss its session cache, or {hits} that hit it"


def _event(event: Event) -> str:
    target = event.target
    if isinstance(target, float):
        whom = f" {target:.0%} of the replicas"
    else:
        named = event.node if target is None else _TARGETS.get(str(target), target)
        whom = f" {named}" if named else ""
    return f"{event.do.replace('_', ' ')}{whom} at {event.at_s:g} s"
