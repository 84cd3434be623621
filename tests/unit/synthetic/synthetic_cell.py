"""One synthetic cell: FIFO replicas and seeded arrivals, as the experiment describes them."""

import csv
import itertools
import json
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.record.tables import REPLICA_COLUMNS, store_rows
from harness.spec.experiment import Arm, Experiment, Workload
from lb.rows import MESSAGE_COLUMNS, REQUEST_COLUMNS
from tests.unit.synthetic.handwritten_cell import write_events
from tests.unit.synthetic.synthetic_events import InventedEvents

MS = 1_000_000
STAYS = ("sticky", "pick_first", "ring_hash", "maglev", "source_address_hash")

Row = dict[str, Any]


class InventedCell:
    """Rows of all ledgers, by a model of the replicas; policies are sticky or take turns."""

    def __init__(
        self, experiment: Experiment, arm: Arm, workload: Workload, requests: int, *, seed: str
    ) -> None:
        self.arm, self.workload, self.requests = arm, workload, requests
        self.random = random.Random(seed)
        self.start_ns = int(0.2e9)
        self.end_ns = self.start_ns + int(workload.duration_s * 1e9)
        first = experiment.replicas.names
        self.events = InventedEvents(experiment.events_of(arm), first, self.start_ns, self.end_ns)
        names = self.events.names
        self.replicas = {name: f"127.0.0.1:{40_000 + n}" for n, name in enumerate(names)}
        self.groups = _groups(arm, first)
        self.pins: dict[tuple[int, int], str] = {}
        self.turn = itertools.count()
        self.work = {name: experiment.replicas.work_of(name) for name in names}
        self.free = {name: [0] * work.slots for name, work in self.work.items()}
        self.remembered: set[tuple[str, int, int]] = set()
        self.attempts: list[tuple[Row, str, str]] = []  # of which request, where, how it ended

    def write(self, folder: Path) -> int:
        """Write every ledger; return the number of requests planned in the window."""
        rows = self._rows()
        messages = [message for row in rows for message in _messages(row)]
        for stem, table, columns in (
            ("requests", rows, REQUEST_COLUMNS),
            ("messages", messages, MESSAGE_COLUMNS),
        ):
            _write_csv(folder / f"{stem}.csv", columns, table)
            store_rows(folder / f"{stem}.csv", folder / f"{stem}.parquet", columns)
        for name in self.replicas:
            own = [_replica_row(row, code) for row, replica, code in self.attempts if replica == name]
            _write_csv(folder / f"{name}.csv", REPLICA_COLUMNS, own)
        if self.arm.route == "envoy":
            lines = [json.dumps(self._access(row)) + "\n" for row in rows]
            (folder / "access.jsonl").write_text("".join(lines))
        if len(self.events.lines) > len(self.events.first):
            write_events(folder, self.events.log())
        return sum(self.start_ns <= row["planned_ns"] < self.end_ns for row in rows)

    def _rows(self) -> list[Row]:
        total = int(self.requests * self.end_ns / (self.end_ns - self.start_ns))
        times = sorted(self.random.randrange(self.end_ns) for _ in range(total))
        clients = self.workload.clients
        weights = [1 / (client + 1) ** self.workload.skew for client in range(clients)]
        calls = [0] * clients
        rows = []
        for planned_ns in times:
            client = self.random.choices(range(clients), weights)[0]
            rows.append(self._row(client, calls[client], planned_ns))
            calls[client] += 1
        return rows

    def _row(self, client: int, number: int, planned_ns: int) -> Row:
        lifetime_s = self.arm.session_lifetime_s
        calls = self.workload.calls
        row: Row = {
            "request_id": client * 10**9 + number,
            "client": client,
            "session": int(planned_ns / 1e9 / lifetime_s) if lifetime_s else 0,
            "method": self.random.choices(list(calls), list(calls.values()))[0],
            "planned_ns": planned_ns,
            "sent_ns": planned_ns + int(self.random.expovariate(1 / (0.3 * MS))),
            "connection": "1" if self.arm.connections == "shared" else str(client + 1),
        }
        most = self.arm.retries.attempts if self.arm.retries else 1
        for _ in range(most):
            row["replica"] = self._pick(client, row["session"], planned_ns)
            if self.events.broken(row["replica"], planned_ns):
                row |= {"replica": "", "code": "UNAVAILABLE"}
                continue
            row["code"] = self._code(row["replica"])
            self.attempts.append((row, row["replica"], row["code"]))
            if row["code"] == "OK":
                break
        return row | self._served(row, client)

    def _served(self, row: Row, client: int) -> Row:
        replica = row["replica"]
        if not replica:
            nothing = dict.fromkeys(("queue_ns", "service_ns", "in_flight", "messages"), 0)
            return {**nothing, "done_ns": row["sent_ns"] + MS, "cache": ""}
        work, slots = self.work[replica], self.free[replica]
        slot = slots.index(min(slots))
        queue_ns = max(0, slots[slot] - row["sent_ns"])
        service_ns = int(self.random.expovariate(1 / (work.service_time_ms.mean * MS)))
        service_ns = int(service_ns * work.slow_factor)
        cache = ""
        if work.cache:
            key = (replica, client, row["session"])
            cache = "hit" if key in self.remembered else "miss"
            self.remembered.add(key)
            service_ns = int(service_ns * (work.cache.hit_factor if cache == "hit" else 1))
        slots[slot] = row["sent_ns"] + queue_ns + service_ns
        streamed = row["method"] != "AddVideo"
        served = {
            "done_ns": row["sent_ns"] + queue_ns + service_ns + MS // 2,
            "queue_ns": queue_ns,
            "service_ns": service_ns,
            "in_flight": sum(end > row["sent_ns"] for end in slots),
            "messages": self.workload.messages_per_stream if streamed else 1,
            "cache": cache,
        }
        row.update(served)  # the attempts are told with it, too
        return served

    def _pick(self, client: int, session: int, at_ns: int) -> str:
        names = [name for name in self.replicas if self.events.there(name, at_ns)]
        if self.arm.policy in STAYS or self.arm.route == "envoy-l4":
            if self.pins.get((client, session)) not in names:
                self.pins[client, session] = names[(client + 7 * session) % len(names)]
            return self.pins[client, session]
        return names[next(self.turn) % len(names)]

    def _code(self, replica: str) -> str:
        work = self.work[replica]
        return work.fail_code if self.random.random() < work.fail_share + 0.004 else "OK"

    def _access(self, row: Row) -> Row:
        return {
            "request_id": str(row["request_id"]),
            "path": f"/video_service.VideoService/{row['method']}",
            "start": f"{1_790_000_000 + row['sent_ns'] / 1e9:.9f}",
            "duration_ms": (row["done_ns"] - row["sent_ns"]) // MS,
            "http": 200,
            "grpc": row["code"],
            "details": "via_upstream",
            "flags": None,
            "upstream": self.replicas.get(row["replica"]),
            "attempts": 1,
            "connection": row["client"] + 1,
            "upstream_connection": 7,
            "bytes_in": 60,
            "bytes_out": 70 * row["messages"],
            "cluster": "videos",
        }


def _groups(arm: Arm, names: Sequence[str]) -> dict[str, str]:
    """Replica -> target group, as the policy's options deal them out in order."""
    groups: Mapping[str, Mapping[str, int]] = arm.options.get("groups", {})
    dealt = [name for name, group in groups.items() for _ in range(group["replicas"])]
    return dict(zip(names, dealt, strict=False))


def _messages(row: Row) -> list[Row]:
    if row["method"] == "AddVideo":
        return []
    common = {"request_id": row["request_id"], "replica": row["replica"], "planned_ns": row["planned_ns"]}
    times = {"sent_ns": row["sent_ns"], "received_ns": row["done_ns"]}
    return [{**common, **times, "message": number} for number in range(row["messages"])]


def _replica_row(row: Row, code: str) -> Row:
    kept = ("request_id", "method", "queue_ns", "service_ns", "in_flight", "messages")
    times = {"arrived_ns": row["sent_ns"], "done_ns": row["done_ns"], "peer": "127.0.0.1:50000"}
    return {name: row[name] for name in kept} | times | {"code": code}


def _write_csv(path: Path, columns: Mapping[str, type], rows: Sequence[Row]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(columns), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
