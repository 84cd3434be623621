"""The generated files are as current as the models and registries they are made from."""

import pytest

from docs.pages.__main__ import generated
from harness.paths import ROOT

GENERATED = generated()


@pytest.mark.parametrize("name", GENERATED)
def test_a_generated_file_is_current(name: str) -> None:
    assert (ROOT / name).read_text() == GENERATED[name], "run make schema"
