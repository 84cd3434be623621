"""Which testbed a command means."""

from collections.abc import Callable
from pathlib import Path

from harness.options import RunOptions
from harness.spec import Experiment
from harness.testbed.base import Testbed
from harness.testbed.fit import confirm_fits
from harness.testbed.local import LocalTestbed


def find_testbed(experiment: Experiment, options: RunOptions) -> Callable[[Path], Testbed]:
    """What makes the testbed that `options` name, given the folder for logs of the whole run.

    Starts nothing. Raises UserError when the experiment cannot be had there, or what it stands on is not
    there. What each testbed needs is imported only with it.
    """
    confirm_fits(experiment, options.testbed)
    if options.testbed == "docker":
        from harness.testbed.docker import DockerTestbed
        from harness.testbed.docker_host import DockerHost

        host = DockerHost.find(options)
        return lambda logs: DockerTestbed(host, logs)
    if options.testbed == "external":
        from harness.testbed.external import ExternalTestbed

        return lambda logs: ExternalTestbed(logs, options.external)
    return LocalTestbed


def versions_of_testbed(options: RunOptions) -> dict[str, str]:
    """Part -> version of what the testbed adds to the lab's own parts."""
    if options.testbed != "docker":
        return {}
    from harness.testbed.docker_host import DockerHost

    return DockerHost.find(options).versions
