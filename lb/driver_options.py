"""The command line of `python -m lb.driver`."""

import argparse
import difflib
import json
import re
from collections.abc import Callable
from pathlib import Path

from pydantic import ValidationError

from lb.ca_certificates import read_ca_certificates
from lb.calls import METHODS
from lb.policies import MAX_ATTEMPTS, POLICIES, ClientRetries, service_config
from lb.target import DNS, XDS, resolver_target

DEFAULT_POLICY = "pick_first"
MAX_CALLS = 10_000_000
MAX_MS = 86_400_000
MAX_RATE_PER_S, MAX_S = 1_000_000, 86_400
DEFAULT_CALLS = 100
OWN_HEADERS = "x-lab-"  # the driver sends these itself
TARGETS = (
    "HOST:PORT, or several: HOST:PORT,HOST:PORT,..., or dns://NAME_SERVER:PORT/NAME:PORT, "
    "or xds://CONTROL_PLANE:PORT/NAME"
)


def parse(argv: list[str] | None) -> argparse.Namespace:
    """Return the options of a command line (None: this process's).

    `service_config` is JSON, `ca` is PEM text. On bad usage prints one line and exits with status 2.
    """
    parser = _parser()
    given = parser.parse_args(argv)
    try:
        given.policy_options = dict(_option(given.policy, text) for text in given.option)
        given.service_config = _service_config(given)
        _check_amount(given)
        if given.ca is not None and not given.tls:
            raise ValueError("argument --ca: has no effect without --tls; give both, or neither")
    except ValueError as error:
        parser.error(str(error))
    return given


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m lb.driver",
        description="Make calls to VideoService and print which replica answered how many.",
        epilog=_policies_and_options(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("target", type=_target, help=TARGETS)
    add = parser.add_argument
    add(
        "--policy",
        choices=list(POLICIES),
        default=DEFAULT_POLICY,
        help="how the client picks a replica (below)",
    )
    add("--option", action="append", default=[], metavar="NAME=VALUE", help="an option of the policy (below)")
    add(
        "-n",
        "--calls",
        type=_whole_number(1, MAX_CALLS),
        metavar="N",
        help="number of calls (default: 100, or as many as --duration allows)",
    )
    add("--method", choices=METHODS, default="AddVideo", help="method to call (default AddVideo)")
    add(
        "--messages",
        type=_whole_number(1, 10_000),
        default=3,
        metavar="N",
        help="messages of a stream (default 3)",
    )
    add(
        "--clients",
        type=_whole_number(1, 10_000),
        default=1,
        metavar="N",
        help="clients; each is a session (default 1)",
    )
    add(
        "--connections",
        type=_whole_number(1, 100),
        default=1,
        metavar="N",
        help="channels of a client (default 1)",
    )
    add(
        "--concurrency",
        type=_whole_number(1, 10_000),
        metavar="N",
        help="calls at once (default 1)",
    )
    add(
        "--rate",
        type=_number(0, MAX_RATE_PER_S),
        metavar="R",
        help="calls per second, sent at planned (Poisson) times: an open loop (default: a closed loop)",
    )
    add(
        "--duration",
        type=_number(0, MAX_S),
        metavar="S",
        help="send calls for S seconds, but not more than -n",
    )
    add("--json", action="store_true", help="print one JSON object")
    add(
        "--header",
        action="append",
        default=[],
        type=_header,
        metavar="NAME:VALUE",
        help="send this header with each call; may be repeated",
    )
    add("--tls", action="store_true", help="encrypt the calls")
    add(
        "--ca",
        type=_ca_certificates,
        metavar="FILE",
        help="CA certificates to trust (PEM; default: those of gRPC)",
    )
    add("--cookie-jar", action="store_true", help="send cookies back, as sticky proxies need")
    add(
        "--deadline",
        type=_whole_number(1, MAX_MS),
        default=10_000,
        metavar="MS",
        help="of each call (default 10000)",
    )
    add(
        "--retries",
        type=_whole_number(0, MAX_ATTEMPTS - 1),
        default=0,
        metavar="N",
        help="after UNAVAILABLE (default 0)",
    )
    add("--wait-for-ready", action="store_true", help="wait for a connection instead of failing")
    add(
        "--health-check", action="store_true", help="leave out replicas whose health service says NOT_SERVING"
    )
    add("--compression", choices=("none", "gzip", "deflate"), default="none", help="of requests")
    add(
        "--keepalive",
        type=_whole_number(1000, MAX_MS),
        metavar="MS",
        help="send a PING after MS without data",
    )
    return parser


def _check_amount(given: argparse.Namespace) -> None:
    """Fill in the number of calls. Raises ValueError for options that exclude each other."""
    if given.rate is not None and given.concurrency is not None:
        raise ValueError("argument --concurrency: has no effect with --rate; give one of them")
    if POLICIES[given.policy].by_lab and (given.connections > 1 or given.target.startswith(DNS)):
        raise ValueError(
            f"argument --policy: {given.policy} has one connection to each address that you list; "
            "leave --connections out, and a name server"
        )
    given.concurrency = given.concurrency or 1
    if given.calls is None and given.duration is None:
        given.calls = DEFAULT_CALLS


def _policies_and_options() -> str:
    lines = ["policies and their options:"]
    for name, policy in POLICIES.items():
        lines.append(f"  {name}: {policy.meaning}")
        lines += [
            f"      {option}: {field.description}" for option, field in policy.options.model_fields.items()
        ]
    return "\n".join(lines)


def _service_config(given: argparse.Namespace) -> str | None:
    """Return the service config as JSON. Raises ValueError with a message for the user for a bad option.

    None where a control plane says how to balance.
    """
    if given.target.startswith(XDS):
        if given.policy != DEFAULT_POLICY or given.option:
            raise ValueError("argument --policy: the control plane says how to balance; leave it out")
        return None
    retries = ClientRetries(given.retries + 1) if given.retries else None
    try:
        return service_config(
            given.policy,
            given.policy_options,
            health_check=given.health_check,
            wait_for_ready=given.wait_for_ready,
            retries=retries,
        )
    except ValidationError as error:
        problem = error.errors()[0]
        where = f" {problem['loc'][0]}={json.dumps(problem['input'])}" if problem["loc"] else ""
        message = problem["msg"].removeprefix("Value error, ")
        raise ValueError(f"argument --option:{where} for {given.policy}: {message}") from error


def _option(policy: str, text: str) -> tuple[str, object]:
    name, equals, value = text.partition("=")
    known = list(POLICIES[policy].options.model_fields)
    if not equals:
        raise ValueError(f"argument --option: {text!r} is not NAME=VALUE")
    if name not in known:
        nearest = difflib.get_close_matches(name, known, 1)
        hint = f"; did you mean {nearest[0]}?" if nearest else f"; it takes {', '.join(known) or 'none'}"
        raise ValueError(f"argument --option: {policy} has no option {name!r}{hint}")
    try:
        return name, json.loads(value)  # true, 10, 0.5
    except json.JSONDecodeError:
        return name, value


def _target(text: str) -> str:
    try:
        resolver_target(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    return text


def _ca_certificates(text: str) -> str:
    try:
        return read_ca_certificates(Path(text))
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _whole_number(minimum: int, maximum: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not text.isdecimal() or not minimum <= int(text) <= maximum:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from {minimum} to {maximum}")
        return int(text)

    return parse


def _number(above: float, maximum: float) -> Callable[[str], float]:
    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = above
        if not above < value <= maximum:  # which NaN is not, either
            raise argparse.ArgumentTypeError(f"{text!r} is not a number above {above:g}, at most {maximum:g}")
        return value

    return parse


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    name, value = name.strip().lower(), value.strip()
    if not colon or not re.fullmatch(r"[0-9a-z_.-]+", name) or not re.fullmatch(r"[\x20-\x7e]*", value):
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME:VALUE in ASCII")
    if name.startswith(("grpc-", OWN_HEADERS)) or name.endswith("-bin"):
        raise argparse.ArgumentTypeError(
            f"{name!r} cannot be set: names with grpc- are gRPC's, those with {OWN_HEADERS} the driver's, "
            "and those with -bin have bytes"
        )
    return name, value
