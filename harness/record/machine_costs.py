"""What this machine's client, proxy and network take besides queue and service, learned from earlier runs.

They are medians of stages in the calmest arm of each run. The stages have no queue and no service in them. A
run never sees its own. So nothing is fitted to the measurement that it predicts.
"""

from __future__ import annotations

import os
import statistics
from contextlib import suppress
from pathlib import Path

from pydantic import Field

from harness.errors import UserError
from harness.record.record_file import Record, read_record, there_is, write_record
from harness.record.summary import ArmSummary, Summary

REMEMBERED = 9  # runs: the median of them counts, so that one busy moment does not
CALM_QUEUE_MS = 1.0  # an arm is calm if half of its requests waited no longer for a slot


class RunCosts(Record):
    """The fixed costs seen in one run, milliseconds."""

    to_proxy: float = Field(description="late sending, and to the proxy; on other routes 0")
    to_replica: float = Field(description="proxy to replica; on other routes from the planned send")
    way_back: float = Field(description="from the replica to the client")


class MachineCosts(Record):
    """What was seen on this machine: "testbed/route" -> the newest runs."""

    seen: dict[str, list[RunCosts]] = Field(default={})


def costs_file() -> Path:
    """Return where the costs are kept: in the user's cache (XDG_CACHE_HOME, else ~/.cache)."""
    user = os.environ.get("XDG_CACHE_HOME")
    return (Path(user) if user else Path("~/.cache").expanduser()) / "lb-lab" / "costs.json"


def read_costs() -> MachineCosts:
    """Return what is known; nothing where the file is missing, damaged or of another version."""
    with suppress(UserError, OSError, RuntimeError):
        path = costs_file()
        if there_is(path):
            return read_record(path, MachineCosts)
    return MachineCosts()


def known_costs(costs: MachineCosts, testbed: str, route: str) -> RunCosts | None:
    """Return the medians over the remembered runs; None where there is none."""
    seen = costs.seen.get(f"{testbed}/{route}", [])
    if not seen:
        return None
    names = RunCosts.model_fields
    return RunCosts(**{name: statistics.median(getattr(one, name) for one in seen) for name in names})


def remember_costs(testbed: str, summary: Summary) -> None:
    """Add the costs of a run to what is known. A file that cannot be written is no reason to fail."""
    costs = with_run(read_costs(), testbed, summary)
    with suppress(OSError, RuntimeError):
        path = costs_file()
        path.parent.mkdir(parents=True, exist_ok=True)
        write_record(path, costs)


def with_run(costs: MachineCosts, testbed: str, summary: Summary) -> MachineCosts:
    """Return what is known, with the costs of one more run."""
    seen = dict(costs.seen)
    for route in dict.fromkeys(arm.route for arm in summary.arms.values()):
        found = _calmest([arm for arm in summary.arms.values() if arm.route == route])
        if found is not None:
            key = f"{testbed}/{route}"
            seen[key] = [*seen.get(key, []), found][-REMEMBERED:]
    return MachineCosts(seen=seen)


def _calmest(arms: list[ArmSummary]) -> RunCosts | None:
    calm = [found for arm in arms if (found := _costs_of(arm)) is not None]
    return min(calm, key=lambda one: one.to_proxy + one.to_replica + one.way_back, default=None)


def _costs_of(arm: ArmSummary) -> RunCosts | None:
    """Return the costs of an arm; None where its requests waited, failed or cannot be cut into stages."""

    def stage(name: str) -> float | None:
        return arm.metrics.get(f"stage_ms.{name}.p50")

    queue, late, back = stage("queue"), stage("late_sending"), stage("way_back")
    if queue is None or late is None or back is None or queue > CALM_QUEUE_MS or arm.errors:
        return None
    if any(cell.invalid_reasons for cell in arm.repeats):
        return None
    proxied, to_replica = stage("to_proxy"), stage("proxy_to_replica")
    if proxied is not None and to_replica is not None:
        return RunCosts(to_proxy=late + proxied, to_replica=to_replica, way_back=back)
    direct = stage("to_replica")
    return None if direct is None else RunCosts(to_proxy=0.0, to_replica=late + direct, way_back=back)
