"""One synthetic cell: FIFO replicas and seeded arrivals, as the experiment describes them."""

import csv
import itertools
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.fields import connection_prefix, proxy_names
from harness.record.access_log import log_name
from harness.record.ledger_files import replica_csv, store_ledgers
from harness.record.tables import REPLICA_COLUMNS, store_rows
from harness.spec.experiment import Arm, Experiment, Workload
from lb.plan import Load, Phase, open_loop
from lb.rows import MESSAGE_COLUMNS, REQUEST_COLUMNS
from tests.unit.synthetic.access_lines import access_line
from tests.unit.synthetic.handwritten_cell import write_events
from tests.unit.synthetic.synthetic_events import InventedEvents

MS = 1_000_000
WAY_NS = 200_000  # from the client to a replica, and back
NOTHING = dict.fromkeys(("queue_ns", "service_ns", "in_flight", "messages"), 0) | {"cache": ""}
STAYS = ("sticky", "pick_first", "ring_hash", "maglev", "source_address_hash")

Row = dict[str, Any]


class InventedCell:
    """Rows of all ledgers, by a model of the replicas; policies are sticky or take turns."""

    def __init__(
        self,
        experiment: Experiment,
        arm: Arm,
        workload: Workload,
        load: Load,
        *,
        seed: str,
        epoch_unix_ns: int,
    ) -> None:
        self.arm, self.workload, self.load = arm, workload, load
        self.epoch_unix_ns = epoch_unix_ns
        self.random = random.Random(seed)
        self.start_ns = int(0.2e9)
        self.end_ns = self.start_ns + int(workload.duration_s * 1e9)
        first = experiment.replicas.names
        self.events = InventedEvents(experiment.events_of(arm), first, self.start_ns, self.end_ns)
        self.nodes = proxy_names(arm.proxies)
        names = self.events.names
        self.replicas = {name: f"127.0.0.1:{40_000 + n}" for n, name in enumerate(names)}
        self.groups = _groups(arm, first)
        self.pins: dict[tuple[int, int], str] = {}
        self.turn = itertools.count()
        self.work = {name: experiment.replicas.work_of(name) for name in names}
        self.free = {name: [0] * work.slots for name, work in self.work.items()}
        self.remembered: set[tuple[str, int, int]] = set()
        self.attempts: list[Row] = []  # that reached a replica, with what became of each

    @property
    def several_nodes(self) -> list[str]:
        """The nodes of a proxy that has several; of one: []."""
        return self.nodes if len(self.nodes) > 1 else []

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
            own = [_replica_row(one, self.arm.route) for one in self.attempts if one["replica"] == name]
            _write_csv(replica_csv(folder, name), REPLICA_COLUMNS, own)
        if self.arm.route == "envoy":
            for node in self.nodes:
                lines = [access_line(**self._access(row)) for row in rows if row["node"] == node]
                (folder / log_name(node)).write_text("".join(lines))
        store_ledgers(folder, self.replicas, self.several_nodes)
        if len(self.events.lines) > len(self.events.first):
            write_events(folder, self.events.log())
        return sum(self.start_ns <= row["planned_ns"] < self.end_ns for row in rows)

    def _rows(self) -> list[Row]:
        """The requests that the seed plans, in the order of their planned times."""
        rows = []
        for client in range(self.load.clients):
            phases: list[tuple[Phase, int, float, bool]] = [
                ("warm_up", 0, self.start_ns / 1e9, True),
                ("measure", self.start_ns, (self.end_ns - self.start_ns) / 1e9, False),
            ]
            calls = [
                (start_ns + call.at_ns, call.method)
                for phase, start_ns, duration_s, opens in phases
                for call in open_loop(self.load, client, phase, duration_s, opens)
            ]
            rows += [
                (planned_ns, client, number, method) for number, (planned_ns, method) in enumerate(calls)
            ]
        return [
            self._row(client, number, planned_ns, method)
            for planned_ns, client, number, method in sorted(rows)
        ]

    def _row(self, client: int, number: int, planned_ns: int, method: str) -> Row:
        lifetime_s = self.arm.session_lifetime_s
        node = self.nodes[client % len(self.nodes)]
        sent_ns = planned_ns + int(self.random.expovariate(1 / (0.3 * MS)))
        row: Row = {
            "request_id": client * 10**9 + number,
            "client": client,
            "session": int(planned_ns / 1e9 / lifetime_s) if lifetime_s else 0,
            "method": method,
            "planned_ns": planned_ns,
            "ready_ns": planned_ns,
            "sent_ns": sent_ns,
            "node": node,
            "connection": connection_prefix(node)
            + str(1 if self.arm.connections == "shared" else client + 1),
        }
        retries = self.arm.retries
        arrived_ns = sent_ns + WAY_NS
        for _ in range(retries.attempts if retries else 1):
            replica = self._pick(client, row["session"], planned_ns)
            row["attempts"] = row.get("attempts", 0) + 1
            row["upstream"] = self.replicas[replica]
            if self.events.broken(replica, planned_ns):
                failed_ns = arrived_ns + WAY_NS + self.random.randrange(MS)
                row |= {"replica": "", "code": "UNAVAILABLE", **NOTHING, "done_ns": failed_ns}
            else:
                row |= {"replica": replica, "code": self._code(replica), "arrived_ns": arrived_ns}
                row |= self._served(row, client)
                self.attempts.append(dict(row))
            arrived_ns = row["done_ns"] + WAY_NS
            if retries is None or row["code"] not in retries.on:
                break
        return row

    def _served(self, row: Row, client: int) -> Row:
        replica, arrived_ns = row["replica"], row["arrived_ns"]
        work, slots = self.work[replica], self.free[replica]
        slot = slots.index(min(slots))
        queue_ns = max(0, slots[slot] - arrived_ns)
        service_ns = int(self.random.expovariate(1 / (work.service_time_ms.mean * MS)))
        service_ns = int(service_ns * work.slow_factor)
        cache = ""
        if work.cache:
            key = (replica, client, row["session"])
            cache = "hit" if key in self.remembered else "miss"
            self.remembered.add(key)
            service_ns = int(service_ns * (work.cache.hit_factor if cache == "hit" else 1))
        slots[slot] = arrived_ns + queue_ns + service_ns
        streamed = row["method"] != "AddVideo"
        return {
            "finished_ns": arrived_ns + queue_ns + service_ns,
            "done_ns": arrived_ns + queue_ns + service_ns + WAY_NS,
            "queue_ns": queue_ns,
            "service_ns": service_ns,
            "in_flight": sum(end > arrived_ns for end in slots),
            "messages": self.workload.messages_per_stream if streamed else 1,
            "cache": cache,
        }

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
        """Envoy's row of a request, whose attempts it has all made."""
        start_ns, end_ns = row["sent_ns"] + WAY_NS // 2, row["done_ns"] - WAY_NS // 2
        broken = not row["replica"]
        return {
            "request_id": row["request_id"],
            "path": f"/video_service.VideoService/{row['method']}",
            "start_unix_ns": self.epoch_unix_ns + start_ns,
            "duration_ms": (end_ns - start_ns) // MS,
            "duration_us": (end_ns - start_ns) // 1000,
            "http": 200,
            "grpc": row["code"],
            "details": "upstream_reset_before_response_started" if broken else "via_upstream",
            "flags": "UF" if broken else "-",
            "upstream": row["upstream"],
            "attempts": row["attempts"],
            "connection": int(row["connection"].rpartition("/")[2]),
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


def _replica_row(attempt: Row, route: str) -> Row:
    kept = ("request_id", "method", "queue_ns", "service_ns", "in_flight", "messages", "code", "arrived_ns")
    peer = "127.0.0.1:50000" if route == "envoy" else attempt["connection"]
    return {name: attempt[name] for name in kept} | {"done_ns": attempt["finished_ns"], "peer": peer}


def _write_csv(path: Path, columns: Mapping[str, type], rows: Sequence[Row]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(columns), lineterminator="\n", extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
