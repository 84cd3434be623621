"""Replaces addresses and other identities by keyed hashes, so that a trace names nobody.

The key is drawn for each call unless the user gives one. With the same key, the same address has the same
hash in every trace; without it, nobody can tell the address from the hash.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from hashlib import blake2b
from pathlib import Path

import polars as pl

from harness.errors import UserError

KEY_VARIABLE = "LB_LAB_TRACE_KEY"
MIN_KEY_BYTES, MAX_KEY_BYTES = 16, 64  # BLAKE2b takes a key of at most 64 bytes (RFC 7693)
_REMEMBERED = 300_000  # hashes kept from one batch to the next


def trace_key(key_file: Path | None, environment: Mapping[str, str] = os.environ) -> bytes:
    """Return the key: of the file, else of the environment, else a new random one.

    Raises UserError for a key that is too short or too long, or a file that cannot be read.
    """
    if key_file is not None:
        try:
            return _checked(key_file.read_bytes().strip(), str(key_file))
        except OSError as error:
            raise UserError(f"--key-file: {key_file} cannot be read ({error.strerror})") from None
    given = environment.get(KEY_VARIABLE)
    return secrets.token_bytes(32) if given is None else _checked(given.encode(), f"${KEY_VARIABLE}")


def _checked(key: bytes, where: str) -> bytes:
    if not MIN_KEY_BYTES <= len(key) <= MAX_KEY_BYTES:
        raise UserError(
            f"{where}: a key of {len(key)} bytes; expected {MIN_KEY_BYTES} to {MAX_KEY_BYTES}, "
            "as `openssl rand -hex 16` prints"
        )
    return key


class Pseudonyms:
    """Keyed hashes of texts: 64 bits of BLAKE2b with a key (RFC 7693)."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._known: dict[str, int] = {}

    def of(self, text: str) -> int:
        """Return the hash of one text."""
        return int.from_bytes(blake2b(text.encode(), digest_size=8, key=self._key).digest(), "big")

    def column(self, texts: pl.Series) -> pl.Series:
        """Return the hashes (UInt64) of a column of texts; null for null."""
        distinct = texts.drop_nulls().unique()
        if len(self._known) + len(distinct) > _REMEMBERED:
            self._known.clear()
        names = distinct.to_list()
        hashes = []
        for name in names:
            found = self._known.get(name)
            if found is None:
                found = self._known[name] = self.of(name)
            hashes.append(found)
        return texts.replace_strict(
            distinct, pl.Series(hashes, dtype=pl.UInt64), default=None, return_dtype=pl.UInt64
        )
