"""Reads a YAML file into plain Python values with their line numbers, and writes such values.

Mappings, lists and scalars of YAML 1.2 are allowed. Anchors, merge keys and tags are refused. So a file
cannot grow in memory beyond its own size, and it cannot create objects.
"""

import re
import stat
import warnings
from collections.abc import Collection
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from ruamel.yaml.scalarstring import DoubleQuotedScalarString, LiteralScalarString

from harness.errors import UserError
from harness.output.safe_text import first_unsafe, visible

FILE_LIMIT_BYTES = 64 * 1024
DEPTH_LIMIT = 20  # an experiment nests four deep
NUMBER_LIMIT_CHARACTERS = 100

Where = tuple[str | int, ...]
_TOP_KEY = re.compile(r"(?![ \t#]|$)(\w*)")  # begins a line that belongs to no key before it
_CORE = "tag:yaml.org,2002:"


@dataclass(frozen=True)
class Tree:
    """The values of a file, and the line (from 1) of every key and list item."""

    value: dict[str, Any]
    lines: dict[Where, int] = field(default_factory=dict)

    def line(self, path: Where) -> int:
        """Return the line of `path`; if the file lacks it, the line of its nearest parent."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 1)


def dotted(path: Where) -> str:
    """Return a path in the notation of messages: `expect[0].metric`."""
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{step}"
    return text.removeprefix(".")


def read_tree(path: Path, label: str, *, stored: bool = False) -> Tree:
    """Return the mapping in a YAML file. Raises UserError: one line that begins with `label` and the line.

    `stored`: a run has stored the file. Control and bidirectional characters, which earlier versions allowed,
    are then no error: their pictures take their places.
    """
    return _tree(_read_text(path, label), label, stored=stored)


def _tree(text: str, label: str, *, stored: bool) -> Tree:
    try:
        node = _composed(text)
    except MarkedYAMLError as error:
        raise UserError(f"{label}:{_line_of(error)}: not valid YAML: {_one_line(error)}") from None
    except RecursionError:
        raise UserError(f"{label}: not valid YAML: nested too deeply") from None
    except Exception as error:  # on text that is not YAML, the parser raises many types of error
        raise UserError(f"{label}: not valid YAML: {_one_line(error)}") from None
    if node is None:
        raise UserError(f"{label}: the file is empty; expected an experiment")
    if not isinstance(node, MappingNode):
        raise UserError(
            f"{label}:{_line(node)}: expected a mapping (key: value lines), as in an experiment file"
        )
    lines: dict[Where, int] = {(): _line(node)}
    return Tree(_Builder(label, lines, stored).mapping(node, ()), lines)


def read_keys(path: Path, label: str, keys: Collection[str]) -> dict[str, Any]:
    """Return some keys of the mapping in a YAML file, without parsing the rest, which may have mistakes.

    Keys are missing that the file lacks, or writes in another way than at the begin of a line and without
    quotes. Raises UserError as read_tree does.
    """
    kept, shown = False, []
    for line in _read_text(path, label).split("\n"):
        if found := _TOP_KEY.match(line):
            kept = found[1] in keys
        shown.append(line if kept else "")  # empty lines keep the numbers of the others
    text = "\n".join(shown)
    return _tree(text, label, stored=False).value if text.strip() else {}


@lru_cache(maxsize=64)
def _composed(text: str) -> Node | None:
    """Return the parsed text. A command reads a file several times, and parsing takes longest."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        node: Node | None = YAML(typ="safe", pure=True).compose(text)
    return node


def dump_tree(value: dict[str, Any]) -> str:
    """Return `value` as YAML text; `read_tree` reads an equal value from it."""
    import io

    yaml = YAML(typ="rt")
    yaml.width = 100
    out = io.StringIO()
    yaml.dump(_styled(value), out)
    return out.getvalue()


