"""Recounts every metric of one cell from its files."""

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import Any

import polars as pl

from tests.recount import arithmetic as a
from tests.recount.moments import STAGES, replica_rows, with_stages
from tests.recount.run_files import CellFiles, Row

Figures = dict[str, Any]
MS = 1e6
TOLD_CODES = ("UNAVAILABLE", "DEADLINE_EXCEEDED", "INTERNAL", "CANCELLED")
LATENCIES = (500, 900, 950, 990, 999, 1000)


def recount_cell(cell: CellFiles) -> Figures:
    """Return metric -> value of one cell, by the names of results/README.md; counts of the cell besides."""
    measured = cell.measured.sort("planned_ns")
    rows = measured.to_dicts()
    answered = [row for row in rows if row["replica"]]
    figures: Figures = {}
    figures |= _outcomes(cell, rows)
    figures |= _spread(cell, answered)
    figures |= _sessions(cell, answered)
    figures |= _streams(cell, rows)
    figures |= _attempts(cell, rows)
    figures |= _latencies(cell, rows)
    figures |= _stages(cell)
    figures |= _endpoints(cell)
    figures |= _cpu(cell, len(rows))
    return figures


def _cpu(cell: CellFiles, requests: int) -> Figures:
    """Return the CPU time a request of the parts, in microseconds."""
    moments: dict[str, list[tuple[int, int]]] = {}
    for row in cell.usage:
        moments.setdefault(row["part"], []).append((int(row["t_ns"]), int(row["cpu_ns"])))
    instants = [at for at, _ in moments.get("load", [])]
    begin = max((at for at in instants if at <= cell.start_ns), default=min(instants, default=0))
    end = min((at for at in instants if at >= cell.end_ns), default=max(instants, default=0))
    cores: dict[str, float] = {}
    for part, sampled in moments.items():
        # Parts are sampled one after another, every half second: a tenth of a second tells the rounds apart.
        used = [cpu for at, cpu in sampled if begin - 10**8 <= at <= end + 10**8]
        if len(used) > 1 and end > begin:
            cores[part] = sum(max(0, two - one) for one, two in pairwise(used)) / (end - begin)

    def each(*parts: str) -> float | None:
        if "load" not in cores or not requests:
            return None
        return sum(cores[part] for part in parts) * cell.seconds * 1e6 / requests

    replicas = [part for part in cores if part.startswith("replica-")]
    return {
        "cpu.clients_us_per_request": each("load"),
        "cpu.proxy_us_per_request": each(*(part for part in cores if part.startswith("envoy"))),
        "cpu.replicas_us_per_request": each(*replicas),
        "cpu.all_us_per_request": each(*cores),
    }


def _outcomes(cell: CellFiles, rows: Sequence[Row]) -> Figures:
    codes = Counter(row["code"] for row in rows if row["code"] != "OK")
    total = len(rows)
    good_in_time = sum(row["code"] == "OK" and cell.start_ns <= row["done_ns"] < cell.end_ns for row in rows)
    sent = cell.requests.filter(
        pl.col("sent_ns").is_between(cell.start_ns, cell.end_ns, closed="left")
    ).height
    planned = cell.record["planned_requests"] if cell.record["planned_rate_per_s"] is not None else None
    return {
        "requests": total,
        "errors": dict(codes),
        "error_share": sum(codes.values()) / total if total else None,
        **{f"error_shares.{code}": codes[code] / total if total else None for code in TOLD_CODES},
        "goodput_per_s": good_in_time / cell.seconds,
        "unsent_requests": None if planned is None else planned - total,
        "planned_rate_per_s": None if planned is None else planned / cell.seconds,
        "achieved_rate_per_s": sent / cell.seconds,
        "longest_gap_ms": longest_gap_ms(rows, rows, cell.end_ns),
        **_changing_rate(cell, rows),
    }


