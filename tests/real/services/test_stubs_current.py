"""The generated stubs in the repository belong to the protos."""

import subprocess
import sys
from pathlib import Path

from replica_process import ROOT


def test_generated_stubs_are_current(tmp_path: Path) -> None:
    outputs = [f"--{kind}_out={tmp_path}" for kind in ("python", "pyi", "grpc_python")]
    protos = sorted(str(path.relative_to(ROOT)) for path in ROOT.glob("services/*.proto"))
    command = [sys.executable, "-m", "grpc_tools.protoc", "-I.", *outputs, *protos]
    subprocess.run(command, cwd=ROOT, check=True)
    generated = sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*.py*"))
    assert generated == sorted(path.relative_to(ROOT) for path in ROOT.glob("services/*_pb2*.py*"))
    assert len(generated) == 3 * len(protos)
    for path in generated:
        assert (ROOT / path).read_text() == (tmp_path / path).read_text(), f"{path}: regenerate it"
