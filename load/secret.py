"""The secret that the master and the workers of one run share. Imports nothing but the standard library."""

import os
import secrets
from pathlib import Path

SECRET_VARIABLE = "LB_LAB_WORKER_SECRET"  # noqa: S105 - the variable's name
MIN_SECRET_LENGTH = 16  # an attacker who listens to the network can try short secrets until one fits


class SecretError(Exception):
    """There is no usable secret; the text says why, in one line."""


def new_secret() -> str:
    """Return a secret that nobody can guess."""
    return secrets.token_hex(32)


def read_secret(file: Path | None) -> str:
    """Return the secret in `file`; None: the one in the environment variable LB_LAB_WORKER_SECRET.

    White space around the secret is removed. Raises SecretError if there is none, or a short one.
    """
    if file is None:
        secret, place = os.environ.get(SECRET_VARIABLE, "").strip(), SECRET_VARIABLE
    else:
        secret, place = _content(file), str(file)
    if not secret:
        raise SecretError(f"{place}: there is no secret")
    if len(secret) < MIN_SECRET_LENGTH:
        raise SecretError(
            f"{place}: the secret has {len(secret)} characters; expected at least {MIN_SECRET_LENGTH}, "
            "as from openssl rand -hex 32"
        )
    return secret


def _content(file: Path) -> str:
    try:
        return file.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "no text"
        raise SecretError(f"{file}: the secret cannot be read ({reason})") from error
