"""A replica starts with everything that `check` accepts. Both refuse what is outside the bounds."""

import json
from collections.abc import Iterable
from typing import Any, get_args

import pytest
from hypothesis import HealthCheck, event, example, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from harness.spec.experiment import Experiment
from harness.spec.model import OVERRIDABLE
from services.options import parse
from services.settings import Code, Method, ReplicaSettings, Server, WorkSettings
from tests.unit.thorough import examples

SCHEMA = WorkSettings.model_json_schema()
# A share of the clients may make nobody dear: `check` refuses that, and a replica does not know the clients.
del SCHEMA["$defs"]["DearRequests"]["properties"]["by"]
Schema = dict[str, Any]
WRONG = st.one_of(
    st.integers(-10, 2_000_000),
    st.floats(allow_nan=True, allow_infinity=True),
    st.booleans(),
    st.none(),
    st.sampled_from([*get_args(Code), "OK", "measured", "constant", "2", ""]),
    st.lists(st.integers(), max_size=2),
    st.dictionaries(st.sampled_from(["mean", "every_s", "sluts"]), st.integers(), max_size=2),
)


def values(schema: Schema, beyond: bool) -> st.SearchStrategy[Any]:
    """Values that the schema accepts, most often its bounds. `beyond`: also values just outside."""
    if "$ref" in schema:
        return section(SCHEMA["$defs"][schema["$ref"].rpartition("/")[2]], beyond)
    if "anyOf" in schema:
        return st.one_of([values(choice, beyond) for choice in schema["anyOf"]])
    if "enum" in schema or "const" in schema:
        return st.sampled_from(schema.get("enum") or [schema["const"]])
    if schema["type"] == "boolean":
        return st.booleans()
    if schema["type"] == "null":
        return st.none()
    if schema["type"] == "object":
        keys = st.sampled_from(schema["propertyNames"]["enum"])
        return st.dictionaries(keys, values(schema["additionalProperties"], beyond), max_size=4)
    low = schema.get("minimum", schema.get("exclusiveMinimum"))
    high = schema.get("maximum", schema.get("exclusiveMaximum"))
    whole = schema["type"] == "integer"
    step: float = 1 if whole else 1e-9
    edges = [low, low + step, high - step, high, *([low - step, high + step] if beyond else [])]
    return (st.integers(low, high) if whole else st.floats(low, high)) | st.sampled_from(edges)


def section(schema: Schema, beyond: bool, names: Iterable[str] = ()) -> st.SearchStrategy[Schema]:
    """Mappings with the schema's keys, or only with `names` if given. `beyond`: some values are wrong."""
    properties = {name: value for name, value in schema["properties"].items() if not names or name in names}
    keys = {name: values(value, beyond) for name, value in properties.items()}
    required = {name: keys[name] for name in schema.get("required", []) if not names}
    optional = {name: value for name, value in keys.items() if name not in required}
    good = st.fixed_dictionaries(required, optional=optional)
    if not beyond:
        return good
    one_bad = st.tuples(good, st.sampled_from([*keys, "sluts"]), WRONG)
    return good | one_bad.map(lambda parts: parts[0] | {parts[1]: parts[2]})


def both(names: Iterable[str] = ()) -> st.SearchStrategy[Schema]:
    return section(SCHEMA, False, names) | section(SCHEMA, True, names)


CALM: Schema = {"slots": 2, "service_time_ms": {"distribution": "constant", "mean": 1}}


def checked(replicas: dict[str, Any], server: str, different: dict[str, Any]) -> Experiment | None:
    """Return the experiment with these replicas, or None if `check` refuses it."""
    tree = {
        "name": "documents",
        "title": "Documents",
        "question": "What does a replica start with?",
        "lesson": "All that check accepts.",
        "replicas": {**replicas, "count": 2, "different": different},
        "workload": {
            "clients": 2,
            "rate_per_s": 10,
            "calls": dict.fromkeys(get_args(Method), 1),
            "duration_s": 1,
        },
        "arms": {"a": {"route": "direct", "policy": "round_robin", "server": server}},
    }
    try:
        return Experiment.model_validate(tree)
    except ValidationError:
        return None


