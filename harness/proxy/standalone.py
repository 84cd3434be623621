"""Runs the Envoy of one arm on its own, in front of replicas that start and stop elsewhere.

    python -m harness.proxy.standalone --experiment sticky --arm sticky --replicas replica:50051

It resolves the replicas' addresses every second and passes them to Envoy (EDS). Envoy accepts clear text and
TLS on one port, with a temporary certificate. SIGTERM and Ctrl-C stop the program and Envoy. Exit status: 0
after a signal, 2 for bad usage, 4 if Envoy ended.
"""

import argparse
import itertools
import socket
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NoReturn

from harness.errors import LabError, UserError, did_you_mean
from harness.events.context import Endpoint
from harness.interrupt import one_interrupt
from harness.leftovers.parent import end_with_parent
from harness.leftovers.scratch import scratch_folder
from harness.output.safe_text import say
from harness.plan.cells import CellPlan, plan_cells
from harness.proxy.render import EnvoyFiles, envoy_args, envoy_program, render, write_endpoints
from harness.proxy.tls import make_certificate
from harness.spec.experiment import Experiment, load_experiment
from lb.target import split_address

RESOLVE_INTERVAL_S = 1.0
STOP_TIMEOUT_S = 5.0


def main(argv: list[str] | None = None) -> int:
    """Run an arm's Envoy until SIGTERM or Ctrl-C, and return the exit status."""
    given = _parser().parse_args(argv)
    try:
        with one_interrupt(), scratch_folder("proxy") as folder:
            _serve(given, folder)
    except KeyboardInterrupt:
        return 0
    except LabError as error:
        say(f"error: {error}", error=True)
        return error.exit_code


def proxy_plan(experiment: Experiment, arm: str | None) -> CellPlan:
    """Return the plan of `arm`; None: the first arm with a proxy. Raises UserError for an arm without one."""
    plans = {plan.arm_name: plan for plan in plan_cells(experiment)}
    proxied = [name for name in experiment.variants if plans[name].arm.has_proxy]
    if not proxied:
        raise UserError(f"--experiment: {experiment.name} has no arm with a proxy")
    if arm is None:
        return plans[proxied[0]]
    if arm not in proxied:
        problem = "is called without a proxy" if arm in plans else "is not known"
        known = ", ".join(proxied)
        hint = "" if arm in plans else did_you_mean(arm, proxied)
        raise UserError(f"--arm: {arm!r} {problem}; expected one of {known}, of {experiment.name}{hint}")
    return plans[arm]


def keep_names(named: Mapping[str, str], addresses: Iterable[str]) -> dict[str, str]:
    """Return names for the replicas at `addresses`: replica-0, replica-1, ... -> "host:port".

    An address in `named` keeps its name. A new address gets the lowest free number.
    """
    present = sorted(set(addresses))
    kept = {name: address for name, address in named.items() if address in present}
    free = (name for number in itertools.count() if (name := f"replica-{number}") not in kept)
    new = [address for address in present if address not in kept.values()]
    names = kept | dict(zip(free, new, strict=False))
    return dict(sorted(names.items(), key=lambda item: int(item[0].rpartition("-")[2])))


def resolve(replicas: Sequence[tuple[str, int]]) -> list[str]:
    """Return the current addresses "host:port" of (host, port). Raises OSError for a name without address."""
    return [
        f"{found[4][0]!s}:{port}"
        for host, port in replicas
        for found in socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)
    ]


def _serve(given: argparse.Namespace, folder: Path) -> NoReturn:
    """Run Envoy and update its endpoints. Raises KeyboardInterrupt after a signal, LabError if Envoy ends."""
    plan = proxy_plan(load_experiment(given.experiment), given.arm)
    tls = make_certificate(folder / "tls")
    files = EnvoyFiles(folder / "envoy", given.access_log, log_as_json=True)
    updater = _EndpointUpdater(given.replicas, files, plan)
    updater.update()
    files.config.write_text(render(plan.arm, files, tls, given.listen))
    envoy = _start(plan, files)
    say(f"{given.experiment}, arm {plan.arm_name}: Envoy on {given.listen}, clear text and TLS")
    say(f"the TLS certificate's authority: {tls.authority}")
    try:
        while True:
            try:
                status = envoy.wait(RESOLVE_INTERVAL_S)
            except subprocess.TimeoutExpired:
                updater.update()
            else:
                raise LabError(f"Envoy ended (status {status}); see its output above")
    finally:
        _stop(envoy)


class _EndpointUpdater:
    """Gives Envoy the addresses that the replicas' host names have now."""

    def __init__(self, replicas: list[tuple[str, int]], files: EnvoyFiles, plan: CellPlan) -> None:
        self._replicas, self._files, self._plan = replicas, files, plan
        self._named: dict[str, str] | None = None
        self._last_line = ""

    def update(self) -> None:
        """Resolve the names once, and publish the endpoints if they have changed.

        If the names cannot be resolved, Envoy keeps its endpoints, because it checks their health itself.
        """
        try:
            named = keep_names(self._named or {}, resolve(self._replicas))
        except OSError as error:
            self._print_once(f"replicas: no address: {error.strerror or error}")
            named = self._named or {}
        if named != self._named:
            endpoints = {name: Endpoint(address) for name, address in named.items()}
            write_endpoints(self._files, endpoints, self._plan.arm)
            self._named = named
        if named:
            self._print_once(f"replicas: {len(named)}: {', '.join(named.values())}")

    def _print_once(self, line: str) -> None:
        if line != self._last_line:
            say(line)
            self._last_line = line


def _start(plan: CellPlan, files: EnvoyFiles) -> subprocess.Popen[bytes]:
    return subprocess.Popen(  # noqa: S603 - the program of the wheel
        [envoy_program(), *envoy_args(plan, files)],
        stdin=subprocess.DEVNULL,
        # The kernel kills Envoy when this process, which has no other threads, ends.
        preexec_fn=end_with_parent,  # noqa: PLW1509
        start_new_session=True,  # so that Ctrl-C reaches only this process, which then stops Envoy
    )


def _stop(envoy: subprocess.Popen[bytes]) -> None:
    envoy.terminate()
    try:
        envoy.wait(STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        envoy.kill()
        envoy.wait()


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(2, f"error: {message}\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="python -m harness.proxy.standalone",
        description="Run the Envoy of one arm until Ctrl-C. Its replicas start and stop elsewhere.",
    )
    option = parser.add_argument
    option("--experiment", required=True, metavar="NAME|FILE", help="the experiment that has the arm")
    option("--arm", help="the arm to run (default: the first with a proxy)")
    option(
        "--replicas",
        required=True,
        type=lambda text: [_address(address) for address in text.split(",")],
        metavar="HOST:PORT",
        help="resolved every second; a name may have several addresses; several: comma separated",
    )
    option(
        "--listen", type=_listen, default="127.0.0.1:8080", metavar="HOST:PORT", help="(default %(default)s)"
    )
    option(
        "--access-log",
        type=Path,
        default=Path("/dev/null"),
        metavar="FILE",
        help="one JSON object a request, with the fields of a run's proxy.parquet (default: none)",
    )
    return parser


def _listen(text: str) -> str:
    host, _ = _address(text)
    try:
        socket.inet_pton(socket.AF_INET, host)
    except OSError:
        message = f"{text!r}: expected an IPv4 address, such as 0.0.0.0:8080"
        raise argparse.ArgumentTypeError(message) from None
    return text


def _address(text: str) -> tuple[str, int]:
    try:
        return split_address(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


if __name__ == "__main__":
    sys.exit(main())
