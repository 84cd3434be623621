"""A replica's settings as LabControl's message Behaviour, which shows and changes them while it serves.

In the message all settings are flat, and a value stands for "none": 0 sessions, 0 seconds, no text.
"""

from typing import Any

from pydantic import ValidationError

from services.lab_control_pb2 import Behaviour
from services.settings import ReplicaSettings, problem_of

# Field of the message -> where the setting stands in the document.
PLACES = {
    "slots": ("slots",),
    "distribution": ("service_time_ms", "distribution"),
    "mean_ms": ("service_time_ms", "mean"),
    "burn_cpu": ("service_time_ms", "burn_cpu"),
    "slow_factor": ("slow_factor",),
    "slow_share": ("slow_share",),
    "fail_share": ("fail_share",),
    "fail_code": ("fail_code",),
    "fail_after_headers": ("fail_after_headers",),
    "fail_after_work": ("fail_after_work",),
    "cache_sessions": ("cache", "sessions"),
    "cache_hit_factor": ("cache", "hit_factor"),
    "outage_every_s": ("outage", "every_s"),
    "outage_for_ms": ("outage", "for_ms"),
}
# Values in the message when there is no cache and no outage. The first one decides.
NONE = {
    "cache": {"cache_sessions": 0, "cache_hit_factor": 1.0},
    "outage": {"outage_every_s": 0.0, "outage_for_ms": 0.0},
}


def to_message(settings: ReplicaSettings) -> Behaviour:
    """Return the settings as LabControl shows them."""
    return Behaviour(**_flat(settings))


def changed(settings: ReplicaSettings, message: Behaviour) -> ReplicaSettings:
    """Return the settings with those that the message sets. Raises ValueError, in words for the user."""
    given = {field.name: value for field, value in message.ListFields()}
    flat = _flat(settings) | given
    document: dict[str, Any] = settings.model_dump(exclude={"cache", "outage", "orca"})
    document["orca"] = _orca(flat.pop("orca"))
    for name, none in NONE.items():
        decides = next(iter(none))
        others = {key: value for key, value in given.items() if key in none and key != decides}
        is_none = flat[decides] == 0 and all(value == none[key] for key, value in others.items())
        document[name] = None if is_none else {}
    for field, value in flat.items():
        *parents, last = PLACES[field]
        place = document
        for parent in parents:
            place = place[parent]
        if place is not None:
            place[last] = value
    try:
        return ReplicaSettings.model_validate(document)
    except ValidationError as error:
        raise ValueError(problem_of(error)) from None


def _flat(settings: ReplicaSettings) -> dict[str, Any]:
    """Return the message's fields with the values in force."""
    flat: dict[str, Any] = {"orca": "" if settings.orca is None else str(settings.orca)}
    for field, place in PLACES.items():
        value: Any = settings
        for part in place:
            value = None if value is None else getattr(value, part)
        flat[field] = NONE[place[0]][field] if value is None else value
    return flat


def _orca(text: str) -> str | float | None:
    """Return the setting for "", "measured" or a number. Other text is returned unchanged, to be refused."""
    try:
        return float(text) if text else None
    except ValueError:
        return text
