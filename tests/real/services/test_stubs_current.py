"""The generated stubs in the repository belong to the proto."""

import subprocess
import sys
from pathlib import Path

from replica_process import ROOT


def test_generated_stubs_are_current(tmp_path: Path) -> None:
    outputs = [f"--{kind}_out={tmp_path}" for kind in ("python", "pyi", "grpc_python")]
    command = [sys.executable, "-m", "grpc_tools.protoc", "-I.", *outputs, "services/video_service.proto"]
    subprocess.run(command, cwd=ROOT, check=True)
    generated = sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*.py*"))
    assert len(generated) == 3
    for path in generated:
        assert (ROOT / path).read_text() == (tmp_path / path).read_text(), f"{path}: regenerate it"
