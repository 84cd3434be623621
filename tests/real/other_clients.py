"""Programs of others that call the lab: grpcurl, ghz, h2load. A test without its program is skipped."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from lab_process import ROOT

# The environment variable that may have a program's path. Otherwise the program is looked for on the PATH.
VARIABLES = {"grpcurl": "GRPCURL", "ghz": "GHZ", "h2load": "H2LOAD"}


def path_with(program: str, folder: Path) -> str:
    """Return a PATH with the program: `folder` gets a link to it. Skips the test where it is missing."""
    variable = VARIABLES[program]
    found = shutil.which(os.environ.get(variable, program))
    if found is None:
        pytest.skip(f"no {program} on the PATH or in the environment variable {variable}")
    folder.mkdir(exist_ok=True)
    (folder / program).symlink_to(Path(found).resolve())
    return f"{folder}{os.pathsep}{os.environ['PATH']}"


def shell(commands: str, folder: Path = ROOT, **environment: str) -> str:
    """Run the lines of a shell and return what they print; fail if they fail."""
    # -u: a variable that nobody has set is an error, not an empty address.
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", commands],
        cwd=folder,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, ""), f"{commands}\n{done.stdout}{done.stderr}"
    return done.stdout


def served_by(output: str) -> set[str]:
    """Return the replicas that answers of GetVideos, as grpcurl prints them, name."""
    replicas = set(re.findall(r'"(?:servedBy|served_by)": "([^"]+)"', output))
    assert replicas, output
    return replicas
