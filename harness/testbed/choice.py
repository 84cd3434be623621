"""Which testbed a command means."""

from pathlib import Path

from harness.options import RunOptions
from harness.testbed.base import Testbed
from harness.testbed.local import LocalTestbed


def make_testbed(options: RunOptions, logs: Path) -> Testbed:
    """The testbed that `options` name, not entered yet; `logs`: the folder for logs of the whole run.

    What each needs is imported only with it.
    """
    if options.testbed == "docker":
        from harness.testbed.docker import DockerTestbed

        return DockerTestbed(options, logs)
    if options.testbed == "external":
        from harness.testbed.external import ExternalTestbed

        return ExternalTestbed(logs, options.external)
    return LocalTestbed(logs)
