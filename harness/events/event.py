"""The part `events` of an experiment file: what changes while the load goes on, and when."""

from typing import Annotated, Any

from pydantic import AfterValidator, ConfigDict, WithJsonSchema
from pydantic_core import PydanticCustomError

from harness.events.keys import OWN_KEYS, EventKeys
from harness.events.registry import EVENT_KINDS, meaning_of_key


def _known(name: str) -> str:
    if name not in EVENT_KINDS:
        raise PydanticCustomError("literal_error", "no kind of event")
    return name


def _meanings() -> str:
    meanings = [
        f"{kind.name}: {'in containers only: ' if kind.needs_containers else ''}{kind.meaning}"
        for kind in EVENT_KINDS.values()
    ]
    return ". ".join(meanings).replace("`", "")


EventName = Annotated[
    str,
    AfterValidator(_known),
    WithJsonSchema({"type": "string", "enum": list(EVENT_KINDS), "description": _meanings()}),
]


def _describe_own_keys(schema: dict[str, Any]) -> None:
    for key in OWN_KEYS:
        schema["properties"][key]["description"] = meaning_of_key(key)


class Event(EventKeys):
    """One change at a planned time."""

    model_config = ConfigDict(json_schema_extra=_describe_own_keys)

    do: EventName
