"""results/README.md knows every column, every field of a cell and every metric."""

import json
import re
from fnmatch import fnmatch
from pathlib import Path

import pytest

import harness
from harness.metrics import METRICS
from harness.metrics_events import EVENT_METRICS
from harness.tables import REPLICA_COLUMNS
from lb.rows import MESSAGE_COLUMNS, REQUEST_COLUMNS
from tests.unit.right.invented import GOLDEN

README = (Path(harness.__file__).parent.parent / "results" / "README.md").read_text()
# Names in code marks; "first ... last" of a range stands for what lies between.
NAMES = set(re.findall(r"`([^`]+)`", README)) | {f"share.replica-{number}" for number in range(8)}


@pytest.mark.parametrize("metric", METRICS)
def test_every_metric_is_explained(metric):
    assert any(fnmatch(metric, name) for name in NAMES)


def test_every_name_of_a_metric_exists():
    groups = {name.partition(".")[0] for name in METRICS if "." in name} | {"event*"}
    dotted = {name for name in NAMES if name.partition(".")[0] in groups and "." in name}
    for name in dotted:
        assert any(fnmatch(metric, name) for metric in METRICS), name


@pytest.mark.parametrize("column", {**REQUEST_COLUMNS, **MESSAGE_COLUMNS, **REPLICA_COLUMNS})
def test_every_column_is_explained(column):
    assert column in NAMES


@pytest.mark.parametrize("field", json.loads((GOLDEN / "cells/sticky.1/cell.json").read_text()))
def test_every_field_of_a_cell_is_explained(field):
    assert field in NAMES


@pytest.mark.parametrize("name", EVENT_METRICS)
def test_every_metric_of_an_event_is_explained_by_its_own_name(name):
    assert f"event*.{name}" in NAMES


def test_every_field_of_an_event_is_explained(summaries):
    event = summaries["killed"]["arms"]["sticky"]["repeats"][0]["events"][0]
    assert event["effects"]
    for field in {**event, **event["effects"][0]}.keys() - EVENT_METRICS.keys():
        assert field in NAMES, field


def test_every_field_of_an_arm_is_explained(summaries):
    groups = {name.partition(".")[0] for name in METRICS} | {"route", "policy", "error_shares"}
    for arm in summaries["swept"]["arms"].values():
        for field in arm.keys() - groups:
            assert field in NAMES, field
