"""The command line of `python -m lb.driver`."""

import argparse
import difflib
import json
from collections.abc import Callable
from pathlib import Path

from pydantic import ValidationError

from lb.ca_certificates import read_ca_certificates
from lb.calls import METHODS
from lb.policies import MAX_ATTEMPTS, POLICIES, ClientRetries, service_config
from lb.target import resolver_target

MAX_CALLS = 10_000_000
MAX_MS = 86_400_000
TARGETS = "HOST:PORT, or several: HOST:PORT,HOST:PORT,..., or dns://NAME_SERVER:PORT/NAME:PORT"


def parse(argv: list[str] | None) -> argparse.Namespace:
    """From the command line (None: this process's own), with `service_config` as JSON, `ca` as PEM text.

    A bad one ends in one line and exit code 2.
    """
    parser = _parser()
    given = parser.parse_args(argv)
    try:
        given.service_config = _service_config(given)
        if given.ca is not None and not given.tls:
            raise ValueError("argument --ca: trusts nobody without --tls; give both, or neither")
    except ValueError as error:
        parser.error(str(error))
    return given


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m lb.driver",
        description="Make N calls to VideoService and print which replica answered how many.",
        epilog=_policies_and_options(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("target", type=_target, help=TARGETS)
    add = parser.add_argument
    add("--policy", choices=list(POLICIES), default="pick_first", help="how the client picks (below)")
    add("--option", action="append", default=[], metavar="NAME=VALUE", help="an option of the policy (below)")
    add("-n", "--calls", type=_number(1, MAX_CALLS), default=100, metavar="N", help="(default 100)")
    add("--method", choices=METHODS, default="AddVideo", help="which call (default AddVideo)")
    add("--messages", type=_number(1, 10_000), default=3, metavar="N", help="messages a stream (default 3)")
    add("--clients", type=_number(1, 10_000), default=1, metavar="N", help="each a session (default 1)")
    add("--connections", type=_number(1, 100), default=1, metavar="N", help="channels a client (default 1)")
    add("--concurrency", type=_number(1, 10_000), default=1, metavar="N", help="calls at once (default 1)")
    add("--tls", action="store_true", help="encrypt the calls")
    add("--ca", type=_authority, metavar="FILE", help="whom to trust (PEM; default: public authorities)")
    add("--cookie-jar", action="store_true", help="send cookies back, as sticky proxies need")
    add("--deadline", type=_number(1, MAX_MS), default=10_000, metavar="MS", help="(default 10000)")
    add("--retries", type=_number(0, MAX_ATTEMPTS - 1), default=0, metavar="N", help="after UNAVAILABLE")
    add("--wait-for-ready", action="store_true", help="wait for a connection instead of failing")
    add("--health-check", action="store_true", help="leave out replicas that say they do not serve")
    add("--compression", choices=("none", "gzip", "deflate"), default="none", help="of requests")
    add("--keepalive", type=_number(1000, MAX_MS), metavar="MS", help="PING after so long a silence")
    return parser


def _policies_and_options() -> str:
    lines = ["policies, and their options:"]
    for name, policy in POLICIES.items():
        lines.append(f"  {name}: {policy.meaning}")
        lines += [
            f"      {option}: {field.description}" for option, field in policy.options.model_fields.items()
        ]
    return "\n".join(lines)


def _service_config(given: argparse.Namespace) -> str:
    """Raises ValueError, with a message for the user, for options that the policy does not take."""
    retries = ClientRetries(given.retries + 1) if given.retries else None
    options = dict(_option(given.policy, text) for text in given.option)
    try:
        return service_config(
            given.policy,
            options,
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


def _authority(text: str) -> str:
    try:
        return read_ca_certificates(Path(text))
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _number(least: int, most: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not text.isdecimal() or not least <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from {least} to {most}")
        return int(text)

    return parse
