"""Files that the user names and the lab writes: `init FILE`, `--write FILE`, `--svg FILE`."""

import re
from pathlib import Path

from harness.errors import UserError
from harness.record.record_file import write_text


def confirm_new(path: Path, where: str) -> None:
    """Raise UserError if there is something at a path that the user named: the lab overwrites nothing.

    where: the option or command that named it.
    """
    if path.exists() or path.is_symlink():
        raise UserError(f"{where}: {path} is there already; name another file, or remove it first")


def experiment_name(path: Path, where: str) -> str:
    """Return the name of the experiment in a file. Raises UserError if no experiment can be called so."""
    named = re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,74}", path.stem)
    if named is None or path.suffix not in (".yaml", ".yml"):
        raise UserError(f"{where}: {path}: expected a file name of A-Z a-z 0-9 _ . - that ends in .yaml")
    return path.stem


def write_file(path: Path, text: str, where: str) -> None:
    """Write a file, and the folders above it where they are missing. Raises UserError if that fails."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, text)
    except OSError as error:
        raise UserError(f"{where}: {path}: cannot be written ({error.strerror})") from error


def as_path(path: Path) -> str:
    """Return a path as the lab's command line takes it: a word with a / is a file, not a name."""
    return str(path) if "/" in str(path) else f"./{path}"