def _changing_rate(cell: CellFiles, rows: Sequence[Row]) -> Figures:
    """Return the knee and the recovery of a cell whose planned rate changes."""
    rates = cell.record.get("planned_rates_per_s", [])
    found: Figures = {"recovery_ms": None, "knee_per_s": None}
    widths = (10.0**power * step for power in range(-3, 5) for step in (1, 2, 5))
    width = next(one for one in widths if one * 80 >= cell.seconds * (1 - 1e-9))
    if len(rates) != math.ceil(round(cell.seconds / width, 6)):
        return found
    since = {id(row): (row["planned_ns"] - cell.start_ns) / 1e9 for row in rows}
    took = {id(row): row["done_ns"] - row["planned_ns"] for row in rows}
    early = sorted(took[id(row)] for row in rows if row["code"] == "OK" and since[id(row)] < cell.seconds / 8)
    if not early:
        return found
    usual = early[math.ceil(len(early) * 95 / 100) - 1]
    counts, lates = Counter[int](), Counter[int]()
    for row in rows:
        step = min(int(since[id(row)] / width), len(rates) - 1)
        counts[step] += 1
        lates[step] += row["code"] != "OK" or took[id(row)] > 2 * usual
    bad = {step for step in counts if lates[step] >= max(1, counts[step] / 10)}
    bad = {step for step in bad if bad & {step - 1, step + 1}}
    if bad:
        found["knee_per_s"] = rates[min(bad)]
    mean = sum(rates) / len(rates)
    ends = max((step + 1 for step, rate in enumerate(rates) if rate > mean * (1 + 1e-9)), default=0)
    if 0 < ends < len(rates):
        after = [1000 * width * (step + 1 - ends) for step in bad if step >= ends]
        found["recovery_ms"] = max(after, default=0)
    return found


def longest_gap_ms(waiting: Sequence[Row], answers: Sequence[Row], end_ns: int) -> float | None:
    """Return the longest time from a planned send to a good answer to this or a later request."""
    good: dict[Any, list[tuple[int, int]]] = defaultdict(list)
    for row in sorted(answers, key=lambda row: int(row["planned_ns"])):
        if row["code"] == "OK":
            good[row["client"], row["session"]].append((row["planned_ns"], row["done_ns"]))
    gaps = []
    for row in waiting:
        later = [
            done for planned, done in good[row["client"], row["session"]] if planned >= row["planned_ns"]
        ]
        gaps.append(((min(later) if later else max(end_ns, row["planned_ns"])) - row["planned_ns"]) / MS)
    return max(gaps, default=None)


def _uneven(name: str, counts: Sequence[float]) -> Figures:
    return {
        f"{name}.max_over_mean": a.max_over_mean(counts),
        f"{name}.cv": a.coefficient_of_variation(counts),
        f"{name}.effective_replicas": a.effective_number(counts),
    }