class _Builder:
    """Turns parsed nodes into plain values, and writes their lines to `lines`."""

    def __init__(self, label: str, lines: dict[Where, int], stored: bool) -> None:
        self._label = label
        self._lines = lines
        self._stored = stored

    def mapping(self, node: MappingNode, path: Where) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = self._key(key_node, path)
            if key in result:
                first = self._lines[(*path, key)]
                raise self._error(key_node, f"key {key!r} is given twice (first on line {first})")
            self._lines[(*path, key)] = _line(key_node)
            result[key] = self._value(value_node, (*path, key))
        return result

    def _value(self, node: Node, path: Where) -> Any:
        if len(path) > DEPTH_LIMIT:
            raise self._error(node, "nested too deeply")
        if node.anchor is not None:
            raise self._error(node, f"anchors and aliases ('{node.anchor}') are not used in experiment files")
        if isinstance(node, MappingNode) and node.tag == f"{_CORE}map":
            return self.mapping(node, path)
        if isinstance(node, SequenceNode) and node.tag == f"{_CORE}seq":
            for index, item in enumerate(node.value):
                self._lines[(*path, index)] = _line(item)
            return [self._value(item, (*path, index)) for index, item in enumerate(node.value)]
        return self._scalar(node, path)

    def _key(self, node: Node, parent: Where) -> str:
        if isinstance(node, ScalarNode) and node.anchor is None:
            key = self._scalar(node, parent)
            if isinstance(key, str) and "\n" in key:
                raise self._error(node, f"key {key!r} has a line break; expected a name on one line")
            if isinstance(key, str):
                return key
        raise self._error(node, "a key is not plain text; expected a name (put it in quotes if it is one)")

    def _scalar(self, node: Node, path: Where) -> Any:
        kind, text = str(node.tag).removeprefix(_CORE), node.value
        if kind in ("str", "timestamp"):
            return self._text(node, text, path)
        if kind == "null":
            return None
        if kind == "bool":
            return text.lower() == "true"
        if kind in ("int", "float") and len(text) <= NUMBER_LIMIT_CHARACTERS:
            try:
                return _int(text) if kind == "int" else _float(text)
            except ValueError:
                return text  # the check of the field says what is wrong with it
        if kind in ("int", "float"):
            raise self._error(node, f"a number of {len(text)} characters; expected a shorter one")
        raise self._error(node, f"tag or merge key {str(node.tag)!r} is not used in experiment files")

    def _text(self, node: Node, text: str, path: Where) -> str:
        unsafe = first_unsafe(text)
        if unsafe is not None:
            if self._stored:
                return visible(text)
            where = f"{dotted(path)}: " if path else ""
            expected = "expected text without control and bidirectional characters"
            raise self._error(node, f"{where}{unsafe}; {expected}")
        return text

    def _error(self, node: Node, message: str) -> UserError:
        return UserError(f"{self._label}:{_line(node)}: {message}")


def _read_text(path: Path, label: str) -> str:
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise UserError(f"{label} is a folder; expected an experiment file (YAML)")
        if not stat.S_ISREG(status.st_mode):
            raise UserError(f"{label} is not a regular file; expected an experiment file (YAML)")
        if status.st_size > FILE_LIMIT_BYTES:
            raise UserError(f"{label} has {status.st_size} bytes; expected at most {FILE_LIMIT_BYTES}")
        return path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise UserError(f"{label}: no such file; expected an experiment file (YAML)") from None
    except UnicodeDecodeError:
        raise UserError(f"{label} is not text in UTF-8; expected an experiment file (YAML)") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"{label}: cannot be read: {reason}") from None


def _int(text: str) -> int:
    digits = text.replace("_", "")
    return int(digits, 0) if digits.lstrip("+-")[:2].lower() in ("0x", "0o", "0b") else int(digits)


def _float(text: str) -> float:
    return float(text.lower().replace("_", "").replace(".inf", "inf").replace(".nan", "nan"))


def _line(node: Node) -> int:
    return int(node.start_mark.line) + 1


def _line_of(error: MarkedYAMLError) -> int:
    mark = error.problem_mark or error.context_mark
    return 1 if mark is None else int(mark.line) + 1


def _one_line(error: Exception) -> str:
    texts = [error.context, error.problem] if isinstance(error, MarkedYAMLError) else [str(error)]
    words = " ".join(str(text) for text in texts if text).split()
    return " ".join(words)[:200] or type(error).__name__


def _styled(value: Any) -> Any:
    if isinstance(value, dict):
        return {_styled(key): _styled(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_styled(item) for item in value]
    if not isinstance(value, str):
        return value
    lines = value.split("\n")
    if len(lines) > 1 and all(line.isprintable() and line == line.strip() for line in lines):
        return LiteralScalarString(value)
    return value if value.isprintable() else DoubleQuotedScalarString(value)
