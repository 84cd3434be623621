"""What the command line says of the experiments before it reads them: their names, questions and order.

It reads a few keys of each file and imports no models, so `list` and a wrong name are answered at once.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from harness.errors import UserError, did_you_mean
from harness.paths import EXPERIMENTS
from harness.spec.yaml_file import read_keys

# Field of an experiment -> the option that overrides it.
OPTIONS: dict[str, str] = {
    "replicas.count": "--replicas",
    "workload.clients": "--clients",
    "workload.rate_per_s": "--rate",
    "workload.skew": "--skew",
    "workload.warm_up_s": "--warm-up",
    "workload.duration_s": "--duration",
    "repeats": "--repeats",
    "seed": "--seed",
}

Chapter = Literal["one_connection", "turns", "stickiness", "hashing", "slow_replicas", "change", "overload"]

# Chapter -> heading and introduction, in the order of the lessons: `list`, README, docs/lessons.md, the site.
CHAPTERS: dict[Chapter, tuple[str, str]] = {
    "one_connection": (
        "One connection",
        "gRPC sends all calls of a channel over one connection. Who then decides where a call goes?",
    ),
    "turns": ("Taking turns", "Round robin looks simple. Who takes turns, and how even is the result?"),
    "stickiness": (
        "Stickiness",
        "A sticky balancer keeps a session on one replica. What does that cost, and what is it good for?",
    ),
    "hashing": (
        "Hashing",
        "A key decides the replica. What do hot keys and changes do to it?",
    ),
    "slow_replicas": (
        "Slow and broken replicas",
        "One replica is worse than the others. Which policy notices, and which client suffers?",
    ),
    "change": (
        "When replicas come and go",
        "Something changes while the load goes on: [events.md](events.md). Open `over_time` and the session "
        "ribbon of each report first.",
    ),
    "overload": (
        "Too few replicas for the load",
        "Most replicas are busy or fail. What do health checks and retries do then?",
    ),
}
# The lesson for whoever takes only one. It needs no other lesson first.
BEGIN_WITH = "sticky"


@dataclass(frozen=True)
class Place:
    """Where an experiment stands among the lessons. `after`: which one it builds on; None: on none."""

    chapter: Chapter
    after: str | None = None


@dataclass(frozen=True)
class Head:
    """Name and question of an experiment. `place`: None: it is no lesson."""

    name: str
    question: str
    place: Place | None


def heads() -> tuple[Head, ...] | None:
    """Return the heads of all experiments of the lab, in the order of the lessons.

    None where a file cannot be read in this way. Who reads the whole file then finds out what is wrong with
    it, if anything is. Nothing but the heads is checked. Raises UserError as lesson_order does.
    """
    found: dict[str, Head] = {}
    for name in experiment_names():
        path = EXPERIMENTS / f"{name}.yaml"
        try:
            head = _head(name, read_keys(path, f"experiments/{path.name}", ("question", "teaching")))
        except UserError:
            head = None
        if head is None:
            return None
        found[name] = head
    return tuple(found[name] for name in lesson_order({name: one.place for name, one in found.items()}))


def _head(name: str, keys: Mapping[str, Any]) -> Head | None:
    question, teaching = keys.get("question"), keys.get("teaching")
    if not isinstance(question, str):
        return None
    if teaching is None:
        return Head(name, question, None)
    if not isinstance(teaching, dict) or teaching.get("chapter") not in CHAPTERS:
        return None
    after = teaching.get("after")
    return Head(name, question, Place(teaching["chapter"], None if after is None else str(after)))


def find_experiment(name_or_path: str) -> Path:
    """Return the file of an experiment. Raises UserError for an unknown name; a path is not checked."""
    if is_path(name_or_path):
        return Path(name_or_path)
    known = experiment_names()
    if name_or_path in known:
        return EXPERIMENTS / f"{name_or_path}.yaml"
    shown = name_or_path if len(name_or_path) <= 80 else name_or_path[:77] + "..."
    hint = did_you_mean(name_or_path, known) or f"; there are: {', '.join(known)}"
    raise UserError(f"no experiment is called {shown!r}{hint}")


def experiment_names() -> list[str]:
    """Return the names of the experiments that come with the lab, sorted."""
    return sorted(path.stem for path in EXPERIMENTS.glob("*.yaml"))


def is_path(name_or_path: str) -> bool:
    """Return whether the user means a file, and not the name of an experiment of the lab."""
    return "/" in name_or_path or name_or_path.endswith((".yaml", ".yml"))


def lesson_order(places: Mapping[str, Place | None]) -> list[str]:
    """Return the names by chapter. In a chapter each comes after the one in its `after`.

    places: name -> place; those without one come last, in the order of `places`. Raises UserError for an
    `after` that names no experiment, or for a cycle of `after`.
    """
    ordered: dict[str, None] = {}
    for chapter in CHAPTERS:
        for name, place in places.items():
            if place is not None and place.chapter == chapter:
                _add(name, chapter, places, ordered, ())
    return [*ordered, *(name for name in places if name not in ordered)]


def _add(
    name: str,
    chapter: str,
    places: Mapping[str, Place | None],
    ordered: dict[str, None],
    path: Sequence[str],
) -> None:
    """Append the name to `ordered`, after those of its chapter that come before it.

    path: the experiments whose `after` led to this one.
    """
    if name in path:
        raise UserError(f"experiments/{name}.yaml: teaching.after: leads back to {name} by {path[-1]}")
    place = places[name]
    if name in ordered or place is None:
        return
    if place.after is not None:
        if place.after not in places:
            raise UserError(
                f"experiments/{name}.yaml: teaching.after: '{place.after}': there is no such experiment"
            )
        before = places[place.after]
        if before is not None and before.chapter == chapter:
            _add(place.after, chapter, places, ordered, (*path, name))
    ordered[name] = None
