"""docs/policies.md documents every policy of every route, and the generated pages are current."""

from pathlib import Path

import pytest

from harness.policies.page import page
from harness.policies.registry import POLICIES_OF_ROUTE
from harness.spec import page as file_page

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


def test_the_page_of_policies_is_current() -> None:
    assert PAGE.read_text() == page(), "run make schema"


def test_the_page_of_the_experiment_file_is_current() -> None:
    current = (PAGE.parent / "experiment-file.md").read_text()
    assert current == file_page.page(), "run make schema"
