"""The workload of a Locust file: what its keys leave open, and what cannot stand beside them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

from harness.errors import UserError
from harness.fields import Method
from harness.spec.arm import variants_of_arm
from harness.spec.model import ExperimentModel
from harness.spec.problems import Problem
from harness.spec.yaml_file import dotted

_TASKS = "the tasks decide it"
# Keys that a workload with a Locust file must not have -> why.
REFUSED_WITH_LOCUSTFILE = {
    "trace": "a Locust file is a load of its own",
    "clients": "each user is a client, so `users` gives it",
    "rate_per_s": "users wait for their answers, so nobody plans a rate",
    "think_time_ms": "wait_time in the Locust file decides it",
    "skew": _TASKS,
    "calls": _TASKS,
    "messages_per_stream": _TASKS,
    "message_gap_ms": _TASKS,
    "payload_bytes": _TASKS,
}
# Keys of an arm that the users' own calls would not follow -> the value that changes nothing.
_NOT_OF_ARMS = ("clients", "rate_per_s", "skew", "calls", "messages_per_stream", "message_gap_ms")
MAX_SPAWN_S = 60.0

CLOSED_LOOP_NOTE = (
    "closed loop: a user who waits for a slow replica asks for nothing meanwhile. So a slow arm gets fewer "
    "requests, its worst moments are sampled least, and its percentiles look better than they would with an "
    "open loop. Nothing was planned, so no request counts as late or as never sent"
)


def fill_in_locustfile(tree: dict[str, Any], folder: Path, *, stored: bool) -> None:
    """Fill in the workload of an experiment file, in place, if it has a Locust file.

    folder: of the file; the path of the Locust file is relative to it. stored: the experiment belongs to a
    run that has been made, so the file is not read.
    Raises UserError that begins with the key. Leaves mistakes of types to the check of the fields.
    """
    work = tree.get("workload")
    if not isinstance(work, dict):
        return
    name = work.get("locustfile")
    if name is None:
        for key in ("users", "spawn_rate"):
            if key in work:
                raise UserError(f"workload.{key}: only with `locustfile`; expected clients and a rate")
        return
    if tree.get("service") is not None:
        raise UserError(
            "workload.locustfile: its users call the lab's own service; leave out `service`, or "
            "the Locust file"
        )
    for key, why in REFUSED_WITH_LOCUSTFILE.items():
        if key in work:
            raise UserError(f"workload.{key}: {why}; leave it out")
    users = work.get("users")
    if users is None:
        raise UserError("workload.users: missing; expected the number of Locust's users")
    known = isinstance(users, int) and not isinstance(users, bool) and users > 0
    work.update(clients=users if known else 1, think_time_ms=0.0)
    work["calls"] = dict.fromkeys(get_args(Method), 1.0)
    if not isinstance(name, str) or not name.endswith(".py"):
        if isinstance(name, str):
            raise UserError(f"workload.locustfile: {name[:200]!r}; expected a Python file, NAME.py")
        return
    path = folder / name
    if not stored:
        _confirm_python(path)
    work["locustfile"] = str(path.absolute())


def _confirm_python(path: Path) -> None:
    """Raise UserError for a file that Python cannot read. It is not run here."""
    try:
        compile(path.read_bytes(), str(path), "exec", dont_inherit=True)
    except OSError as error:
        raise UserError(f"workload.locustfile: {path}: cannot be read ({error.strerror})") from None
    except (SyntaxError, ValueError) as error:
        where = f"{path}:{error.lineno}" if isinstance(error, SyntaxError) and error.lineno else str(path)
        reason = error.msg if isinstance(error, SyntaxError) else str(error)
        raise UserError(f"workload.locustfile: {where}: no Python ({reason})") from None


def locust_problems(experiment: ExperimentModel) -> Iterator[Problem]:
    """Yield what an experiment with a Locust file asks for and cannot have."""
    work = experiment.workload
    if work.locustfile is None:
        return
    seconds = work.clients / (work.spawn_rate or work.clients)
    if seconds > MAX_SPAWN_S:
        path = ("workload", "spawn_rate")
        told = f"{work.clients} users take {seconds:g} s to start; expected at most {MAX_SPAWN_S:g} s"
        yield Problem((path, ("workload", "users")), f"{dotted(path)}: {told}")
    for name, arm in experiment.arms.items():
        for variant in variants_of_arm(name, arm):
            values = {key: getattr(variant.arm, key) for key in (*_NOT_OF_ARMS, "session_lifetime_s")}
            if isinstance(variant.arm.connections, int) and variant.arm.connections > 1:
                values["connections"] = variant.arm.connections
            for key in (key for key, value in values.items() if value is not None):
                of_arm = ("arms", name, key)
                told = "the users of a Locust file do not follow it; leave it out"
                yield Problem((of_arm,), f"{dotted(of_arm)}: {told}")
