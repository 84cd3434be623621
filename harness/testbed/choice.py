"""Which testbed a command means."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from harness.plan.run_options import RunOptions
from harness.spec.experiment import Experiment
from harness.testbed.base import Testbed
from harness.testbed.compatibility import confirm_fits
from harness.testbed.local.testbed import LocalTestbed


@dataclass(frozen=True)
class FoundTestbed:
    """What makes a testbed, given the folder for logs of the whole run; nothing is started before.

    versions: part -> version of what the testbed adds to the lab's own parts.
    """

    make: Callable[[Path], Testbed]
    versions: dict[str, str] = field(default_factory=dict)


def find_testbed(experiment: Experiment, options: RunOptions) -> FoundTestbed:
    """The testbed that `options` name.

    Raises UserError when the experiment cannot be had there, or what it stands on is not there. What each
    testbed needs is imported only with it.
    """
    confirm_fits(experiment, options.testbed)
    if options.testbed == "docker":
        from harness.testbed.docker.host import DockerHost
        from harness.testbed.docker.testbed import DockerTestbed

        host = DockerHost.find(options)
        return FoundTestbed(lambda logs: DockerTestbed(host, logs), host.versions)
    if options.testbed == "external":
        from harness.testbed.external.testbed import ExternalTestbed

        return FoundTestbed(lambda logs: ExternalTestbed(logs, options.external))
    return FoundTestbed(LocalTestbed)
