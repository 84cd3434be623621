"""docs/commands.md names every command and every option."""

from pathlib import Path

import pytest
import typer

from harness.cli.main import app

PAGE = Path(__file__).resolve().parents[3] / "docs" / "commands.md"
COMMANDS = typer.main.get_command(app).commands  # type: ignore[attr-defined]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_documented(command: str) -> None:
    assert f"| `{command}" in PAGE.read_text()


@pytest.mark.parametrize(
    "option",
    sorted({name for command in COMMANDS.values() for option in command.params for name in option.opts}),
)
def test_every_option_is_documented(option: str) -> None:
    if option.startswith("--"):
        assert option in PAGE.read_text()
