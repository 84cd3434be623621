"""The options that change an experiment, declared once for every command that has them."""

import functools
import inspect
from collections.abc import Callable
from typing import Any

import typer

from harness.spec.heads import OPTIONS

Command = Callable[..., int]

# Dotted name of the experiment's field -> type of the option's value, and its help.
_OVERRIDES: dict[str, tuple[type, str]] = {
    "replicas.count": (int, "Number of replicas."),
    "workload.clients": (int, "Number of clients."),
    "workload.rate_per_s": (float, "Requests per second, all clients together."),
    "workload.skew": (float, "Zipf exponent of the clients' rates; 0: alike."),
    "workload.warm_up_s": (float, "Seconds of load before measuring."),
    "workload.duration_s": (float, "Seconds measured in each cell."),
    "repeats": (int, "Cells per arm."),
    "seed": (int, "Seed of arrivals, service times and order."),
}


def with_overrides(*fields: str) -> Callable[[Command], Command]:
    """Return a decorator that puts options in the place of a command's parameter `overrides`.

    The options are those of `fields`; without any, all of them. The command gets those that the user gave as
    a dict: dotted field name -> value. Typer reads the options from the signature.
    """
    field_of = {OPTIONS[field].strip("-").replace("-", "_"): field for field in fields or _OVERRIDES}

    def option(name: str) -> inspect.Parameter:
        kind, words = _OVERRIDES[field_of[name]]
        declared = typer.Option(None, OPTIONS[field_of[name]], help=words)
        return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=declared, annotation=kind)

    def decorate(command: Command) -> Command:
        @functools.wraps(command)
        def call(**values: Any) -> int:
            given = {field: values.pop(name) for name, field in field_of.items()}
            overrides = {field: value for field, value in given.items() if value is not None}
            return command(**values, overrides=overrides)

        signature = inspect.signature(command)
        parameters = list(signature.parameters.values())
        place = list(signature.parameters).index("overrides")
        parameters[place : place + 1] = map(option, field_of)
        call.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
        return call

    return decorate
