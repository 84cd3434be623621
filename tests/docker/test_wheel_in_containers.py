"""The lab as a wheel in a fresh virtual environment: it builds its image from what is installed there."""

import json
import os
import subprocess
import sysconfig
import venv
from pathlib import Path

import docker
import pytest
from lab_wheel import build_wheel, pip

from harness.testbed.docker.engine import source_digest

pytestmark = pytest.mark.docker


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a virtual environment with the wheel. What it needs it takes from that of the tests."""
    folder = tmp_path_factory.mktemp("fresh") / "venv"
    venv.create(folder, with_pip=False, symlinks=True)
    (packages,) = folder.glob("lib/python3*/site-packages")
    # A path in a .pth file: the .pth files in that folder, which name the clone, are not read.
    (packages / "others.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    wheel = build_wheel(tmp_path_factory.mktemp("wheel"))
    pip("install", str(wheel), python=folder / "bin" / "python")
    return folder


def test_an_experiment_of_ones_own_runs_in_containers(
    engine: docker.DockerClient, installed: Path, tmp_path: Path
) -> None:
    def lab(*words: str) -> subprocess.CompletedProcess[str]:
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        return subprocess.run(
            [installed / "bin" / "lb-lab", *words],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=600,
        )

    assert lab("init", "my.yaml").returncode == 0
    options = ("--quick", "--no-prediction", "--redo", "0", "--warm-up", "0.2", "--duration", "1")
    done = lab("my.yaml", *options, "--testbed", "docker")
    assert done.returncode in (0, 3), done.stdout + done.stderr  # 3: a busy machine
    run = tmp_path / "results" / "my" / "latest"
    arms = json.loads((run / "summary.json").read_text())["arms"]
    assert set(arms) == {"sticky", "round_robin"}
    assert all(arm["ledgers"]["reconciled"] for arm in arms.values())
    image = json.loads((run / "manifest.json").read_text())["versions"]["image"]
    assert image != source_digest()  # it is not the clone's image
    found = engine.containers.run(
        f"lb-lab:src-{image}",
        ["python", "-c", "from harness.paths import EXPERIMENTS; print(EXPERIMENTS / 'sticky.yaml')"],
        network_mode="none",
        remove=True,
    )
    assert found.decode().strip() == "/lab/harness/data/experiments/sticky.yaml"
    engine.images.remove(f"lb-lab:src-{image}")
