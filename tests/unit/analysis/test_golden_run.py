"""A stored run: today's code must read it as the code that stored it did.

Where a change of a figure is meant: `python -m tests.unit.synthetic.synthetic_run`, and read the difference.
"""

import json
import statistics

import pytest

from harness.analysis.summary import summarise
from harness.record.record_file import SCHEMA
from harness.record.run_directory import read_run
from tests.unit.synthetic.synthetic_run import GOLDEN

pytestmark = pytest.mark.whole_run

SUMMARY = json.loads((GOLDEN / "summary.json").read_text())
STATED_FIELDS = {
    "route": str,
    "policy": str,
    "requests": int,
    "errors": dict,
    "replicas": dict,
    "spread": {"max_over_mean", "cv", "jain", "effective_replicas", "chi2_p"},
    "affinity": {"sessions", "purity", "breaks"},
    "latency_ms": {"p50", "p90", "p95", "p99", "p999", "max"},
    "latency_from_send_ms": {"p50", "p90", "p95", "p99", "p999", "max"},
    "planned_rate_per_s": float,
    "achieved_rate_per_s": float,
    "lag_ms": {"p99", "max"},
    "ledgers": {
        *("client", "envoy", "replica", "matched", "only_client", "only_envoy", "only_replica"),
        *("disagree", "reconciled"),
    },
}


def flat(value, at=""):
    if isinstance(value, dict | list):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        return {path: leaf for key, part in items for path, leaf in flat(part, f"{at}/{key}").items()}
    return {at: value}


def test_the_summary_of_the_stored_run_is_the_stored_summary():
    summary = summarise(read_run(GOLDEN)).model_dump(mode="json")
    found, stored = flat({"schema": SCHEMA, **summary}), flat(SUMMARY)
    assert found.keys() == stored.keys()
    for path, value in stored.items():
        assert found[path] == (pytest.approx(value) if isinstance(value, float) else value), path


@pytest.mark.parametrize("arm", SUMMARY["arms"])
def test_the_fields_that_users_read_are_there(arm):
    for entry in (SUMMARY["arms"][arm], *SUMMARY["arms"][arm]["repeats"]):
        for field, kind in STATED_FIELDS.items():
            if entry is not SUMMARY["arms"][arm] and field in ("route", "policy"):
                continue
            if isinstance(kind, set):
                assert kind <= entry[field].keys(), field
            else:
                assert isinstance(entry[field], kind), field


def test_totals_and_medians_over_the_repeats():
    arm = SUMMARY["arms"]["sticky"]
    repeats = arm["repeats"]
    assert len(repeats) == 3
    assert arm["requests"] == sum(one["requests"] for one in repeats)
    assert arm["replicas"]["replica-0"] == sum(one["replicas"]["replica-0"] for one in repeats)
    assert arm["ledgers"]["matched"] == sum(one["ledgers"]["matched"] for one in repeats)
    assert arm["spread"]["cv"] == statistics.median(one["spread"]["cv"] for one in repeats)
