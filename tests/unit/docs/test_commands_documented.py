"""docs/commands.md names every command and every option."""

from pathlib import Path

import typer

from harness.cli.main import app

PAGE = Path(__file__).resolve().parents[3] / "docs" / "commands.md"
COMMANDS = typer.main.get_command(app).commands  # type: ignore[attr-defined]


def test_every_command_is_documented() -> None:
    assert [command for command in COMMANDS if f"| `{command}" not in PAGE.read_text()] == []


def test_every_option_is_documented() -> None:
    options = {name for command in COMMANDS.values() for option in command.params for name in option.opts}
    text = PAGE.read_text()
    assert [name for name in options if name.startswith("--") and name not in text] == []
