"""Turns pydantic's errors into one line: field, value, what was expected, and a similar known name."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from harness.errors import did_you_mean
from harness.spec.yaml_file import Tree, Where, dotted

WHOLE = "whole"  # pydantic error type of a problem that is not in one field; see checks.py

Schema = Mapping[str, Any]

# Keys that people may look for but that would have no effect -> the reason, and the key to use.
NO_SUCH_OPTION = {
    "hedging_policy": "gRPC's C-core has no hedging and ignores it silently; use hedging",
    "timeout": "methodConfig.timeout does not work in gRPC's C-core (a second or less fails at once, more "
    "sets no deadline); use deadline_ms",
    "timeout_ms": "methodConfig.timeout does not work in gRPC's C-core (a second or less fails at once, more "
    "sets no deadline); use deadline_ms",
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
    """One problem: the paths of the fields that it is about, most important first, and the message."""

    paths: tuple[Where, ...]
    message: str


def first_problem(error: ValidationError, schema: Schema, tree: Tree) -> Problem:
    """Return the problem to report: an unknown key if there is one, then a wrong value; the first line first.

    `schema`: the JSON Schema of the model that raised the error. It says what every field expects.
    """
    details = error.errors(include_url=False)
    return _problem(min(details, key=lambda detail: (_rank(detail), tree.line(detail["loc"]))), schema)


def nested_problem(error: ValidationError, schema: Schema, at: Where) -> Problem:
    """Return the first problem of a model that was validated alone; `at` is its path in the file."""
    return _problem(min(error.errors(include_url=False), key=_rank), schema, at)


def _rank(detail: Any) -> int:
    """Return the rank of an error: unknown keys first, because they often cause others; missing keys last."""
    return {"extra_forbidden": 0, "missing": 2}.get(detail["type"], 1)


def _problem(detail: Any, schema: Schema, at: Where = ()) -> Problem:
    """Return the problem of an error. `at`: path of the model; paths in `detail` and `schema` begin there."""
    kind, value = detail["type"], detail["input"]
    tagged = _without_branch(detail["loc"], schema)
    path = _without_tags(tagged, schema)
    here = (*at, *path)
    if kind == WHOLE:
        return Problem(tuple(map(tuple, detail["ctx"]["paths"])), detail["ctx"]["message"])
    if kind == "value_error":
        return Problem((here,), f"{_prefix(here)}{detail['ctx']['error']}")
    if kind == "extra_forbidden":
        known = _properties(schema_at(schema, tagged[:-1]))
        reason = NO_SUCH_OPTION.get(str(path[-1]))
        hint = f"; {reason}" if reason else _hint(path[-1], known) or _known(known)
        return Problem((here,), f"{_prefix(here[:-1])}unknown key {shown(path[-1])}{hint}")
    if kind == "union_tag_invalid":
        return Problem((here,), _wrong_tag(here, value, detail["ctx"]["expected_tags"]))
    if kind == "missing" and tagged != detail["loc"]:
        expected = in_words(schema_at(schema, tagged))
        return Problem((here,), f"{_prefix(here)}key '{detail['loc'][-1]}' is missing; expected {expected}")
    if kind == "missing":
        expected = in_words(schema_at(schema, tagged))
        return Problem((here,), f"{_prefix(here[:-1])}key '{path[-1]}' is missing; expected {expected}")
    if path[-1] == "[key]":
        return Problem((here[:-1],), _prefix(here[:-2]) + _wrong_key(value, schema_at(schema, tagged[:-2])))
    return Problem((here,), f"{_prefix(here)}{shown(value)} {_wrong(kind, value, schema_at(schema, tagged))}")


def _known(keys: Mapping[str, Any]) -> str:
    """Name all keys where they are few: a longer list would hide the error."""
    return f"; expected {_alternatives(list(keys))}" if 0 < len(keys) <= 8 else ""


def _without_branch(path: Where, schema: Schema) -> Where:
    """Return `path` without pydantic's name of the alternative in an "anyOf"."""
    return path[:-1] if path and "anyOf" in schema_at(schema, path[:-1]) else path


def _without_tags(path: Where, schema: Schema) -> Where:
    """Return `path` without pydantic's names of the alternatives in a "oneOf"."""
    return tuple(step for place, step in enumerate(path) if "oneOf" not in schema_at(schema, path[:place]))


def _wrong_tag(here: Where, value: Any, expected: str) -> str:
    """Say what is wrong with a mapping whose key `shape` says which keys it has."""
    choices = re.findall(r"'(\w+)'", expected)
    shapes = [choice for choice in choices if choice != "number"]
    if "shape" not in value:
        return f"{_prefix(here)}key 'shape' is missing; expected {_alternatives(shapes)}"
    hint = _hint(value["shape"], shapes) or _expecting(_alternatives(shapes))
    return f"{_prefix((*here, 'shape'))}{shown(value['shape'])} is not known here{hint}"


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
    """Return what a schema accepts, in words."""
    if "anyOf" in schema:
        return " or ".join(in_words(choice) for choice in _choices(schema))
    if "oneOf" in schema:
        plain = [in_words(choice) for choice in schema["oneOf"] if "$ref" not in choice]
        return " or ".join([*plain, "a mapping with `shape`"])
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
    """Return the subschema of `path`; {} if the schema has none."""
    here: Schema = schema
    for step in path:
        properties = _properties(here)
        if "oneOf" in here:
            here = _tagged(here, step, schema)
        elif isinstance(step, int):
            here = here.get("items", {})
        elif step in properties:
            here = properties[step]
        else:
            patterns = here.get("patternProperties", {})
            here = next(iter(patterns.values()), here.get("additionalProperties", {}))
        here = _resolved(here if isinstance(here, Mapping) else {}, schema)
    return here


def _tagged(union: Schema, tag: object, root: Schema) -> Schema:
    """Return the alternative of a "oneOf" that pydantic calls `tag`: that shape's mapping, or no mapping."""
    choices = [_resolved(choice, root) for choice in union["oneOf"]]
    named = [one for one in choices if _properties(one).get("shape", {}).get("const") == tag]
    return next(iter(named), next((one for one in choices if not _properties(one)), {}))


def _resolved(schema: Schema, root: Schema) -> Schema:
    """Return the schema with $ref followed and "X or null" replaced by X; "X or Y" stays."""
    if "anyOf" in schema and len(choices := _choices(schema)) == 1:
        schema = {**{key: value for key, value in schema.items() if key != "anyOf"}, **choices[0]}
    if "$ref" in schema:
        return {**schema, **root["$defs"][schema["$ref"].rpartition("/")[2]]}
    return schema


def _choices(schema: Schema) -> list[Schema]:
    return [choice for choice in schema["anyOf"] if choice.get("type") != "null"]


def _properties(schema: Schema) -> Mapping[str, Any]:
    properties: Mapping[str, Any] = schema.get("properties", {})
    return properties


def _hint(word: object, choices: Any) -> str:
    return did_you_mean(word, choices) if isinstance(word, str) else ""


def _prefix(path: Where) -> str:
    return f"{dotted(path)}: " if path else ""


def shown(value: object) -> str:
    """Return a value as its file would show it, on one line of at most 60 characters."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
