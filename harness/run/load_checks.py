"""Checks before anything is started that the load can be made and that its ports are free."""

import ipaddress
import socket
from dataclasses import replace

from harness.errors import UserError
from harness.plan.run_options import LoadOptions, RunOptions
from harness.run.worker_secret import confirm_secret
from harness.spec.experiment import Experiment


def confirm_load(experiment: Experiment, options: RunOptions) -> None:
    """Raise UserError for too many workers, a master out of their reach, a weak secret or a taken port."""
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
    _confirm_clients(experiment, load)
    if load.expect_workers:
        confirm_secret(load)
        where = f"--master-bind-host {host}, --master-bind-port {port}: cannot listen there"
        confirm_free(host, port, where, "expected an address of this machine and a free port")


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
