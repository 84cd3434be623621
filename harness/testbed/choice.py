"""Finds the testbed that the command line names."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from harness.plan.run_options import RunOptions
from harness.spec.experiment import Experiment
from harness.testbed.base import Testbed
from harness.testbed.compatibility import confirm_compatible
from harness.testbed.local.testbed import LocalTestbed


@dataclass(frozen=True)
class FoundTestbed:
    """A testbed that is not started yet.

    make: creates it, given the folder for the logs of the whole run. versions: name -> version of the
    software that this testbed adds to the record (Docker, the image).
    """

    make: Callable[[Path], Testbed]
    versions: dict[str, str] = field(default_factory=dict)


def find_testbed(experiment: Experiment, options: RunOptions) -> FoundTestbed:
    """Return the testbed that `options` name.

    Raises UserError when the testbed cannot carry out the experiment, or lacks something that it needs.
    """
    # The imports are local: no run waits for the libraries of a testbed that it does not use.
    confirm_compatible(experiment, options.testbed)
    if options.testbed == "docker":
        from harness.testbed.docker.testbed import DockerHost, DockerTestbed

        host = DockerHost.find(options)
        return FoundTestbed(lambda logs: DockerTestbed(host, logs), host.versions)
    if options.testbed == "external":
        from harness.testbed.external.testbed import ExternalTestbed

        return FoundTestbed(lambda logs: ExternalTestbed(logs, options.external))
    return FoundTestbed(LocalTestbed)
