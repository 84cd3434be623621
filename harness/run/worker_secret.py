"""The secret that a run shares with the load workers that are started elsewhere."""

import os
import shlex
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from harness.errors import UserError
from harness.plan.run_options import LoadOptions
from load.secret import SECRET_VARIABLE, SecretError, new_secret, read_secret

ANY_ADDRESS = ("*", "0.0.0.0", "::")  # noqa: S104 - what the user may bind to


def confirm_secret(load: LoadOptions) -> None:
    """Raise UserError for a secret of the user's that cannot be read or is too short."""
    if _is_given(load):
        confirm_workers_secret(load.secret_file)


def confirm_workers_secret(file: Path | None) -> None:
    """Raise UserError if the secret cannot be read or is too short; `file` as in load.secret."""
    try:
        read_secret(file)
    except SecretError as error:
        raise UserError(str(error)) from error


@contextmanager
def shared_secret(load: LoadOptions) -> Iterator[LoadOptions]:
    """Give the options with a file that has the run's secret, if workers are expected and the user gave none.

    Only this user can read the file. It is removed at the end.
    """
    if not load.expect_workers or _is_given(load):
        yield load
        return
    with tempfile.NamedTemporaryFile("w", prefix="lb-lab-worker-secret-") as file:
        file.write(new_secret())
        file.flush()
        yield replace(load, secret_file=Path(file.name))


def _is_given(load: LoadOptions) -> bool:
    return load.secret_file is not None or bool(os.environ.get(SECRET_VARIABLE))


def workers_to_start(given: LoadOptions, load: LoadOptions) -> str:
    """Return which workers the user is to start elsewhere, and how.

    `given`: the options as the user gave them; `load`: the same as shared_secret gives them.
    """
    text = f"{load.expect_workers} load workers are expected; start each with: {_command(load)}"
    if load.secret_file is None:
        return f"{text}\nEach needs the same {SECRET_VARIABLE} in its environment."
    if given.secret_file is not None:
        return f"{text}\nEach needs a copy of that file."
    return (
        f"{text}\nThat file has the secret of this run, only you can read it, and the run removes it at its "
        "end. Copy it to the other machines first."
    )


def _command(load: LoadOptions) -> str:
    host = socket.getfqdn() if load.master_bind_host in ANY_ADDRESS else load.master_bind_host
    command = f"python run_experiment.py worker --master-host {shlex.quote(host)}"
    command += f" --master-port {load.master_bind_port}"
    if load.secret_file is None:
        return command
    return f"{command} --secret-file {shlex.quote(str(load.secret_file))}"