def _spread(cell: CellFiles, answered: Sequence[Row]) -> Figures:
    names = list(cell.record["replicas"])
    per_replica = Counter(row["replica"] for row in answered)
    names += sorted(set(per_replica) - set(names))
    counts = [per_replica[name] for name in names]
    total = sum(counts)
    effective = a.effective_number(counts)
    connections = {(row["replica"], row["connection"]) for row in answered if row["connection"]}
    sessions = {(row["replica"], row["client"], row["session"]) for row in answered}

    def weighted(weight: Callable[[Row], float]) -> list[float]:
        return [math.fsum(weight(row) for row in answered if row["replica"] == name) for name in names]

    def distinct(pairs: Iterable[tuple[Any, ...]]) -> list[float]:
        served = Counter(pair[0] for pair in pairs)
        return [served[name] for name in names]

    clients: dict[int, Counter[str]] = defaultdict(Counter)
    for row in answered:
        clients[row["client"]][row["replica"]] += 1
    return {
        "replicas": {name: per_replica[name] for name in names},
        "share_by_rank": sorted((count / total for count in counts), reverse=True) if total else [],
        **_uneven("spread", counts),
        "spread.jain": effective / len(names) if effective else None,
        "spread.chi2_p": a.chi_square_p(counts),
        "spread.used_replicas": sum(count > 0 for count in counts),
        **_uneven("connections", distinct(connections)),
        "connections.count": len({connection for _, connection in connections}),
        **_uneven("sessions", distinct(sessions)),
        **_uneven("messages", weighted(lambda row: row["messages"])),
        **_uneven("busy_time", weighted(lambda row: row["service_ns"])),
        **{
            f"share.replica-{n}": per_replica[f"replica-{n}"] / total
            if f"replica-{n}" in names and total
            else None
            for n in range(8)
        },
        "zones.crossed_share": _crossed(cell, answered),
        "per_client.replicas": a.median([len(used) for used in clients.values()]),
        "balance.max_off_fair_requests": _off_fair(counts),
        "balance.max_off_fair_per_client_requests": max(
            (_off_fair([used[name] for name in names]) for used in clients.values()), default=None
        ),
        "balance.round_off_fair_requests": _rounds(answered, names),
    }


def _crossed(cell: CellFiles, answered: Sequence[Row]) -> float | None:
    """Return the share of the requests that crossed zones, by the proxy's ledger.

    A node that was killed has lost rows: of these requests, what the client was told.
    """
    zones = cell.record.get("zones", {})
    if not zones or cell.proxy is None or not answered:
        return None
    names = {address: name for name, address in cell.record["replicas"].items()}
    logged = {row["request_id"]: row for row in cell.proxy.to_dicts() if row["upstream"]}
    ways = []
    for row in answered:
        node, replica = f"envoy-{row['connection'].partition('/')[0]}", row["replica"]
        if row["request_id"] in logged:
            node, replica = logged[row["request_id"]]["proxy"], names[logged[row["request_id"]]["upstream"]]
        else:
            assert node in cell.record["incomplete_ledgers"]
        ways.append((zones[node], zones[replica]))
    return sum(of != to for of, to in ways) / len(answered)


def _off_fair(counts: Sequence[int]) -> float:
    fair = sum(counts) / len(counts)
    return max(abs(count - fair) for count in counts)


def _rounds(answered: Sequence[Row], names: Sequence[str]) -> float | None:
    size = 3 * len(names)
    ordered = sorted(answered, key=lambda row: int(row["planned_ns"]))
    rounds = [ordered[at : at + size] for at in range(0, len(ordered) - size + 1, size)]
    return a.mean(
        [max(abs(sum(row["replica"] == name for row in one) - 3) for name in names) for one in rounds]
    )


def _sessions(cell: CellFiles, answered: Sequence[Row]) -> Figures:
    sessions: dict[Any, list[str]] = defaultdict(list)
    for row in sorted(answered, key=lambda row: int(row["planned_ns"])):
        sessions[row["client"], row["session"]].append(row["replica"])
    groups = cell.record["groups"]
    with_cache = [row["cache"] for row in answered if row["cache"]]

    def purity(place: Callable[[str], str]) -> float | None:
        most = sum(max(Counter(map(place, used)).values()) for used in sessions.values())
        return most / len(answered) if answered else None

    return {
        "affinity.sessions": len(sessions),
        "affinity.purity": purity(lambda name: name),
        "affinity.group_purity": purity(lambda name: groups.get(name, name)) if groups else None,
        "affinity.breaks": sum(one != other for used in sessions.values() for one, other in pairwise(used)),
        "cache.hit_share": with_cache.count("hit") / len(with_cache) if with_cache else None,
    }


