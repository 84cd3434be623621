"""docs/policies.md documents every policy of every route."""

from pathlib import Path

import pytest

from harness.policies.registry import POLICIES_OF_ROUTE

PAGE = Path(__file__).resolve().parents[3] / "docs" / "policies.md"


@pytest.mark.parametrize(
    ("route", "name"), [(route, name) for route, policies in POLICIES_OF_ROUTE.items() for name in policies]
)
def test_every_policy_is_documented(route: str, name: str) -> None:
    policy = POLICIES_OF_ROUTE[route][name]
    _, _, rest = PAGE.read_text().partition(f"### `{name}`, route `{route}`\n")
    section = rest.partition("\n##")[0]
    assert policy.meaning[1:] in section
    assert policy.alb in section
    for option in policy.options.model_fields:
        assert f"| `{option}` |" in section
