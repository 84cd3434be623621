"""Turns pydantic's errors into one clear line: field, value, what was expected, the nearest right name."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from harness.errors import did_you_mean
from harness.spec.yaml_file import Tree, Where

WHOLE = "whole"  # pydantic error type of a problem that is not in one field; see spec_checks.py

Schema = Mapping[str, Any]

# Keys that people look for, and that would change nothing: why not, and what there is instead.
NO_SUCH_OPTION = {
    "hedging": "gRPC's C-core has no hedging and ignores a hedging policy without a word; there is retries",
    "hedging_policy": "gRPC's C-core has no hedging and ignores it without a word; there is retries",
    "timeout": "methodConfig.timeout does not work in gRPC's C-core (a second or less fails at once, more "
    "sets no deadline); there is deadline_ms",
    "timeout_ms": "methodConfig.timeout does not work in gRPC's C-core (a second or less fails at once, more "
    "sets no deadline); there is deadline_ms",
}

_TYPE_NAMES = {
    "integer": "a whole number",
    "number": "a number",
    "string": "text",
    "boolean": "true or false",
    "array": "a list",
    "object": "a mapping",
}


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong: the fields that it is about, most important first, and what to tell."""

    paths: tuple[Where, ...]
    message: str


def first_problem(error: ValidationError, schema: Schema, tree: Tree) -> Problem:
    """The problem to tell first: unknown keys (they often cause the others), then wrong values, by line.

    `schema`: the JSON Schema of the model that refused; it knows what every field expects.
    """
    details = error.errors(include_url=False)
    return _problem(min(details, key=lambda detail: (_rank(detail), tree.line(detail["loc"]))), schema)


def nested_problem(error: ValidationError, schema: Schema, at: Where) -> Problem:
    """The first problem of a model that stands at `at` in the file and was validated by itself."""
    return _problem(min(error.errors(include_url=False), key=_rank), schema, at)


def _rank(detail: Any) -> int:
    """Unknown keys first, since they often cause the others; missing ones last."""
    return {"extra_forbidden": 0, "missing": 2}.get(detail["type"], 1)


def _problem(detail: Any, schema: Schema, at: Where = ()) -> Problem:
    """`at`: where in the file the model stands; the paths of `detail` and `schema` begin at the model."""
    kind, value = detail["type"], detail["input"]
    path = _without_branch(detail["loc"], schema)
    here = (*at, *path)
    if kind == WHOLE:
        return Problem(tuple(map(tuple, detail["ctx"]["paths"])), detail["ctx"]["message"])
    if kind == "value_error":
        return Problem((here,), f"{_prefix(here)}{detail['ctx']['error']}")
    if kind == "extra_forbidden":
        known = _properties(schema_at(schema, path[:-1]))
        told = NO_SUCH_OPTION.get(str(path[-1]))
        hint = f"; {told}" if told else _hint(path[-1], known) or _known(known)
        return Problem((here,), f"{_prefix(here[:-1])}unknown key {shown(path[-1])}{hint}")
    if kind == "missing":
        expected = in_words(schema_at(schema, path))
        return Problem((here,), f"{_prefix(here[:-1])}key '{path[-1]}' is missing; expected {expected}")
    if path[-1] == "[key]":
        return Problem((here[:-1],), _prefix(here[:-2]) + _wrong_key(value, schema_at(schema, path[:-2])))
    return Problem((here,), f"{_prefix(here)}{shown(value)} {_wrong(kind, value, schema_at(schema, path))}")


def _known(keys: Mapping[str, Any]) -> str:
    return f"; expected {_alternatives(list(keys))}" if 0 < len(keys) <= 4 else ""


def _without_branch(path: Where, schema: Schema) -> Where:
    """`path` without the name that pydantic gives to an alternative of "this or that"."""
    return path[:-1] if path and "anyOf" in schema_at(schema, path[:-1]) else path


def _wrong_key(key: object, mapping: Schema) -> str:
    choices = mapping.get("propertyNames", {}).get("enum")
    if choices:
        return f"unknown key {shown(key)}{_hint(key, choices) or _expecting(_alternatives(choices))}"
    pattern = next(iter(mapping.get("patternProperties", {})), "")
    return f"{shown(key)} is no name for a key here{_expecting(f'a name that matches {pattern}')}"