def _streams(cell: CellFiles, rows: Sequence[Row]) -> Figures:
    streams = {row["request_id"] for row in rows if row["method"] != "AddVideo"}
    named: dict[int, set[str]] = defaultdict(set)
    waits = []
    if cell.messages is not None:
        for message in cell.messages.to_dicts():
            if message["request_id"] in streams:
                named[message["request_id"]].add(message["replica"])
                waits.append((message["received_ns"] - message["planned_ns"]) / MS)
    missing = len(streams) * cell.record["messages_per_stream"] - len(waits)
    return {
        "stream.count": len(named),
        "stream.purity": sum(len(names) == 1 for names in named.values()) / len(named) if named else None,
        "stream.missing_messages": missing,
        **{f"message_latency_ms.{a.NAMES[p]}": a.percentile(waits, p) for p in (500, 900, 990, 1000)},
    }


def _attempts(cell: CellFiles, rows: Sequence[Row]) -> Figures:
    names = list(cell.record["replicas"])
    reached = replica_rows(cell)
    total = cell.requests.height
    per_request = bytes_each = None
    counts: list[int] = []
    lost = wasted = None
    if reached is not None:
        per_request = reached.height / total if total else None
        mine = reached.filter(pl.col("request_id").is_in([row["request_id"] for row in rows]))
        of = Counter(mine["replica"].to_list())
        names += sorted(set(of) - set(names))
        counts = [of[name] for name in names]
        queue = [value / MS for value in mine["queue_ns"].to_list()]
        inside: list[float] = mine["in_flight"].to_list()
        finished = set(mine.filter(pl.col("code") == "OK")["request_id"].to_list())
        lost = sum(row["code"] != "OK" and row["request_id"] in finished for row in rows)
        wasted = _wasted(mine, {row["request_id"] for row in rows if row["code"] == "OK"})
    else:
        answered = [row for row in rows if row["replica"]]
        queue = [row["queue_ns"] / MS for row in answered]
        inside = [row["in_flight"] for row in answered]
    if cell.proxy is not None and total:
        bytes_each = int((cell.proxy["bytes_in"] + cell.proxy["bytes_out"]).sum()) / total
    share = {name: count / sum(counts) for name, count in zip(names, counts, strict=False) if sum(counts)}
    return {
        "attempts.per_request": per_request,
        "attempts.max_over_mean": a.max_over_mean(counts) if counts else None,
        "attempts.wasted_share": wasted,
        "bytes.per_request": bytes_each,
        **{f"attempt_share.replica-{n}": share.get(f"replica-{n}") for n in range(8)},
        **{f"queue_ms.{a.NAMES[p]}": a.percentile(queue, p) for p in (500, 900, 990, 1000)},
        "in_flight.p99": a.percentile(inside, 990),
        "in_flight.max": a.percentile(inside, 1000),
        "answers_lost": lost,
    }


def _wasted(attempts: pl.DataFrame, good: set[int]) -> float | None:
    """Return the share of the time in slots that nobody had an answer of. good: requests with OK."""
    worked = int(attempts["service_ns"].sum())
    useful = attempts.filter((pl.col("code") == "OK") & pl.col("request_id").is_in(list(good)))
    return 1 - int(useful["service_ns"].sum()) / worked if worked else None


def with_failures_last(rows: Sequence[Row], since: str = "planned_ns") -> list[float]:
    """Return each request's latency in milliseconds; infinite if it failed."""
    return [(row["done_ns"] - row[since]) / MS if row["code"] == "OK" else math.inf for row in rows]


def at_least(rows: Sequence[Row], thousandths: int, since: str = "planned_ns") -> float | None:
    """Return what a percentile is at least that falls on a failed request; None where it does not.

    It is that percentile of the times until the end, and no less than the highest lower percentile.
    """
    values = with_failures_last(rows, since)
    if len(values) < a.MIN_VALUES.get(thousandths, 1) or a.percentile(values, thousandths) is not None:
        return None
    ended = a.nearest_rank([(row["done_ns"] - row[since]) / MS for row in rows], thousandths)
    lower = [a.nearest_rank(values, p) for p in LATENCIES]
    return max(ended, *(value for value in lower if not math.isinf(value)), 0.0)


