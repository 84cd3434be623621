"""Makes experiments/schema.json: editors complete and check experiment files with it."""

import json
from typing import Any

from pydantic import BaseModel

from harness.metrics.registry import METRICS
from harness.policies.registry import POLICIES_OF_ROUTE
from harness.spec.expectation_checks import BOUNDS
from harness.spec.experiment import Experiment


def schema_text() -> str:
    """Return the text of experiments/schema.json.

    It adds to the models' schema: the names of policies (by route) and of metrics, and the keys that exclude
    each other.
    """
    schema = Experiment.model_json_schema()
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    del schema["properties"]["name"]
    schema["required"].remove("name")
    definitions = schema["$defs"]
    definitions["Arm"]["allOf"] = [
        _if({"route": route}, {"policy": {"enum": list(policies)}})
        for route, policies in POLICIES_OF_ROUTE.items()
    ] + [
        _if({"route": route, "policy": name}, {"options": _options(policy.options, definitions)})
        for route, policies in POLICIES_OF_ROUTE.items()
        for name, policy in policies.items()
    ]
    definitions["Workload"]["oneOf"] = [
        {"required": [key]} for key in ("rate_per_s", "think_time_ms", "trace", "locustfile")
    ]
    _relax(schema, definitions)
    definitions["Expectation"]["oneOf"] = [{"required": [bound]} for bound in BOUNDS]
    definitions["Expectation"]["properties"]["metric"]["enum"] = list(METRICS)
    return json.dumps(schema, indent=2) + "\n"


def _relax(schema: dict[str, Any], definitions: dict[str, Any]) -> None:
    """Say which keys a file leaves out with a trace, a Locust file, or a service that is not the lab's."""
    for key in ("slots", "service_time_ms"):
        definitions["Replicas"]["required"].remove(key)
    own = {"required": ["service"]}
    times = {"properties": {"service_times": {"const": "recorded"}}, "required": ["service_times"]}
    recorded = {
        "properties": {"workload": {"properties": {"trace": times}, "required": ["trace"]}},
        "required": ["workload"],
    }
    locust = {"properties": {"workload": {"required": ["locustfile"]}}, "required": ["workload"]}
    schema["allOf"] = [
        {"if": own, "else": {"properties": {"replicas": {"required": ["slots"]}}}},
        {"if": {"anyOf": [own, locust]}, "else": {"properties": {"workload": {"required": ["calls"]}}}},
        {
            "if": {"anyOf": [own, recorded]},
            "else": {"properties": {"replicas": {"required": ["service_time_ms"]}}},
        },
    ]


def _options(model: type[BaseModel], definitions: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a policy's options; add its inner models to `definitions`, for references."""
    schema = model.model_json_schema()
    definitions |= schema.pop("$defs", {})
    return schema


def _if(given: dict[str, str], properties: dict[str, Any]) -> dict[str, Any]:
    constants = {key: {"const": value} for key, value in given.items()}
    return {"if": {"properties": constants}, "then": {"properties": properties}}
