"""docs/containers.md knows what docker-compose.yml asks of the environment, and with which defaults."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
ASKED = re.compile(r"\$\{(LB_LAB_\w+):-([^}]+)\}")


def test_every_variable_and_its_default_is_told() -> None:
    asked = dict(ASKED.findall((ROOT / "docker-compose.yml").read_text()))
    told = {}
    for line in (ROOT / "docs" / "containers.md").read_text().splitlines():
        if line.startswith("| `LB_LAB_"):
            names, _, defaults = line.strip("| ").split(" | ")
            values = [value.strip("`") for value in defaults.split(", ")]
            told |= dict(zip(re.findall(r"LB_LAB_\w+", names), values, strict=True))
    assert told == asked


def test_the_default_base_is_that_of_the_dockerfile() -> None:
    asked = dict(ASKED.findall((ROOT / "docker-compose.yml").read_text()))
    assert f"ARG BASE={asked['LB_LAB_BASE']}\n" in (ROOT / "Dockerfile").read_text()
