"""The command line of a replica."""

import argparse
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from pydantic import ValidationError

from services.settings import NESTED, ReplicaSettings, problem_of

CATALOGUE_SIZE_LIMIT = 1_000_000
GRACE_LIMIT_S = 3600.0
# Defaults of the settings that a document may leave out.
DEFAULTS = {"slots": 2, "service_time_ms": {"distribution": "exponential", "mean": 10.0}}


@dataclass(frozen=True)
class Tls:
    """The second port, for TLS: its address "host:port", and PEM files of certificate chain and key."""

    listen: str
    certificate: Path
    key: Path


@dataclass(frozen=True)
class Options:
    """What a replica is started with: its settings, and its place: name, ports, files and clock."""

    name: str
    listen: str
    settings: ReplicaSettings
    seed: int
    ledger: Path | None
    ready: Path | None
    epoch_ns: int
    catalogue_size: int
    tls: Tls | None
    grace_s: float


def parse(argv: list[str] | None) -> Options:
    """Return the options of a command line (None: this process's).

    On bad usage prints one line and exits with status 2.
    """
    parser = _parser()
    given = parser.parse_args(argv)
    return Options(
        name=given.name,
        listen=given.listen,
        settings=_settings(parser, given),
        seed=given.seed,
        ledger=given.ledger,
        ready=given.ready,
        epoch_ns=given.epoch_ns,
        catalogue_size=given.catalogue_size,
        tls=_tls(parser, given),
        grace_s=given.grace_s,
    )


def _settings(parser: argparse.ArgumentParser, given: argparse.Namespace) -> ReplicaSettings:
    """Return the settings of the document, changed by the options for single settings."""
    own = {"slots": given.slots, "service_time_ms": given.service_time}
    document = DEFAULTS | given.settings | {key: value for key, value in own.items() if value is not None}
    try:
        return ReplicaSettings.model_validate(document)
    except ValidationError as error:
        parser.error(problem_of(error))


def _tls(parser: argparse.ArgumentParser, given: argparse.Namespace) -> Tls | None:
    values = {f"--tls-{name}": getattr(given, f"tls_{name}") for name in ("listen", "certificate", "key")}
    missing = [option for option, value in values.items() if value is None]
    if missing and len(missing) < len(values):
        parser.error(f"{', '.join(missing)} missing: expected all of {', '.join(values)}, or none")
    return None if missing else Tls(*values.values())


class _Help(argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """Shows defaults, and the text below the options as it is."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="replica",
        description="One video server of the lab, serving until SIGTERM or SIGINT.",
        formatter_class=_Help,
        epilog=_settings_in_words(),
    )
    option = parser.add_argument
    option("--name", type=_name, default="replica-0", help="name of the replica")
    option("--listen", type=_address, default="127.0.0.1:50051", help="port 0: the kernel picks one")
    option(
        "--tls-listen", type=_address, metavar="ADDRESS", help="a second port, for TLS; needs the next two"
    )
    option("--tls-certificate", type=Path, metavar="FILE", help="PEM file of the certificate and its chain")
    option("--tls-key", type=Path, metavar="FILE", help="PEM file of the certificate's private key")
    option(
        "--settings",
        type=_document,
        default={},
        metavar="JSON|FILE",
        help="how it works on calls (below); settings that are left out have their defaults",
    )
    option("--slots", type=int, metavar="N", help="slots alone; default: as in --settings, otherwise 2")
    option(
        "--service-time",
        type=_service_time,
        metavar="DISTRIBUTION:MEAN_MS",
        help="service time alone; default: as in --settings, otherwise exponential:10",
    )
    option(
        "--seed",
        type=int,
        default=1,
        help="of what the replica draws, together with its name; the lab's load brings the seed of its own "
        "service times",
    )
    option("--ledger", type=Path, metavar="FILE", help="where to write one CSV row per call")
    option(
        "--ready", type=Path, metavar="FILE", help="written when it serves: name, addresses and pid as JSON"
    )
    option(
        "--epoch-ns",
        type=int,
        default=time.monotonic_ns(),
        metavar="N",
        help="the monotonic clock's value that counts as 0 in the ledger; unset: now",
    )
    option("--catalogue-size", type=_catalogue_size, default=1000, metavar="N", help="most added videos kept")
    option(
        "--grace-s",
        type=_grace_s,
        default=1.0,
        metavar="S",
        help="seconds that open calls may still take when the replica stops",
    )
    return parser


def _settings_in_words() -> str:
    lines = ["settings, as keys of a JSON document:"]
    for name, field in ReplicaSettings.model_fields.items():
        keys = f" {{{', '.join(NESTED[name].model_fields)}}}" if name in NESTED else ""
        lines.append(f"  {name}{keys}: {field.description}")
    return "\n".join(lines)


def _name(text: str) -> str:
    if not text or not text.isascii() or not all(char.isalnum() or char in "-_." for char in text):
        raise argparse.ArgumentTypeError(f"{text!r}: expected letters, digits, '-', '_' or '.'")
    return text


def _address(text: str) -> str:
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r}: expected HOST:PORT, as 127.0.0.1:50051")
    return text


def _document(text: str) -> dict[str, Any]:
    """Return the settings document: the text itself if it begins with {, otherwise the file of that name."""
    try:
        document = json.loads(text if text.lstrip().startswith("{") else Path(text).read_bytes())
    except OSError as error:
        raise argparse.ArgumentTypeError(f"{text!r}: cannot read it: {error.strerror}") from None
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"not JSON: {error}") from None
    if not isinstance(document, dict):
        raise argparse.ArgumentTypeError(f"{text!r}: expected a JSON object")
    return document


def _service_time(text: str) -> dict[str, Any]:
    distribution, _, mean = text.partition(":")
    try:
        return {"distribution": distribution, "mean": float(mean)}
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r}: expected DISTRIBUTION:MEAN_MS, as exponential:10"
        ) from None


def _grace_s(text: str) -> float:
    try:
        grace_s = float(text)
    except ValueError:
        grace_s = -1
    if not 0 <= grace_s <= GRACE_LIMIT_S:
        raise argparse.ArgumentTypeError(f"{text!r}: expected 0 to {GRACE_LIMIT_S:g} seconds")
    return grace_s


def _catalogue_size(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= CATALOGUE_SIZE_LIMIT:
        raise argparse.ArgumentTypeError(f"{text!r}: expected 1 to {CATALOGUE_SIZE_LIMIT}")
    return int(text)
