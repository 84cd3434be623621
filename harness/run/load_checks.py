"""Before anything is started: can the load be made, are its ports free, and which secret do workers share?"""

import ipaddress
import os
import shlex
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from harness.errors import UserError
from harness.leftovers.scratch import scratch_folder
from harness.paths import PROGRAM
from harness.plan.run_options import LoadOptions, RunOptions
from harness.spec.experiment import Experiment
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
    with scratch_folder("worker-secret") as folder:
        file = folder / "secret"
        file.touch(0o600)
        file.write_text(new_secret())
        yield replace(load, secret_file=file)


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
    command = f"{PROGRAM} worker --master-host {shlex.quote(host)}"
    command += f" --master-port {load.master_bind_port}"
    if load.secret_file is None:
        return command
    return f"{command} --secret-file {shlex.quote(str(load.secret_file))}"


def confirm_load(experiment: Experiment, options: RunOptions) -> None:
    """Raise UserError for too many workers, a master out of their reach, a weak secret or a taken port.

    Workers on other machines cannot play for a search.
    """
    load = options.load
    host, port = load.master_bind_host, load.master_bind_port
    if not load.expect_workers:
        if replace(load, processes=1) != LoadOptions():
            raise UserError(
                "--master-bind-host, --master-bind-port, --secret-file: nobody from elsewhere is expected; "
                "give --expect-workers, too, or none of them"
            )
    elif options.testbed == "local" and not _is_loopback(host):
        raise UserError(
            f"--master-bind-host {host}: the parts of --testbed local listen on loopback, "
            "where load workers on other machines cannot call them; use --testbed external, or 127.0.0.1"
        )
    _confirm_search(experiment, load)
    if experiment.workload.locustfile is not None and load.expect_workers:
        raise UserError(
            "--expect-workers: workers elsewhere have no copy of the Locust file, and run no code that a run "
            "sends them; use --processes"
        )
    _confirm_clients(experiment, load)
    if load.expect_workers:
        confirm_secret(load)
        where = f"--master-bind-host {host}, --master-bind-port {port}: cannot listen there"
        confirm_free(host, port, where, "expected an address of this machine and a free port")


def _confirm_search(experiment: Experiment, load: LoadOptions) -> None:
    if experiment.search is not None and load.expect_workers:
        raise UserError(
            f"--expect-workers: {experiment.name} searches, so nobody knows its last cell, with which the "
            "workers would leave; use --processes"
        )


def _confirm_clients(experiment: Experiment, load: LoadOptions) -> None:
    workers = load.processes + load.expect_workers
    for name, variant in experiment.variants.items():
        clients = experiment.workload_of(variant.arm).clients
        if workers > clients and load.distributed:
            raise UserError(
                f"--processes {load.processes}, --expect-workers {load.expect_workers}: {workers} to make "
                f"the calls of {clients} clients ({name}), and each client is played by one of them; "
                f"expected at most {clients} in all"
            )


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def confirm_free(host: str, port: int, problem: str, hint: str) -> None:
    """Raise UserError with `problem`, the reason and `hint` if nothing can listen at the address."""
    try:
        family = socket.getaddrinfo("0.0.0.0" if host == "*" else host, port)[0][0]  # noqa: S104 - as asked
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("" if host == "*" else host, port))
    except OSError as error:
        raise UserError(f"{problem} ({error.strerror}); {hint}") from error
