"""docs/containers.md lists the environment variables of docker-compose.yml and their defaults."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
VARIABLE = re.compile(r"\$\{(LB_LAB_\w+):-([^}]+)\}")


def test_every_variable_is_documented_with_its_default() -> None:
    defaults = dict(VARIABLE.findall((ROOT / "docker-compose.yml").read_text()))
    documented = {}
    for line in (ROOT / "docs" / "containers.md").read_text().splitlines():
        if line.startswith("| `LB_LAB_"):
            names, _, values = line.strip("| ").split(" | ")
            found = [value.strip("`") for value in values.split(", ")]
            documented |= dict(zip(re.findall(r"LB_LAB_\w+", names), found, strict=True))
    assert documented == defaults


def test_the_default_base_image_is_that_of_the_dockerfile() -> None:
    defaults = dict(VARIABLE.findall((ROOT / "docker-compose.yml").read_text()))
    assert f"ARG BASE={defaults['LB_LAB_BASE']}\n" in (ROOT / "Dockerfile").read_text()
