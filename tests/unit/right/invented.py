"""Invents run directories: the record of a run that never was, quick to make and the same every time.

`python -m tests.unit.right.invented DIR` writes the golden run again.
"""

import csv
import itertools
import json
import random
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harness.record import RunWriter, store_rows
from harness.tables import REPLICA_COLUMNS
from lb.rows import MESSAGE_COLUMNS, REQUEST_COLUMNS

GOLDEN = Path(__file__).parent.parent / "golden" / "good"
MS = 1_000_000

EXPERIMENT = """\
title: Sticky sessions overload a replica
question: A few clients send many requests. Where do they go when the balancer is sticky?
lesson: |
  A busy client drags all of its requests to one replica.

  Look at the share of the busiest replica.
replicas: {count: 4, slots: 2, service_time_ms: {distribution: exponential, mean: 10}}
workload:
  clients: 12
  rate_per_s: 600
  skew: 1.0
  calls: {AddVideo: 3, ListVideos: 1}
  warm_up_s: 0.2
  duration_s: 1
arms:
  sticky: {route: envoy, policy: sticky}
  round_robin: {route: envoy, policy: round_robin}
repeats: 2
expect:
  - {arm: round_robin, metric: spread.max_over_mean, at_most: 1.02}
  - {arm: sticky, metric: affinity.purity, at_least: 1.0}
  - {arm: sticky, metric: spread.max_over_mean, at_least: 1.4}
  - {arm: sticky, metric: latency_ms.p99, at_least_times: 1.5, of: round_robin}
"""


def invent_run(
    results: Path,
    experiment_yaml: str = EXPERIMENT,
    arms: Sequence[tuple[str, str, str]] = (
        ("sticky", "envoy", "sticky"),
        ("round_robin", "envoy", "round_robin"),
    ),
    *,
    repeats: int = 2,
    replicas: int = 4,
    clients: int = 12,
    requests: int = 300,
    seconds: float = 1.0,
    name: str = "sticky",
) -> Path:
    """Write a completed run below `results` and return its directory. arms: (name, route, policy)."""
    order = [(repeat, arm) for repeat in range(1, repeats + 1) for arm in arms]
    manifest = {
        "seed": 1,
        "versions": {"lb-lab": "0.1.0", "envoy": "1.40.0", "grpcio": "1.85.1"},
        "host": {"system": "Linux", "cpus": 2},
        "git_commit": None,
        "overrides": {},
        "cells": [{"arm": arm[0], "repeat": repeat} for repeat, arm in order],
    }
    writer = RunWriter.create(results, name, manifest, experiment_yaml)
    for place, (repeat, (arm, route, policy)) in enumerate(order):
        folder = writer.cell(arm, repeat)
        cell = _Cell(folder, route, policy, replicas, clients, requests, seconds, seed=f"{arm}.{repeat}")
        planned = cell.write()
        info = {
            "arm": arm,
            "repeat": repeat,
            "order": place,
            "route": route,
            "policy": policy,
            "status": "completed",
            "replicas": cell.replicas,
            "planned_requests": planned,
            "planned_rate_per_s": requests / seconds,
            "measure_start_ns": cell.start_ns,
            "measure_end_ns": cell.end_ns,
            "epoch_unix_ns": 1_790_000_000_000_000_000,
        }
        writer.write_cell(folder, info)
    writer.finish("completed")
    return writer.path


