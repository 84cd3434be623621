"""Envoy's admin socket in containers needs a short path."""

from pathlib import Path

import pytest

from harness.errors import UserError
from harness.testbed.docker.fleet import confirm_socket_path


def test_a_path_that_is_too_long_is_one_line() -> None:
    confirm_socket_path(Path("/") / ("x" * 89))  # 1 + 89 + 1 + 16 = 107
    with pytest.raises(UserError, match="has 108 bytes, expected at most 107; set TMPDIR to a folder"):
        confirm_socket_path(Path("/") / ("x" * 90))
    with pytest.raises(UserError, match="108 bytes"):
        confirm_socket_path(Path("/") / ("é" * 45))