def _latencies(cell: CellFiles, rows: Sequence[Row]) -> Figures:
    figures: Figures = {"at_least": {}}
    for name, since in (("latency_ms", "planned_ns"), ("latency_from_send_ms", "sent_ns")):
        values = with_failures_last(rows, since)
        for p in LATENCIES:
            figures[f"{name}.{a.NAMES[p]}"] = a.percentile(values, p)
            bound = at_least(rows, p, since)
            if bound is not None:
                figures["at_least"][f"{name}.{a.NAMES[p]}"] = bound
    good = [value for value in with_failures_last(rows) if not math.isinf(value)]
    lag = [(row["sent_ns"] - row["ready_ns"]) / MS for row in rows]
    figures |= {f"ok_latency_ms.{a.NAMES[p]}": a.percentile(good, p) for p in LATENCIES}
    figures |= {f"lag_ms.{a.NAMES[p]}": a.percentile(lag, p) for p in (500, 990, 1000)}
    return figures


def _stages(cell: CellFiles) -> Figures:
    figures: Figures = {}
    table = with_stages(cell).filter(
        (pl.col("planned_ns") >= cell.start_ns) & (pl.col("planned_ns") < cell.end_ns)
    )
    latency = pl.col("done_ns") - pl.col("planned_ns")
    slowest = table.sort(latency)[math.ceil(table.height * 99 / 100) - 1 :] if table.height else table

    def values(frame: pl.DataFrame, column: str) -> list[float]:
        if column not in frame.columns:
            return []
        return [value / MS for value in frame[column].drop_nulls().to_list()]

    for stage in STAGES:
        all_of_it, of_slowest = values(table, f"{stage}_ns"), values(slowest, f"{stage}_ns")
        figures |= {
            f"stage_ms.{stage}.p50": a.percentile(all_of_it, 500),
            f"stage_ms.{stage}.p99": a.percentile(all_of_it, 990),
            f"stage_ms.{stage}.mean": a.mean(all_of_it),
            f"stage_ms.{stage}.slowest": a.mean(of_slowest),
        }
    own = values(table, "generator_ns")
    figures |= {f"generator_ms.{a.NAMES[p]}": a.percentile(own, p) for p in (500, 990, 1000)}
    rows = table.to_dicts()
    without = [
        (row["done_ns"] - row["planned_ns"] - (row["generator_ns"] or 0)) / MS
        if row["code"] == "OK"
        else math.inf
        for row in rows
    ]
    for p in (500, 900, 990):
        whole, less = a.percentile(with_failures_last(rows), p), a.percentile(without, p)
        figures[f"generator_part.{a.NAMES[p]}"] = 1 - less / whole if whole and less is not None else None
    return figures


def _endpoints(cell: CellFiles) -> Figures:
    """Count the replicas that Envoy had as healthy while measuring, over time."""
    changes = [line for line in cell.events if line["event"] == "endpoint"]
    if not changes:
        return {"endpoints.healthy_min": None, "endpoints.healthy_mean": None}
    states: dict[str, str] = {}
    for line in changes:  # the first line of each replica of the start says how it was when measuring began
        if line["replica"] in cell.record["initial_replicas"]:
            states.setdefault(line["replica"], line["state"])
    since, weighted, lowest = cell.start_ns, 0, list(states.values()).count("healthy")
    for line in changes:
        at = min(max(line["t_ns"], cell.start_ns), cell.end_ns)
        weighted += list(states.values()).count("healthy") * (at - since)
        since = at
        states[line["replica"]] = line["state"]
        if line["t_ns"] < cell.end_ns:
            lowest = min(lowest, list(states.values()).count("healthy"))
    weighted += list(states.values()).count("healthy") * (cell.end_ns - since)
    return {
        "endpoints.healthy_min": lowest,
        "endpoints.healthy_mean": weighted / (cell.end_ns - cell.start_ns),
    }