class _Cell:
    """One invented cell: FIFO replicas with two slots, seeded arrivals."""

    def __init__(
        self,
        folder: Path,
        route: str,
        policy: str,
        replicas: int,
        clients: int,
        requests: int,
        seconds: float,
        seed: str,
    ) -> None:
        self.folder, self.route, self.policy = folder, route, policy
        self.replicas = {f"replica-{n}": f"127.0.0.1:{40_000 + n}" for n in range(replicas)}
        self.clients, self.requests, self.seconds = clients, requests, seconds
        self.random = random.Random(seed)
        self.start_ns = int(0.2e9)
        self.end_ns = self.start_ns + int(seconds * 1e9)
        self.turn = itertools.count()

    def write(self) -> int:
        """Write every ledger; return the number of requests planned in the window."""
        rows, messages = self._rows()
        _write_csv(self.folder / "requests.csv", list(REQUEST_COLUMNS), rows)
        _write_csv(self.folder / "messages.csv", list(MESSAGE_COLUMNS), messages)
        store_rows(self.folder / "requests.csv", self.folder / "requests.parquet", REQUEST_COLUMNS)
        store_rows(self.folder / "messages.csv", self.folder / "messages.parquet", MESSAGE_COLUMNS)
        for name in self.replicas:
            _write_csv(
                self.folder / f"{name}.csv",
                list(REPLICA_COLUMNS),
                [_replica_row(row) for row in rows if row["replica"] == name],
            )
        if self.route == "envoy":
            lines = [json.dumps(self._access(row)) + "\n" for row in rows]
            (self.folder / "access.jsonl").write_text("".join(lines))
        return sum(self.start_ns <= row["planned_ns"] < self.end_ns for row in rows)

    def _pick(self, client: int) -> str:
        names = list(self.replicas)
        if self.policy in ("sticky", "pick_first"):
            return names[client % len(names)]
        return names[next(self.turn) % len(names)]

    def _rows(self) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        total = int(self.requests * (self.seconds + 0.2) / self.seconds)
        times = sorted(self.random.randrange(self.end_ns) for _ in range(total))
        weights = [1 / (client + 1) for client in range(self.clients)]
        free = {name: [0, 0] for name in self.replicas}
        calls = [0] * self.clients
        rows, messages = [], []
        for planned in times:
            client = self.random.choices(range(self.clients), weights)[0]
            replica = self._pick(client)
            sent = planned + int(self.random.expovariate(1 / (0.3 * MS)))
            slot = free[replica].index(min(free[replica]))
            queue = max(0, free[replica][slot] - sent)
            service = int(self.random.expovariate(1 / (10 * MS)))
            free[replica][slot] = sent + queue + service
            streamed = self.random.random() < 0.25
            row = {
                "request_id": client * 10**9 + calls[client],
                "client": client,
                "session": 0,
                "method": "ListVideos" if streamed else "AddVideo",
                "planned_ns": planned,
                "sent_ns": sent,
                "done_ns": sent + queue + service + MS // 2,
                "code": "OK" if self.random.random() > 0.004 else "UNAVAILABLE",
                "replica": replica,
                "queue_ns": queue,
                "service_ns": service,
                "in_flight": sum(end > sent for end in free[replica]),
                "messages": 3 if streamed else 1,
                "connection": str(client + 1),
                "cache": "",
            }
            calls[client] += 1
            rows.append(row)
            messages += [
                {
                    "request_id": row["request_id"],
                    "message": number,
                    "planned_ns": planned,
                    "sent_ns": sent,
                    "received_ns": row["done_ns"],
                    "replica": replica,
                }
                for number in range(3 * streamed)
            ]
        return rows, messages

    def _access(self, row: dict[str, Any]) -> dict[str, Any]:
        return {
            "request_id": str(row["request_id"]),
            "path": f"/video_service.VideoService/{row['method']}",
            "start": f"{1_790_000_000 + row['sent_ns'] / 1e9:.9f}",
            "duration_ms": (row["done_ns"] - row["sent_ns"]) // MS,
            "http": 200,
            "grpc": row["code"],
            "details": "via_upstream",
            "flags": None,
            "upstream": self.replicas[row["replica"]],
            "attempts": 1,
            "connection": row["client"] + 1,
            "upstream_connection": 7,
        }


def _replica_row(row: dict[str, Any]) -> dict[str, Any]:
    kept = ("request_id", "method", "queue_ns", "service_ns", "in_flight", "messages", "code")
    times = {"arrived_ns": row["sent_ns"], "done_ns": row["done_ns"], "peer": "127.0.0.1:50000"}
    return {name: row[name] for name in kept} | times


def _write_csv(path: Path, columns: list[str], rows: list[dict[str, Any]]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def write_golden(golden: Path) -> None:
    """Replace the golden run by the one invented now, with names and times that never change."""
    from harness.report import build_report

    shutil.rmtree(golden, ignore_errors=True)
    invented = invent_run(golden.parent / "new", requests=120)
    shutil.move(invented, golden)
    shutil.rmtree(golden.parent / "new")
    manifest = json.loads((golden / "manifest.json").read_text())
    manifest |= {
        "run": "20260101T000000Z-0000aa",
        "started_utc": "2026-01-01T00:00:00Z",
        "finished_utc": "2026-01-01T00:00:09Z",
    }
    (golden / "manifest.json").write_text(json.dumps(manifest, indent=2) + "\n")
    build_report(golden)
    shutil.rmtree(golden / "plots")
    (golden / "report.html").unlink()


if __name__ == "__main__":
    write_golden(Path(sys.argv[1]) if len(sys.argv) > 1 else GOLDEN)
