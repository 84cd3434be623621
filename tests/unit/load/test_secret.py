"""The secret of a run, from a file or the environment."""

import re
from pathlib import Path

import pytest

from load.secret import SECRET_VARIABLE, SecretError, new_secret, read_secret


def test_white_space_around_it_does_not_belong_to_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "secret"
    file.write_text("\n the secret of the run \n")
    monkeypatch.setenv(SECRET_VARIABLE, "the secret of the shell\n")
    assert read_secret(file) == "the secret of the run"
    assert read_secret(None) == "the secret of the shell"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "FILE: there is no secret"),
        (b" \n", "FILE: there is no secret"),
        (
            b"fifteen letters",
            "FILE: the secret has 15 characters; expected at least 16, as from openssl rand",
        ),
        (b"\xff" * 32, "FILE: the secret cannot be read (no text)"),
        (None, "FILE: the secret cannot be read (No such file or directory)"),
    ],
)
def test_it_says_what_is_wrong(content: bytes | None, message: str, tmp_path: Path) -> None:
    file = tmp_path / "secret"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(SecretError, match="^" + re.escape(message.replace("FILE", str(file)))):
        read_secret(file)


@pytest.mark.parametrize("value", [None, "", " "])
def test_no_variable(value: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(SECRET_VARIABLE, raising=False)
    if value is not None:
        monkeypatch.setenv(SECRET_VARIABLE, value)
    with pytest.raises(SecretError, match=r"^LB_LAB_WORKER_SECRET: there is no secret$"):
        read_secret(None)


def test_a_new_one_is_long_and_another_each_time() -> None:
    first, second = new_secret(), new_secret()
    assert len(first) == len(second) == 64
    assert first != second
