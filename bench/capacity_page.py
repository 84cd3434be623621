"""Writes docs/capacity.md from measured points: python -m bench.capacity_page FILE.json > docs/capacity.md"""

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from bench.capacity_figures import (
    SHARE_TO_PLAN_WITH,
    Full,
    by_point,
    bytes_per_row,
    cores_needed,
    full_load,
    full_server,
    replicas_by_rate,
    size,
)
from bench.capacity_law import KINDS, LAG_LIMIT_MS, Spread, fit, residuals, spread, uses
from bench.capacity_points import CALM_CORES, USUAL_CLIENTS
from bench.capacity_words import (
    AFTERWORD,
    CLIENTS,
    INTRODUCTION,
    LAW,
    NAMES,
    NEEDED,
    POINTS,
    REPLICAS,
    ROWS,
    SUMMARY,
)

RATES_PER_S = (10_000, 100_000, 1_000_000)
GIB = 2**30
ROUND_ROWS = 10_000_000


def page(record: dict[str, Any]) -> str:
    """The whole page, as Markdown. `record`: as bench.capacity writes it."""
    points = record["points"]
    full = {"load": full_load(points)} | {kind: full_server(points, kind) for kind in ("envoy", "replica")}
    parts = [
        _introduction(record),
        _carried(full),
        _needed(full),
        _law(points),
        _replicas(points),
        _clients(points),
        _rows(points),
        _summaries(record),
        AFTERWORD,
        _points(points),
    ]
    return "\n".join(line for part in parts for line in ([part] if isinstance(part, str) else part))


def _introduction(record: dict[str, Any]) -> str:
    host, versions, points = record["host"], record["versions"], record["points"]
    others = spread(point["other_cores"] for point in points)
    return INTRODUCTION.format(
        cpus=host["cpus"],
        machine=f" ({record['machine']})" if record["machine"] else "",
        memory_gib=host["memory_bytes"] / GIB,
        python=versions["python"],
        envoy=versions["envoy"],
        grpcio=versions["grpcio"],
        points=len(points),
        others=_range(others, ".2f"),
        calm=CALM_CORES,
        lag_ms=LAG_LIMIT_MS,
    )


def _carried(full: dict[str, Full]) -> Iterator[str]:
    yield "| part | calls/s one process carries | cores it used | CPU a call, then | how far it was taken |"
    yield "|---|---|---|---|---|"
    for kind, found in full.items():
        us_per_call = found.cores.middle / found.calls_per_s.middle * 1e6
        yield (
            f"| {NAMES[kind]} | {_range(found.calls_per_s, ',.0f')} | {_range(found.cores, '.2f')} "
            f"| {us_per_call:.0f} us | {found.beyond} |"
        )


def _needed(full: dict[str, Full]) -> Iterator[str]:
    yield NEEDED.format(share=SHARE_TO_PLAN_WITH)
    yield "| calls/s | " + " | ".join(NAMES[kind] for kind in full) + " | all together |"
    yield "|---|" + "---|" * (len(full) + 1)
    for rate_per_s in RATES_PER_S:
        needed = [cores_needed(rate_per_s, found) for found in full.values()]
        needed.append((sum(filled for filled, _ in needed), sum(planned for _, planned in needed)))
        cells = " | ".join(f"{filled:,} / {planned:,}" for filled, planned in needed)
        yield f"| {rate_per_s:,} | {cells} |"


def _law(points: Sequence[dict[str, Any]]) -> Iterator[str]:
    yield LAW
    yield "| one process | calls/s | idle (a), cores | a call (b), us | a client (c), us/s | off the law |"
    yield "|---|---|---|---|---|---|"
    for kind in KINDS:
        yield from (_law_row(points, kind, alone) for alone in (False, True))


def _law_row(points: Sequence[dict[str, Any]], kind: str, alone: bool) -> str:
    found = uses(points, kind, alone=alone)
    law, rates = fit(found), [use.calls_per_s for use in found]
    off = residuals(law, found)
    a_client = f"{law.us_per_client:.0f}" if law.us_per_client else ""
    return (
        f"| {NAMES[kind]}, {'alone' if alone else 'in a cell'} | {min(rates):,.0f} to {max(rates):,.0f} "
        f"| {law.idle_cores:.3f} | {law.us_per_call:.0f} | {a_client} "
        f"| half within {median(map(abs, off)):.0%}, all {min(off):+.0%} to {max(off):+.0%} |"
    )