def _wrong(kind: str, value: object, schema: Schema) -> str:
    expected = _expecting(in_words(schema))
    if "anyOf" in schema:
        words = [word for choice in _choices(schema) for word in choice.get("enum", [choice.get("const")])]
        return f"cannot be used{expected}{_hint(value, [word for word in words if word])}"
    if "enum" in schema:
        return f"is not known here{expected}{_hint(value, schema['enum'])}"
    if kind in ("too_short", "too_long") and isinstance(value, list | dict):
        return f"has {len(value)} entries{expected}"
    if kind == "finite_number":
        return f"is not finite{expected}"
    if kind.startswith("string_") and isinstance(value, str):
        return f"cannot be used{expected}"
    named = _TYPE_NAMES.get(schema.get("type", ""), "usable")
    if kind.endswith(("_type", "_parsing", "_float", "_size")):
        return f"is not {named}{expected}"
    return f"is out of range{expected}"


def in_words(schema: Schema) -> str:
    """What a part of the schema accepts, in words."""
    if "anyOf" in schema:
        return " or ".join(in_words(choice) for choice in _choices(schema))
    if "const" in schema:
        return _alternatives([schema["const"]])
    if "enum" in schema:
        return _alternatives(schema["enum"])
    if "patternErrorMessage" in schema:
        return str(schema["patternErrorMessage"]).removeprefix("expected ")
    kind = schema.get("type", "")
    named = _TYPE_NAMES.get(kind, "a value")
    if kind in ("integer", "number"):
        return named + _range(schema, "minimum", "maximum", schema.get("exclusiveMinimum"))
    unit = "Items" if kind == "array" else "Properties"
    entries = _range(schema, f"min{unit}", f"max{unit}").removeprefix(",")
    return f"{named} (number of entries:{entries})" if entries else named


def _range(schema: Schema, low: str, high: str, above: float | None = None) -> str:
    if above is not None:
        start = f" greater than {above:.15g}"
        return f"{start} and at most {schema[high]:.15g}" if high in schema else start
    if low in schema and high in schema:
        return f" from {schema[low]:.15g} to {schema[high]:.15g}"
    return f", at least {schema[low]:.15g}" if low in schema else ""


def _expecting(what: str) -> str:
    return f"; expected {what}"


def _alternatives(choices: list[str]) -> str:
    return " or ".join(f"'{choice}'" for choice in choices)


def schema_at(schema: Schema, path: Where) -> Schema:
    """The part of a JSON Schema that describes `path`; {} where it says nothing."""
    here: Schema = schema
    for part in path:
        properties = _properties(here)
        if isinstance(part, int):
            here = here.get("items", {})
        elif part in properties:
            here = properties[part]
        else:
            patterns = here.get("patternProperties", {})
            here = next(iter(patterns.values()), here.get("additionalProperties", {}))
        here = _resolved(here if isinstance(here, Mapping) else {}, schema)
    return here


def _resolved(part: Schema, root: Schema) -> Schema:
    """Follows $ref, and takes X out of "X or null"; "X or Y" stays as it is."""
    if "anyOf" in part and len(choices := _choices(part)) == 1:
        part = {**{key: value for key, value in part.items() if key != "anyOf"}, **choices[0]}
    if "$ref" in part:
        return {**part, **root["$defs"][part["$ref"].rpartition("/")[2]]}
    return part


def _choices(schema: Schema) -> list[Schema]:
    return [choice for choice in schema["anyOf"] if choice.get("type") != "null"]


def _properties(schema: Schema) -> Mapping[str, Any]:
    properties: Mapping[str, Any] = schema.get("properties", {})
    return properties


def _hint(word: object, choices: Any) -> str:
    return did_you_mean(word, choices) if isinstance(word, str) else ""


def _prefix(path: Where) -> str:
    return f"{dotted(path)}: " if path else ""


def dotted(path: Where) -> str:
    """A path as it is told to people: `expect[0].metric`."""
    told = ""
    for part in path:
        told += f"[{part}]" if isinstance(part, int) else f".{part}"
    return told.removeprefix(".")


def shown(value: object) -> str:
    """A value as its file would have it, on one line and not long."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