def started(document: dict[str, Any]) -> ReplicaSettings | None:
    """Return the settings that a replica reads from its command line, or None if it refuses them."""
    try:
        return parse(["--settings", json.dumps(document)]).settings
    except SystemExit as refused:
        assert refused.code == 2
        return None


@settings(deadline=None, max_examples=examples(400), suppress_health_check=[HealthCheck.too_slow])
@given(replicas=both(), server=st.sampled_from(["asyncio", *get_args(Server)]), own=both(OVERRIDABLE))
@example(replicas={"cache": {"sessions": 500_000, "hit_factor": 0.5}}, server="asyncio", own={})
@example(replicas={"outage": {"every_s": 0.1, "for_ms": 500}}, server="asyncio", own={})
@example(replicas={"outage": {"every_s": 3601, "for_ms": 500}}, server="asyncio", own={})
@example(replicas={"outage": {"every_s": 1, "for_ms": 999}}, server="threads", own={})
@example(replicas={"service_time_ms": {"distribution": "constant", "mean": 0}}, server="asyncio", own={})
@example(replicas={"slow_factor": float("nan")}, server="asyncio", own={})
@example(replicas={}, server="threads", own={"orca": "measured"})
@example(replicas={}, server="asyncio", own={"sluts": None})
def test_check_and_replica_agree(replicas: dict[str, Any], server: str, own: dict[str, Any]) -> None:
    common = CALM | replicas | {"server": server}
    # In an override null stands for "as in all replicas"; a key that does not exist stays wrong.
    unlike = common | {
        key: value for key, value in own.items() if value is not None or key not in OVERRIDABLE
    }
    experiment = checked(CALM | replicas, server, {"replica-1": own})
    event("accepted" if experiment else "refused")
    if experiment is None:
        assert None in [started(document) for document in (common, unlike)]
        return
    arm = experiment.arms["a"]
    for name, meant in zip(experiment.replicas.names, (common, unlike), strict=True):
        sent = experiment.replicas.settings_of(name, arm)
        assert sent == ReplicaSettings.model_validate(meant)
        assert started(json.loads(sent.to_json())) == sent


def test_a_bad_combination_is_one_clear_error() -> None:
    section = CALM | {"outage": {"every_s": 0.1, "for_ms": 500}}
    with pytest.raises(ValidationError) as refused:
        ReplicaSettings.model_validate(section)
    assert [error["loc"] for error in refused.value.errors()] == [("outage", "for_ms")]


def test_what_one_replica_may_have_of_its_own_wins() -> None:
    own = {"slots": 7, "orca": "measured", "fail_share": 0.0}
    experiment = checked(CALM | {"fail_share": 0.5, "orca": 0.5}, "asyncio", {"replica-1": own})
    assert experiment is not None
    first, second = (experiment.replicas.work_of(name) for name in experiment.replicas.names)
    assert (first.slots, first.orca, first.fail_share) == (2, 0.5, 0.5)
    assert (second.slots, second.orca, second.fail_share) == (7, "measured", 0.0)
    assert second.service_time_ms == first.service_time_ms


@pytest.mark.parametrize(
    ("route", "age_s", "age_ms"), [("direct", 1.5, 1500), ("envoy-l4", 0.05, 50), ("envoy", 1.5, None)]
)
def test_replicas_end_connections_where_the_clients_own_reach_them(
    route: str, age_s: float, age_ms: int | None
) -> None:
    experiment = checked(CALM, "asyncio", {})
    assert experiment is not None
    arm = experiment.arms["a"].model_copy(update={"route": route, "max_connection_age_s": age_s})
    assert experiment.replicas.settings_of("replica-0", arm).max_connection_age_ms == age_ms
