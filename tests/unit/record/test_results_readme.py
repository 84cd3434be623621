"""results/README.md lists every column, field and metric, and agrees with the models."""

import re
from fnmatch import fnmatch
from pathlib import Path

import pytest

import harness
from docs.pages.results_readme import MODELS
from harness.metrics.event_metrics import EVENT_METRICS
from harness.metrics.registry import METRICS
from harness.record.event_log import LINES
from harness.record.tables import REPLICA_COLUMNS
from lb.rows import MESSAGE_COLUMNS, REQUEST_COLUMNS

README = (Path(harness.__file__).parent.parent / "results" / "README.md").read_text()
NAMES = set(re.findall(r"`([^`]+)`", README))  # names in code marks


def test_every_metric_is_explained():
    patterns = [name for name in NAMES if "*" in name]
    missing = {*METRICS} - NAMES
    assert [name for name in missing if not any(fnmatch(name, one) for one in patterns)] == []


@pytest.mark.parametrize("table", ["all", "events"])
def test_the_tables_of_metrics_are_made_from_the_registries(table):
    assert f"<!-- metrics: {table} -->\n| metric | unit | meaning |" in README


def test_every_name_of_a_metric_exists():
    groups = {name.partition(".")[0] for name in METRICS if "." in name} | {"event*"}
    dotted = {name for name in NAMES if name.partition(".")[0] in groups and "." in name}
    assert [name for name in dotted - {*METRICS} if not any(fnmatch(one, name) for one in METRICS)] == []


def test_every_column_is_explained():
    assert {*REQUEST_COLUMNS, *MESSAGE_COLUMNS, *REPLICA_COLUMNS} - NAMES == set()


def test_every_model_has_a_table():
    assert [name for name in [*MODELS, "Line"] if f"<!-- fields: {name} -->" not in README] == []


@pytest.mark.parametrize("model", [*MODELS.values(), *LINES.values()], ids=lambda model: model.__name__)
def test_every_field_is_described(model):
    for name, field in model.model_fields.items():
        assert field.description or name == "event", name
    for name in model.__annotations__:
        assert f"`{name}`" in README or name == "metrics", name


def test_every_metric_of_an_event_is_explained_by_its_own_name():
    assert {f"event*.{name}" for name in EVENT_METRICS} - NAMES == set()


def test_every_field_of_an_event_is_explained(summaries):
    event = summaries["killed"].model_dump()["arms"]["sticky"]["repeats"][0]["events"][0]
    assert event["effects"]
    for field in {**event, **event["effects"][0]}.keys() - EVENT_METRICS.keys():
        assert field in NAMES, field


def test_every_field_of_an_arm_is_explained(summaries):
    groups = {name.partition(".")[0] for name in METRICS} | {"route", "policy", "error_shares"}
    for arm in summaries["swept"].model_dump()["arms"].values():
        for field in arm.keys() - groups:
            assert field in NAMES, field
