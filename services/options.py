"""The command line of a replica."""

import argparse
import time
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from services.service_time import ServiceTime
from services.settings import Settings

CATALOGUE_SIZE_LIMIT = 1_000_000
AGE_LIMIT_MS = 86_400_000
SERVERS = ("asyncio", "threads", "threads_own_health")
GRACE_LIMIT_S = 3600.0


@dataclass(frozen=True)
class Tls:
    """The second port, for TLS: its address "host:port", and PEM files of certificate chain and key."""

    listen: str
    certificate: Path
    key: Path


@dataclass(frozen=True)
class Options:
    """The options of a replica: see the help texts of the command line."""

    name: str
    listen: str
    settings: Settings
    seed: int
    ledger: Path | None
    ready: Path | None
    epoch_ns: int
    catalogue_size: int
    tls: Tls | None
    max_connection_age_ms: int
    grace_s: float
    server: str


def parse(argv: list[str] | None) -> Options:
    """Return the options of a command line (None: this process's).

    On bad usage prints one line and exits with status 2.
    """
    parser = _parser()
    given = parser.parse_args(argv)
    try:
        settings = _settings(given)
        if given.server != "asyncio":
            settings.check_threads(settings.slots)
    except ValueError as error:
        parser.error(str(error))
    return Options(
        name=given.name,
        listen=given.listen,
        settings=settings,
        seed=given.seed,
        ledger=given.ledger,
        ready=given.ready,
        epoch_ns=given.epoch_ns,
        catalogue_size=given.catalogue_size,
        tls=_tls(parser, given),
        max_connection_age_ms=given.max_connection_age_ms,
        grace_s=given.grace_s,
        server=given.server,
    )


def _settings(given: argparse.Namespace) -> Settings:
    cache_sessions, cache_hit_factor = given.cache or (0, 1.0)
    outage_every_s, outage_for_ms = given.outage or (0.0, 0.0)
    return Settings(
        slots=given.slots,
        service_time=given.service_time,
        burn_cpu=given.burn_cpu,
        slow_factor=given.slow_factor,
        slow_share=given.slow_share,
        fail_share=given.fail_share,
        fail_code=given.fail_code,
        cache_sessions=cache_sessions,
        cache_hit_factor=cache_hit_factor,
        orca=given.orca,
        outage_every_s=outage_every_s,
        outage_for_ms=outage_for_ms,
        fail_after_headers=given.fail_after_headers,
        fail_after_work=given.fail_after_work,
    )


def _tls(parser: argparse.ArgumentParser, given: argparse.Namespace) -> Tls | None:
    values = {f"--tls-{name}": getattr(given, f"tls_{name}") for name in ("listen", "certificate", "key")}
    missing = [option for option, value in values.items() if value is None]
    if missing and len(missing) < len(values):
        parser.error(f"{', '.join(missing)} missing: expected all of {', '.join(values)}, or none")
    return None if missing else Tls(*values.values())


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="replica",
        description="One video server of the lab, serving until SIGTERM or SIGINT.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    option = parser.add_argument
    option("--name", type=_name, default="replica-0", help="what the replica calls itself")
    option("--listen", type=_address, default="127.0.0.1:50051", help="port 0: the kernel picks one")
    option(
        "--tls-listen", type=_address, metavar="ADDRESS", help="a second port, for TLS; needs the next two"
    )
    option("--tls-certificate", type=Path, metavar="FILE", help="PEM file of the certificate and its chain")
    option("--tls-key", type=Path, metavar="FILE", help="PEM file of the certificate's private key")
    option("--slots", type=int, default=2, help="calls worked on at once; the rest wait in line")
    option(
        "--service-time",
        type=_service_time,
        default="exponential:10",
        metavar="DISTRIBUTION:MEAN_MS",
        help="constant, exponential or lognormal, with its mean in milliseconds",
    )
    option("--burn-cpu", action="store_true", help="spend the service time computing instead of asleep")
    _misbehaviour(parser)
    option("--seed", type=int, default=1, help="of the service times, together with the name")
    option("--ledger", type=Path, metavar="FILE", help="where to write one CSV row per call")
    option("--ready", type=Path, metavar="FILE", help="written when serving: name, addresses and pid as JSON")
    option(
        "--epoch-ns",
        type=int,
        default=time.monotonic_ns(),
        metavar="N",
        help="the monotonic clock's value that counts as 0 in the ledger; unset: now",
    )
    option("--catalogue-size", type=_catalogue_size, default=1000, metavar="N", help="most added videos kept")
    option(
        "--max-connection-age-ms",
        type=_age_ms,
        default=0,
        metavar="N",
        help="end connections at about this age, their calls may finish; 0: never",
    )
    option(
        "--server",
        choices=SERVERS,
        default=SERVERS[0],
        help="asyncio; a thread a slot, health checks in line with the calls; or with a thread of their own",
    )
    option(
        "--grace-s",
        type=_grace_s,
        default=1.0,
        metavar="S",
        help="seconds that open calls may still take when the replica stops",
    )
    return parser


def _misbehaviour(parser: argparse.ArgumentParser) -> None:
    option = parser.add_argument
    option("--slow-factor", type=float, default=1.0, metavar="F", help="multiplies the service times")
    option("--slow-share", type=float, default=1.0, metavar="S", help="share of the calls that are so slow")
    option("--fail-share", type=float, default=0.0, metavar="S", help="share of the calls that fail")
    option("--fail-code", default="UNAVAILABLE", metavar="CODE", help="gRPC name of how they fail")
    option("--fail-after-headers", action="store_true", help="they fail after initial metadata")
    option("--fail-after-work", action="store_true", help="they take a slot and a service time, then fail")
    option(
        "--outage",
        type=_outage,
        metavar="EVERY_S:FOR_MS",
        help="go away every so many seconds, for so many milliseconds, breaking all connections",
    )
    option(
        "--cache",
        type=_cache,
        metavar="SESSIONS:HIT_FACTOR",
        help="keep the data of so many sessions; having it multiplies the service time",
    )
    option(
        "--orca",
        default="",
        metavar="measured|CPU[:RPS]",
        help="tell balancers the load: the slots' own, or a fixed utilisation (and calls a second)",
    )


def _name(text: str) -> str:
    if not text or not text.isascii() or not all(char.isalnum() or char in "-_." for char in text):
        raise argparse.ArgumentTypeError(f"{text!r}: expected letters, digits, '-', '_' or '.'")
    return text


def _address(text: str) -> str:
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r}: expected HOST:PORT, as 127.0.0.1:50051")
    return text


def _service_time(text: str) -> ServiceTime:
    try:
        return ServiceTime.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _outage(text: str) -> tuple[float, float]:
    every_s, _, for_ms = text.partition(":")
    try:
        return float(every_s), float(for_ms)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r}: expected EVERY_S:FOR_MS, as 5:300") from None


def _cache(text: str) -> tuple[int, float]:
    sessions, _, hit_factor = text.partition(":")
    try:
        return int(sessions), float(hit_factor)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r}: expected SESSIONS:HIT_FACTOR, as 100:0.2") from None


def _age_ms(text: str) -> int:
    if not text.isdecimal() or int(text) > AGE_LIMIT_MS:
        raise argparse.ArgumentTypeError(f"{text!r}: expected 0 to {AGE_LIMIT_MS} milliseconds")
    return int(text)


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
