"""How one command is to be carried out, apart from what the experiment says."""

from dataclasses import dataclass, field
from pathlib import Path

from harness.errors import UserError, did_you_mean

TESTBEDS = ("local", "docker", "external")


@dataclass(frozen=True)
class LoadOptions:
    """Who makes the load: `processes` on this machine, and `expect_workers` started by hand elsewhere.

    Those report to a master that listens on `master_bind_host`:`master_bind_port` (Locust's own names). They
    must know the secret in `secret_file`; None: it is in the environment, or the run makes one.
    """

    processes: int = 1
    expect_workers: int = 0
    master_bind_host: str = "127.0.0.1"
    master_bind_port: int = 5557
    secret_file: Path | None = None

    @property
    def distributed(self) -> bool:
        """Whether there is more than one process that makes calls, or one elsewhere."""
        return self.processes > 1 or self.expect_workers > 0


@dataclass(frozen=True)
class ExternalOptions:
    """What the testbed `external` is pointed at, all of it running already.

    `target`: "host:port" of a proxy; `replicas`: "host:port" each, called directly; `arm`: the one whose
    policy the proxy has, None where the experiment leaves no choice. `tls`: calls to it are encrypted, `ca`
    the file with the authority's certificate (None: those that gRPC brings along).
    """

    target: str | None = None
    tls: bool = False
    ca: Path | None = None
    replicas: tuple[str, ...] = ()
    arm: str | None = None


@dataclass(frozen=True)
class RunOptions:
    """What the command line adds to an experiment.

    `overrides` (dotted field name -> value, as `workload.rate_per_s`) are already part of the experiment
    that comes with these options; they are here to be recorded in the run's manifest. `testbed`: one of
    TESTBEDS; `external` is looked at with that one alone.
    """

    results: Path = Path("results")
    web: bool = False
    web_port: int = 8089
    quiet: bool = False
    overrides: dict[str, object] = field(default_factory=dict)
    testbed: str = "local"
    load: LoadOptions = field(default_factory=LoadOptions)
    external: ExternalOptions = field(default_factory=ExternalOptions)


def confirm_testbed(testbed: str, external: ExternalOptions) -> None:
    """Raise UserError for a testbed that there is not, or one that the other options do not fit."""
    if testbed not in TESTBEDS:
        known = ", ".join(TESTBEDS)
        hint = did_you_mean(testbed, list(TESTBEDS))
        raise UserError(f"--testbed: {testbed!r} is not known; expected one of {known}{hint}")
    given = {
        "--target": external.target,
        "--tls": external.tls,
        "--ca": external.ca,
        "--replica": external.replicas,
        "--arm": external.arm,
    }
    options = [option for option, value in given.items() if value]
    if testbed != "external" and options:
        raise UserError(
            f"{options[0]}: only --testbed external takes it, not {testbed}; give both, or neither"
        )
    if testbed == "external" and not external.target and not external.replicas:
        raise UserError("--testbed external: expected --target HOST:PORT, --replica HOST:PORT or both")
