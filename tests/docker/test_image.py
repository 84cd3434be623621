"""The image: its files, its user and its rights."""

import json

import docker
import pytest

pytestmark = pytest.mark.docker

INSPECT = """
import json, os, subprocess, sys
from pathlib import Path

def is_writable(folder):
    try:
        Path(folder, "new").write_text("")
        return True
    except OSError:
        return False

lists = subprocess.run([sys.executable, "run_experiment.py", "list"], capture_output=True, text=True)
folders = ("/lab", "/lab/harness", "/etc", "/tmp", "/var/tmp")
compiled = Path("services/__pycache__").glob("replica.*.pyc")
print(json.dumps({
    "user": [os.getuid(), os.getgid()],
    "files": sorted(path.name for path in Path().iterdir()),
    "written": [folder for folder in folders if is_writable(folder)],
    "lists": [lists.returncode, lists.stderr, "sticky " in lists.stdout],
    "compiled": len(list(compiled)),
}))
"""


def test_it_runs_unprivileged_on_a_read_only_root(engine: docker.DockerClient, image: str) -> None:
    output = engine.containers.run(
        image,
        ["python", "-c", INSPECT],
        read_only=True,
        tmpfs={"/tmp": ""},
        cap_drop=["ALL"],
        security_opt=["no-new-privileges:true"],
        network_mode="none",
        remove=True,
    )
    seen = json.loads(output)
    assert seen["user"] == [10001, 10001]
    assert seen["written"] == ["/tmp"]
    assert seen["lists"] == [0, "", True]
    assert seen["compiled"] == 1
    assert seen["files"] == [
        *("LICENSE", "envoy", "experiments", "harness", "lb", "load", "requirements.txt"),
        *("run_experiment.py", "services", "simulator"),
    ]


def test_its_health_check_and_labels(engine: docker.DockerClient, image: str) -> None:
    config = engine.images.get(image).attrs["Config"]
    assert config["User"] == "10001:10001"
    assert config["Healthcheck"]["Test"] == ["CMD", "python", "-m", "services.health_probe"]
    assert config["Labels"]["org.opencontainers.image.title"] == "lb-lab"
    assert not [name for name in config["Env"] if name.upper().startswith("PIP")]
