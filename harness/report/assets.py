"""The page's scripts and styles: files in assets/ that are written into the page itself."""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ASSETS = Path(__file__).parent / "assets"
_IMPORT = re.compile(r'^import \{[^}]*\} from "\./(\w+\.js)";\n', re.MULTILINE)
_COMMENTS = ("//", "/*", "*")  # how the lines of comments begin
_EXPORT = re.compile(r"^export ", re.MULTILINE)


@dataclass(frozen=True)
class Script:
    """One script of a page, and its hash as a content security policy wants it."""

    text: str
    csp_hash: str


@cache
def module_script(entry: str, folder: Path = ASSETS) -> Script:
    """Return one module that has the code of folder/<entry> and of all that it imports.

    A page that was opened from disk may not load a module from another file, so all of them stand in one.
    Imports, `export`, indents and the lines of comments are taken out, nothing else is changed: names at the
    top level must differ.
    """
    text = "".join(_code(name, folder) for name in _in_order(entry, (), folder))
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")
    return Script(text, f"'sha256-{digest}'")


@cache
def style(name: str, folder: Path = ASSETS) -> str:
    """Return the text of folder/<name>."""
    return (folder / name).read_text(encoding="utf-8")


def _in_order(name: str, importers: tuple[str, ...], folder: Path) -> list[str]:
    """Return the module and all that it imports, each once and before those that import it."""
    assert name not in importers, f"{name} imports itself by way of {importers[-1]}"
    found: dict[str, None] = {}
    for imported in _IMPORT.findall(style(name, folder)):
        found |= dict.fromkeys(_in_order(imported, (*importers, name), folder))
    return [*found, name]


def _code(name: str, folder: Path) -> str:
    code = _EXPORT.sub("", _IMPORT.sub("", style(name, folder)))
    lines = [line.strip() for line in code.splitlines()]
    kept = [line for line in lines if line and not line.startswith(_COMMENTS)]
    return "\n".join([f"// {name}", *kept, ""])
