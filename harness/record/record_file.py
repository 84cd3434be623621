"""Writes and reads the JSON files of a run directory: schema number, strict models, atomic replacement."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from harness.errors import UserError
from harness.spec.problems import nested_problem

SCHEMA = 3
# An earlier schema -> the last version of lb-lab that writes and reads it.
READ_BY = {1: "0.1", 2: "0.2"}


MAX_NUMBER, MAX_DIGITS = 2**62, 20


class Record(BaseModel):
    """A part of a file of the run directory: an unknown field or a value of another type is an error."""

    model_config = ConfigDict(
        extra="forbid", strict=True, validate_assignment=True, allow_inf_nan=False, defer_build=True
    )


SomeRecord = TypeVar("SomeRecord", bound=Record)


def there_is(path: Path) -> bool:
    """Return whether a file is at `path`.

    Raises UserError naming the path for anything else there. To read a pipe or a device might never end.
    """
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        if not path.is_symlink():
            return False
        found = "a link to nothing"
    except OSError as error:
        found = error.strerror or str(error)
    else:
        if stat.S_ISREG(mode):
            return True
        found = "a folder" if stat.S_ISDIR(mode) else "something that is no regular file"
    raise UserError(f"{path}: expected a file written by this lab, found {found}")


def own_folder(run: Path, name: str) -> Path:
    """Return the folder `name` of the run directory `run`, and make it if it is missing.

    Raises UserError for a link or a file in its place: the lab writes nothing outside of the run's folder.
    """
    folder = run / name
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        found = "a link" if folder.is_symlink() else "a file"
        raise UserError(
            f"{folder}: expected a folder of the run's own, found {found}; the lab writes only in the run's "
            f"folder: remove the {found.removeprefix('a ')}"
        )
    folder.mkdir(exist_ok=True)
    return folder


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """Give a file to write. A reader of `path` sees the old file or the new one, never half of one.

    A link at `path` is replaced, and what it leads to is left alone.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    temporary.unlink(missing_ok=True)
    try:
        with temporary.open("xb") as file:  # x: a link that appears there meanwhile is not followed
            yield file
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text, whole or not at all."""
    with whole_file(path) as file:
        file.write(text.encode())


def write_json(path: Path, value: object) -> None:
    """Write `value` as JSON, whole or not at all."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def write_record(path: Path, record: Record) -> None:
    """Write a file of the run directory: the schema number, then the fields of `record`."""
    write_json(path, {"schema": SCHEMA, **record.model_dump(mode="json")})


def is_absent(value: object) -> bool:
    """Return whether a field has no value: for fields that a writer leaves out then (`exclude_if`)."""
    return value is None


def is_empty(value: list[Any]) -> bool:
    """Return whether a list has nothing: for fields that a writer leaves out then (`exclude_if`)."""
    return not value


def parse_json(text: str | bytes) -> Any:
    """Return the content of a JSON text. Raises ValueError if it is not JSON or has a huge number."""
    try:
        return json.loads(text, parse_int=_whole_number)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _whole_number(text: str) -> int:
    # Tables have 64 bits for a number. The difference of two numbers has to fit, too.
    if len(text) > MAX_DIGITS or abs(int(text)) > MAX_NUMBER:
        raise ValueError(f"the number {text[:MAX_DIGITS]} is too large")
    return int(text)


def read_record(path: Path, model: type[SomeRecord]) -> SomeRecord:
    """Return what `write_record` wrote.

    Raises UserError naming file, field and value if the file has another schema or is damaged.
    """
    if not there_is(path):
        raise UserError(f"{path}: expected this file in a completed run, but there is none")
    try:
        content = parse_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: expected JSON written by this lab ({error})") from error
    return parse_record(str(path), without_schema(str(path), content), model)


def without_schema(where: str, content: object) -> dict[str, object]:
    """Return the fields of a JSON object without its schema number.

    Raises UserError, which begins with `where`, for anything but an object with the number SCHEMA.
    """
    schema = content.get("schema") if isinstance(content, dict) else None
    if not isinstance(content, dict) or type(schema) is not int:
        raise UserError(f"{where}: expected a JSON object with schema {SCHEMA}, found schema {schema!r}")
    if schema != SCHEMA:
        version = READ_BY.get(schema) or _writers_version(content)
        raise UserError(
            f"{where}: schema {schema} was written by lb-lab {version or 'of another version'}; install "
            f"{f'lb-lab {version}' if version else 'that version'} to read it, or run the experiment again"
        )
    return {name: value for name, value in content.items() if name != "schema"}


def _writers_version(content: Mapping[str, object]) -> object:
    """Return the version of the lab that a manifest names; None in other files."""
    versions = content.get("versions")
    return versions.get("lb-lab") if isinstance(versions, dict) else None


def parse_record(where: str, fields: Mapping[str, object], model: type[SomeRecord]) -> SomeRecord:
    """Return the record that `fields` of a JSON file describe.

    Defaults are for writers: a file has every field but those that a writer leaves out where they say nothing
    (`exclude_if`). Raises UserError, which begins with `where`.
    """
    for name, field in model.model_fields.items():
        if name not in fields and field.exclude_if is None:
            raise UserError(f"{where}: key '{name}' is missing; expected a file written by this lab")
    try:
        # As JSON: strictness then allows what JSON has no type for.
        return model.model_validate_json(json.dumps(fields))
    except ValidationError as error:
        raise UserError(f"{where}: {nested_problem(error, model.model_json_schema(), ()).message}") from error
