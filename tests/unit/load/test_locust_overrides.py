"""What the lab overrides of Locust: nothing else, and only while Locust still has it and uses it.

Each reason stands at the override (load/locust_adapter.py, load/encrypted_sockets.py). A new Locust makes
these tests fail if it names a method of its own as one of the lab's, or calls an overridden one no more.
"""

# Imported first: it sets the variable without which Locust changes the standard library of this process.
import load.main  # noqa: F401

# isort: split
import inspect
from typing import Any

import locust.rpc
import locust.runners
import pytest
from locust import User
from locust.dispatch import UsersDispatcher
from locust.env import Environment
from locust.rpc.zmqrpc import BaseSocket, Client, Server
from locust.runners import MasterRunner, WorkerRunner

from load.encrypted_sockets import EncryptedSockets, MasterSocket, WorkerSocket
from load.locust_adapter import (
    FixedDispatcher,
    GrpcClientUser,
    LabEnvironment,
    LabMasterRunner,
    LabWorkerRunner,
)

# Our class, Locust's class -> what of Locust's the lab overrides. `__init__` calls Locust's own.
OVERRIDDEN: list[tuple[type, type, set[str]]] = [
    (LabMasterRunner, MasterRunner, {"__init__", "handle_message", "heartbeat_worker"}),
    (LabWorkerRunner, WorkerRunner, {"heartbeat_timeout_checker"}),
    (LabEnvironment, Environment, {"__init__"}),
    (GrpcClientUser, User, {"abstract", "tasks"}),
    (MasterSocket, BaseSocket, {"__init__", "send_to_client", "recv_from_client"}),
    (WorkerSocket, BaseSocket, {"__init__", "send", "recv"}),
]
OF_PYTHON = {"__module__", "__qualname__", "__doc__", "__firstlineno__", "__static_attributes__"}
SETTINGS = ("rpc", "CONNECT_TIMEOUT", "CONNECT_RETRY_COUNT", "WORKER_REPORT_INTERVAL")


def own(kind: type) -> dict[str, Any]:
    return {name: value for name, value in vars(kind).items() if name not in OF_PYTHON}


@pytest.mark.parametrize(
    ("ours", "theirs", "overridden"), OVERRIDDEN, ids=lambda one: getattr(one, "__name__", "")
)
def test_only_these_are_overridden(ours: type, theirs: type, overridden: set[str]) -> None:
    assert {name for name in own(ours) if hasattr(theirs, name)} == overridden


@pytest.mark.parametrize(
    ("ours", "theirs", "name"),
    [
        (LabMasterRunner, MasterRunner, "handle_message"),
        (LabMasterRunner, MasterRunner, "heartbeat_worker"),
        (LabWorkerRunner, WorkerRunner, "heartbeat_timeout_checker"),
        (MasterSocket, Server, "send_to_client"),
        (MasterSocket, Server, "recv_from_client"),
        (WorkerSocket, Client, "__init__"),
    ],
)
def test_overrides_take_what_locusts_own_take(ours: type, theirs: type, name: str) -> None:
    sockets = name == "__init__"
    given = list(inspect.signature(getattr(theirs, name)).parameters)
    taken = list(inspect.signature(getattr(ours, name)).parameters)
    assert len(taken) >= len(given) if sockets else len(taken) == len(given)


@pytest.mark.parametrize(
    ("kind", "used"),
    [
        (MasterRunner, "self.heartbeat_worker"),
        (WorkerRunner, "self.heartbeat_timeout_checker"),
        (MasterRunner, "self.handle_message("),
        (MasterRunner, "rpc.Server("),
        (WorkerRunner, "rpc.Client("),
        (WorkerRunner, "CONNECT_TIMEOUT"),
        (WorkerRunner, "CONNECT_RETRY_COUNT"),
        (WorkerRunner, "WORKER_REPORT_INTERVAL"),
    ],
)
def test_locust_still_uses_what_is_overridden(kind: type, used: str) -> None:
    assert used in inspect.getsource(kind)


def test_the_settings_are_still_there() -> None:
    for name in SETTINGS:
        assert hasattr(locust.runners, name)
    for name in ("Server", "Client"):
        assert hasattr(locust.runners.rpc, name)
        assert hasattr(EncryptedSockets, name)


def test_the_dispatcher_has_all_that_a_master_calls() -> None:
    source = inspect.getsource(MasterRunner) + inspect.getsource(locust.runners.Runner)
    called = {
        name
        for name in vars(UsersDispatcher)
        if not name.startswith("_") and f"_users_dispatcher.{name}" in source
    }
    assert called
    missing = {name for name in called if not hasattr(FixedDispatcher, name)}
    assert not missing
