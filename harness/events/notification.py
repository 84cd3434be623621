"""How clients and proxy learn of each kind of event: what the record says of it."""

from harness.events.event import EventName
from harness.spec.arm import Arm

_BY_CONNECTION = "broken connections"
_BY_GOAWAY = "GOAWAY"
_BY_SILENCE = "nobody is told: connections stay, answers do not come"
_BY_ANSWERS = "nobody is told: only its answers show it"

_OF_ITSELF: dict[EventName, str] = {
    "kill": _BY_CONNECTION,
    "stop": f"health service, {_BY_GOAWAY}",
    "start": "its address takes connections again",
    "pause": _BY_SILENCE,
    "resume": "answers come again",
    "partition": "nobody is told: packets get no answer, not even a reset",
    "rejoin": "packets are answered again",
    "limit_cpu": _BY_ANSWERS,
    "unlimit_cpu": _BY_ANSWERS,
    "slow": _BY_ANSWERS,
    "fail": _BY_ANSWERS,
    "heal": _BY_ANSWERS,
    "not_serving": "health service",
    "serving": "health service",
    "proxy_restart": f"{_BY_GOAWAY}, {_BY_CONNECTION}",
    "proxy_drain": f"{_BY_GOAWAY}, then {_BY_CONNECTION}",
}
# What changes the list of endpoints.
_OF_THE_LIST: dict[EventName, str] = {
    "drain": f", then health service, {_BY_GOAWAY}",
    "roll": f", then health service, {_BY_GOAWAY}",
    "remove": "",
    "add": "",
    "weight": "",
}


def notification(arm: Arm, do: EventName) -> str:
    """How the parties of this arm learn of the event, in a few words."""
    if do not in _OF_THE_LIST:
        return _OF_ITSELF[do]
    if arm.route != "direct":
        how = "proxy: EDS"
    elif arm.discovery == "dns":
        how = "clients: the name server, asked again when a connection ends"
    else:
        how = "clients: nobody tells them, their list is fixed"
    return how + _OF_THE_LIST[do]
