"""The options of the command line that are not part of the experiment."""

from dataclasses import dataclass, field
from pathlib import Path

from harness.errors import UserError, did_you_mean

TESTBEDS = ("local", "docker", "external", "simulated")


@dataclass(frozen=True)
class LoadOptions:
    """The load processes: `processes` on this machine, and `expect_workers` that the user starts elsewhere.

    Those workers connect to a master on `master_bind_host`:`master_bind_port` (Locust's
    names). They must know the secret in `secret_file`; None: it is in the environment, or the run makes one.
    """

    processes: int = 1
    expect_workers: int = 0
    master_bind_host: str = "127.0.0.1"
    master_bind_port: int = 5557
    secret_file: Path | None = None

    @property
    def distributed(self) -> bool:
        """Whether several processes, or processes elsewhere, make the calls."""
        return self.processes > 1 or self.expect_workers > 0


@dataclass(frozen=True)
class ExternalOptions:
    """The servers of the testbed `external`, which already run.

    `target`: "host:port" of a proxy. `arm`: the arm that has the proxy's policy; None if the experiment has
    only one policy. `tls`: calls to `target` use TLS; `ca`: the file with the trusted CA certificates, None:
    those that come with gRPC. `replicas`: "host:port" each, called directly.
    """

    target: str | None = None
    tls: bool = False
    ca: Path | None = None
    replicas: tuple[str, ...] = ()
    arm: str | None = None


@dataclass(frozen=True)
class RunOptions:
    """What the command line adds to an experiment.

    `overrides` (dotted field name, such as `workload.rate_per_s` -> value) are already applied to the
    experiment; here they are for the run's manifest. `changes`: those of them that change the question, in
    words; its expectations are then not judged. `testbed`: one of TESTBEDS. `external`: only for the
    testbed `external`. `redo`: how often at most a disturbed cell is measured again. `plots`: whether
    the run's report has plots. `exports`: kinds of
    harness.report.exports. `dask`: the scheduler of the cluster that simulates; only for the testbed
    `simulated`.
    """

    results: Path = Path("results")
    web: bool = False
    web_port: int = 8089
    quiet: bool = False
    redo: int = 2
    plots: bool = True
    overrides: dict[str, float] = field(default_factory=dict)
    changes: tuple[str, ...] = ()
    testbed: str = "local"
    load: LoadOptions = field(default_factory=LoadOptions)
    external: ExternalOptions = field(default_factory=ExternalOptions)
    exports: tuple[str, ...] = ()
    dask: str | None = None


def confirm_testbed(testbed: str, external: ExternalOptions, dask: str | None = None) -> None:
    """Raise UserError for an unknown testbed, or for options that do not belong to it."""
    if testbed not in TESTBEDS:
        known = ", ".join(TESTBEDS) + did_you_mean(testbed, TESTBEDS)
        raise UserError(f"--testbed: {testbed!r} is not known; expected one of {known}")
    given: dict[str, object] = {"--target": external.target, "--tls": external.tls, "--ca": external.ca}
    given |= {"--replica": external.replicas, "--arm": external.arm}
    option = next((option for option, value in given.items() if value), None)
    if option and testbed != "external":
        raise UserError(f"{option}: only --testbed external takes it, not {testbed}; give both, or neither")
    if dask is not None and testbed != "simulated":
        raise UserError(f"--dask: only --testbed simulated takes it, not {testbed}; give both, or neither")
    if testbed == "external" and not external.target and not external.replicas:
        raise UserError("--testbed external: expected --target HOST:PORT, --replica HOST:PORT or both")
