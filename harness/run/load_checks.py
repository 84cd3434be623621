"""Checks before anything is started that the load can be made and that its ports are free."""

import ipaddress
import shlex
import socket

from harness.errors import UserError
from harness.plan.run_options import LoadOptions, RunOptions
from harness.spec.experiment import Experiment

ANY_ADDRESS = ("*", "0.0.0.0", "::")  # noqa: S104 - what the user may bind to


def confirm_load(experiment: Experiment, options: RunOptions) -> str | None:
    """Return a sentence with the command that starts load workers elsewhere; None if none are expected.

    Raises UserError for more workers than clients, for a master that workers cannot reach, and for a port of
    the load that is taken.
    """
    load, default = options.load, LoadOptions()
    host, port = load.master_bind_host, load.master_bind_port
    if not load.expect_workers:
        if (host, port) != (default.master_bind_host, default.master_bind_port):
            raise UserError(
                "--master-bind-host, --master-bind-port: nobody from elsewhere is expected; "
                "give --expect-workers, too, or none of them"
            )
    elif options.testbed == "local" and not _is_loopback(host):
        raise UserError(
            f"--master-bind-host {host}: the parts of --testbed local listen on loopback, "
            "where load workers on other machines cannot call them; use --testbed external, or 127.0.0.1"
        )
    _confirm_clients(experiment, load)
    if not load.expect_workers:
        return None
    where = f"--master-bind-host {host}, --master-bind-port {port}: cannot listen there"
    confirm_free(host, port, where, "expected an address of this machine and a free port")
    reached_at = shlex.quote(socket.getfqdn() if host in ANY_ADDRESS else host)
    command = f"python run_experiment.py worker --master-host {reached_at} --master-port {port}"
    return f"{load.expect_workers} load workers are expected; start each with: {command}"


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
