"""All that is printed goes through two functions, which show what a terminal would obey."""

import ast
import io
import os

import pytest
from rich.table import Table

from harness.output.native import native_errors_hidden
from harness.output.safe_console import SafeConsole
from harness.output.safe_text import say
from harness.paths import ROOT

ESCAPE = "\x1b]0;owned\x07"


def calls_in(source: str) -> set[str]:
    """Return the names of the functions and classes that are called."""
    calls = [node.func for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    return {call.id for call in calls if isinstance(call, ast.Name)}


def test_nothing_else_prints() -> None:
    modules = set((ROOT / "harness").rglob("*.py")) - {ROOT / "harness" / "output" / "safe_text.py"}
    assert len(modules) > 100
    assert [path for path in modules if calls_in(path.read_text()) & {"print", "Console"}] == []


def test_a_line_is_shown_not_obeyed(capsys: pytest.CaptureFixture[str]) -> None:
    say(f"report: {ESCAPE}")
    say(f"error: {ESCAPE}", error=True)
    assert capsys.readouterr() == ("report: ␛]0;owned␇\n", "error: ␛]0;owned␇\n")


def test_what_native_code_writes_is_hidden_and_nothing_else(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ZeroDivisionError), native_errors_hidden():
        os.write(2, b"thread 'x' panicked")
        os.write(1, b"as ever\n")
        1 / 0  # noqa: B018
    say("error: in one line", error=True)
    assert capfd.readouterr() == ("as ever\n", "error: in one line\n")


def test_a_console_keeps_its_own_colours_only() -> None:
    file = io.StringIO()
    console = SafeConsole(file=file, force_terminal=True, color_system="standard", width=100, highlight=False)
    table = Table(title=f"title {ESCAPE}", caption=ESCAPE)
    table.add_column(f"head {ESCAPE}")
    table.add_row(f"[red]cell {ESCAPE}[/]")
    console.print(table)
    console.print(f"[bold]line {ESCAPE}[/]")
    console.print(ESCAPE, markup=False, soft_wrap=True)
    written = file.getvalue()
    assert "\x1b[31m" in written  # red
    assert "\x1b]" not in written
    assert "\x07" not in written
    assert written.count("␛]0;owne") == 6  # rich itself drops the bell, and cuts what became wider
