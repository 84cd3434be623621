"""The registry as a whole: names, references, and unknown names."""

import pytest

from harness.errors import UserError
from harness.events.keys import OWN_KEYS
from harness.events.registry import EVENT_KINDS, FAMILIES, kind_of


def test_every_kind_is_known_by_its_name_once() -> None:
    assert [kind.name for family in FAMILIES for kind in family.KINDS] == list(EVENT_KINDS)
    assert all(kind_of(name) is kind for name, kind in EVENT_KINDS.items())
    assert all(kind.name == name for name, kind in EVENT_KINDS.items())


def test_kinds_speak_of_keys_and_kinds_that_there_are() -> None:
    for kind in EVENT_KINDS.values():
        assert set(kind.required) <= set(kind.keys) <= set(OWN_KEYS)
        assert kind.opposite is None or kind.opposite in EVENT_KINDS


def test_every_key_belongs_to_a_kind() -> None:
    assert {key for kind in EVENT_KINDS.values() for key in kind.keys} == set(OWN_KEYS)


def test_a_kind_of_another_version_is_one_line() -> None:
    with pytest.raises(UserError, match=r"no event 'melt'; it knows kill, stop, pause, .*, unlimit_cpu$"):
        kind_of("melt")
    with pytest.raises(UserError, match=r"no event 'partitio'; did you mean 'partition'\?$"):
        kind_of("partitio")
