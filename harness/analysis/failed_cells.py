"""Finds the cells in which every request failed, and how most of them failed. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from harness.metrics.facts import CellFacts
from harness.record.cell_record import CellRecord, FailureRecord
from harness.record.summary import FailedArm


def failed_arms(facts: Mapping[str, Sequence[CellFacts]], records: Sequence[CellRecord]) -> list[FailedArm]:
    """Return the arms with a cell in which every request failed, in the order of `facts`."""
    failures = {(record.arm, record.repeat): record.failures for record in records}
    found = []
    for arm, cells in facts.items():
        failed = [cell for cell in cells if cell.requests and sum(cell.errors.values()) == cell.requests]
        if not failed:
            continue
        code, message = _most_frequent(failure for cell in failed for failure in failures[arm, cell.repeat])
        found.append(
            FailedArm(
                arm=arm,
                repeats=[cell.repeat for cell in failed],
                requests=sum(cell.requests for cell in failed),
                code=code or Counter(failed[0].errors).most_common(1)[0][0],
                message=message,
            )
        )
    return found


def _most_frequent(failures: Iterator[FailureRecord]) -> tuple[str, str]:
    """Return the code and the message of most calls; two empty texts without any."""
    calls: Counter[tuple[str, str]] = Counter()
    for failure in failures:
        calls[failure.code, failure.message] += failure.calls
    return calls.most_common(1)[0][0] if calls else ("", "")
