"""A simulated run of another question ends with success, whatever the expectations would say."""

import json
from pathlib import Path

import pytest

import tests.simulator.kernels  # noqa: F401
from harness.cli.main import main


def test_a_run_with_another_skew_ends_with_success(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["sticky", "--testbed", "simulated", "--quick", "--duration", "0.5", "--quiet", "--no-plots"]
    assert main([*words, "--skew", "0", "--results", str(tmp_path)]) == 0
    assert "Simulated: Changed: --skew 0 instead of 1." in " ".join(capsys.readouterr().out.split())
    (manifest,) = tmp_path.glob("sticky/2*/manifest.json")
    assert json.loads(manifest.read_text())["changes"] == ["--skew 0 instead of 1"]