def _replicas(points: Sequence[dict[str, Any]]) -> Iterator[str]:
    yield REPLICAS
    yield "| calls/s of each replica | cores of one | replicas on one core |"
    yield "|---|---|---|"
    for rate_per_s, cores in replicas_by_rate(points, USUAL_CLIENTS).items():
        yield f"| {rate_per_s:g} | {_range(cores, '.3f')} | {1 / cores.middle:.0f} |"


def _clients(points: Sequence[dict[str, Any]]) -> Iterator[str]:
    yield CLIENTS
    yield (
        "| one process | memory, MiB | a client more, KiB | clients in 1 GiB (computed) "
        "| clients a core (computed) | open files | a client more |"
    )
    yield "|---|---|---|---|---|---|---|"
    for kind in KINDS:
        found, law = size(points, kind), fit(uses(points, kind, alone=False))
        in_memory = (1024 - found.mib) * 1024 / found.kib_per_client
        on_core = round(1e6 / law.us_per_client, -3)
        yield (
            f"| {NAMES[kind]} | {found.mib:.0f} | {found.kib_per_client:.0f} | {round(in_memory, -2):,.0f} "
            f"| {on_core:,.0f} | {found.files:.0f} | {found.files_per_client:.1f} |"
        )


def _rows(points: Sequence[dict[str, Any]]) -> Iterator[str]:
    yield ROWS
    yield f"| ledger | bytes a request | {ROUND_ROWS:,} requests (computed) |"
    yield "|---|---|---|"
    ledgers = bytes_per_row(points)
    for ledger, found in ledgers.items():
        yield f"| {ledger} | {_range(found, '.0f')} | {found.middle * ROUND_ROWS / 1e9:.1f} GB |"
    total = sum(found.middle for found in ledgers.values())
    yield f"| all | {total:.0f} | {total * ROUND_ROWS / 1e9:.1f} GB |"


def _summaries(record: dict[str, Any]) -> Iterator[str]:
    yield SUMMARY
    yield "| requests in the cell | ledgers on disk | seconds | CPU seconds | peak memory |"
    yield "|---|---|---|---|---|"
    for found in record.get("summaries", []):
        yield (
            f"| {found['requests']:,} | {found['disk_bytes'] / 1e9:.2f} GB | {found['seconds']:.1f} "
            f"| {found['cpu_s']:.1f} | {found['peak_mib'] / 1024:.2f} GiB |"
        )


def _points(points: Sequence[dict[str, Any]]) -> Iterator[str]:
    yield POINTS
    yield "| what | route | planned/s | clients | replicas | answered/s | cores of each | send lag p99, ms |"
    yield "|---|---|---|---|---|---|---|---|"
    for point, rounds in by_point(points):
        cores = ", ".join(
            f"{kind} {_range(spread(one['cores'][kind] for one in rounds), '.2f')}"
            for kind in KINDS
            if kind in point["cores"]
        )
        lag = _range(spread(one["lag_p99_ms"] for one in rounds), ".0f") if "lag_p99_ms" in point else ""
        planned = f"{point['rate_per_s']:,}" if point["rate_per_s"] else "all it answers"
        answered = spread(one["calls_per_s"] for one in rounds)
        yield (
            f"| {point['what']} | {point['route']} | {planned} | {point['clients']} | {point['replicas']} "
            f"| {_range(answered, ',.0f')} | {cores} | {lag} |"
        )
    yield ""


def _range(found: Spread, style: str) -> str:
    """Median (least to most); the median alone where they read the same."""
    middle, least, most = (format(value, style) for value in (found.middle, found.least, found.most))
    return middle if least == most else f"{middle} ({least} to {most})"


def main(source: str) -> None:
    """Print the page of that file."""
    sys.stdout.write(page(json.loads(Path(source).read_text())))


if __name__ == "__main__":
    main(*sys.argv[1:])
