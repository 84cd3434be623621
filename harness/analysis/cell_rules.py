"""What must be true of a cell's record as a whole: every planned request is in it, and nothing else is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from harness.analysis.zones import requests_by_zones
from harness.errors import UserError
from harness.events.schedule import new_nodes
from harness.fields import PROXY, proxy_names
from harness.metrics.facts import crossed
from harness.plan.cells import CellPlan, plan_cells
from harness.plan.rate_path import planned_rates
from harness.record.record_file import parse_json, there_is
from harness.record.run_directory import Cell
from harness.record.tables import table_errors
from harness.spec.experiment import Experiment
from harness.spec.zones import zones_of
from lb.plan import Load, Phase, open_loop
from lb.rows import CLOSED_LOOP_MEASURED, REQUEST_IDS_PER_CLIENT
from lb.subsets import subset_of

# A plan of more requests is not drawn again: that takes about a microsecond a request.
MAX_DRAWN = 200_000
NS_PER_S = 1_000_000_000


def cell_contradictions(cell: Cell, rows: pl.DataFrame, experiment: Experiment) -> Iterator[str]:
    """Yield one sentence for each way in which the cell's record contradicts itself or its plan.

    rows: request_id and in_window of all its requests (see harness.analysis.joined). Raises UserError naming
    the cell's folder when a ledger cannot be read.
    """
    plan = _plan_of(cell, experiment)
    if plan is None:
        yield f"the experiment has no cell {cell.record.arm}, repeat {cell.record.repeat}"
        return
    yield from _unlike_the_plan(cell, plan)
    with table_errors(cell.folder, "ledgers written by this lab"):
        ids = rows["request_id"].sort().unique()  # sorted, they need no table of those already seen
        yield from _one_row_each(cell, rows.height, len(ids))
        yield from _foreign_rows(cell)
        yield from _messages(cell)
        yield from outside_of_subsets(cell, plan)
        yield from outside_of_zones(cell, plan)
        if cell.record.status == "completed" and not cell.record.lost_clients:
            yield from _missing_numbers(ids, plan)
            yield from _planned(cell, rows, plan)
            yield from _counted_by_envoy(cell, plan)


def _plan_of(cell: Cell, experiment: Experiment) -> CellPlan | None:
    wanted = (cell.record.arm, cell.record.repeat)
    return next((plan for plan in plan_cells(experiment) if (plan.arm_name, plan.repeat) == wanted), None)


def _unlike_the_plan(cell: Cell, plan: CellPlan) -> Iterator[str]:
    """Compare what cell.json says of the plan with the experiment."""
    record, arm = cell.record, plan.arm
    planned = {
        "route": arm.route,
        "policy": arm.policy,
        "proxy_workers": arm.proxy_workers,
        "max_attempts": arm.max_attempts,
        "awaits_answers": arm.await_each_answer,
        "messages_per_stream": plan.workload.messages_per_stream,
        "planned_rate_per_s": plan.load.rate_per_s,
        "own_tasks": plan.workload.locustfile is not None,
        "planned_rates_per_s": planned_rates(plan.load, plan.workload.duration_s),
    }
    for name, value in planned.items():
        found = getattr(record, name)
        if found != value:
            yield f"cell.json says {name} {found!r}, the experiment {value!r}"
    if not record.own_clocks:
        yield from _other_nodes(list(record.proxies), plan)
    zones = zones_of(arm, record.proxies, record.replicas)
    if not record.own_clocks and record.zones != zones:
        yield f"cell.json says the zones {record.zones}, the experiment {zones}"
    if record.incomplete_ledgers and not plan.events:
        names = ", ".join(record.incomplete_ledgers)
        yield f"cell.json says that the ledgers of {names} are incomplete, but no event ended these parts"
    window_ns = round(plan.workload.duration_s * NS_PER_S)
    if record.status == "completed" and record.window_ns != window_ns:
        lasted, planned_s = record.window_ns / NS_PER_S, window_ns / NS_PER_S
        yield f"the measured window is {lasted:g} s, planned were {planned_s:g} s"


def _other_nodes(found: Sequence[str], plan: CellPlan) -> Iterator[str]:
    """Compare the nodes of a proxy that has several. A node that an event adds may have come too late."""
    count = plan.arm.proxies if plan.arm.proxies > 1 else 0
    first = proxy_names(count) if count else []
    added = proxy_names(count + new_nodes(one.event for one in plan.events))[count:] if count else []
    if not set(first) <= set(found) <= {*first, *added}:
        later = f", and later {added}" if added else ""
        yield f"cell.json says the proxy's nodes {list(found)}, the experiment {first}{later}"


def _one_row_each(cell: Cell, joined: int, ids: int) -> Iterator[str]:
    """A request has one row in the clients' ledger; without retries at most one in each other ledger.

    joined: number of joined rows. ids: number of different requests among them.
    """
    count = cell.requests().select(pl.len()).collect().item()
    if count != ids:
        yield f"{_requests(count - ids)} more than once in the clients' ledger"
    elif joined != count:
        more = _requests(joined - count)
        yield f"{more} more than once in the ledger of the proxy or of a replica"


def _foreign_rows(cell: Cell) -> Iterator[str]:
    """The lab gives each of its calls an id. Nobody else calls the replicas that it has started."""
    ledger = cell.replica_ledger()
    if ledger is None or cell.record.own_clocks:
        return
    count = ledger.select((pl.col("request_id") < 0).sum()).collect(engine="streaming").item()
    if count:
        yield f"{count:,} calls in the replicas' ledgers are not of this cell: they have no request id"


def _messages(cell: Cell) -> Iterator[str]:
    """A stream's messages belong to a request, are as many as its row says, and lie within it."""
    table = cell.messages()
    if table is None:
        return
    counted = table.group_by("request_id").agg(
        pl.len().cast(pl.Int64).alias("counted"),
        pl.col("sent_ns").min().alias("first_ns"),
        pl.col("received_ns").max().alias("last_ns"),
        (pl.col("received_ns") < pl.col("sent_ns")).any().alias("backwards"),
        pl.col("message").n_unique().cast(pl.Int64).alias("numbers"),
        pl.col("replica").n_unique().alias("replicas"),
        pl.col("replica").first().alias("sender"),
    )
    requests = cell.requests().select(
        "request_id", pl.col("messages").alias("told"), "sent_ns", "done_ns", "replica"
    )
    streams = counted.join(requests, on="request_id", how="left").collect(engine="streaming")
    problems = {
        "a request that is not in the clients' ledger": pl.col("done_ns").is_null(),
        "another number of messages than their row says": (
            (pl.col("counted") != pl.col("told")) | (pl.col("counted") != pl.col("numbers"))
        ),
        "a message before the send, or after the end": (
            (pl.col("first_ns") < pl.col("sent_ns"))
            | (pl.col("last_ns") > pl.col("done_ns"))
            | pl.col("backwards")
        ),
        "a message of another replica than answered": (
            (pl.col("replica") != "") & ((pl.col("replicas") > 1) | (pl.col("sender") != pl.col("replica")))
        ),
    }
    for words, broken in problems.items():
        found = streams.filter(broken)
        if found.height:
            plural = "" if found.height == 1 else "s"
            yield f"{found.height:,} stream{plural} had {words}, {example(found)}"


def outside_of_subsets(cell: Cell, plan: CellPlan) -> Iterator[str]:
    """Where clients have subsets, nobody but a replica of its own subset answers a client."""
    subsetting = plan.arm.subsetting
    if subsetting is None:
        return
    # Subsets are drawn from the places in the list of addresses, which is in the order of the replicas.
    names = [name for name in cell.record.replicas if name in cell.record.initial_replicas]
    pairs = (
        cell.requests()
        .filter(pl.col("replica") != "")
        .group_by("client", "replica")
        .agg(pl.len())
        .collect(engine="streaming")
    )
    own: dict[int, list[str]] = {}
    outside = 0
    for client, replica, count in pairs.iter_rows():
        if client not in own:
            own[client] = subset_of(names, client, subsetting.size, subsetting.by, plan.load.draw)
        outside += 0 if replica in own[client] else count
    if outside:
        yield f"{_requests(outside)} answered by a replica outside of the client's subset"


def outside_of_zones(cell: Cell, plan: CellPlan) -> Iterator[str]:
    """Without cross_zone, nobody but a replica of the node's own zone answers."""
    if plan.arm.cross_zone:
        return
    counts = (
        cell.requests()
        .filter(pl.col("replica") != "")
        .group_by("connection", "replica")
        .agg(pl.len().alias("requests"))
        .collect(engine="streaming")
    )
    by_zones = requests_by_zones(counts, cell.record) or {}
    if count := crossed(by_zones):
        yield f"{_requests(count)} answered by a replica outside of the node's zone"


def _missing_numbers(ids: pl.Series, plan: CellPlan) -> Iterator[str]:
    """Each client numbers its requests from 0 without a gap, in a closed loop those of each phase.

    With `await_each_answer` a client does not send all that it has planned. ids: of all requests, each once.
    """
    if plan.arm.await_each_answer:
        return
    number = pl.col("request_id") % REQUEST_IDS_PER_CLIENT
    half = pl.lit(0, pl.Int64) if plan.load.rate_per_s is not None else number // CLOSED_LOOP_MEASURED
    client = pl.col("request_id") // REQUEST_IDS_PER_CLIENT
    gaps = (
        ids.to_frame()
        .lazy()
        .select(client.alias("client"), number.alias("number"), half.alias("half"))
        .group_by("client", "half")
        .agg((pl.col("number").max() % CLOSED_LOOP_MEASURED + 1 - pl.len()).alias("missing"))
        .filter(pl.col("missing") > 0)
        .sort("client")
        .collect(engine="streaming")
    )
    if gaps.height:
        missing, client = _requests(int(gaps["missing"].sum())), gaps["client"][0]
        yield f"{missing} missing in the clients' ledger, between others, for example of client {client}"


def _planned(cell: Cell, rows: pl.DataFrame, plan: CellPlan) -> Iterator[str]:
    """Every planned request is in the record, with its number, its planned time and its method.

    With `await_each_answer` a client does not send all that it has planned.
    """
    if plan.load.rate_per_s is None:
        return
    planned, found = cell.record.planned_requests, int(rows["in_window"].sum())
    awaits = plan.arm.await_each_answer
    if found > planned or (found < planned and not awaits):
        yield f"{planned:,} requests were planned for the measured window, the record has {found:,}"
    if rows.is_empty() or max(planned, found) > MAX_DRAWN:
        return
    requests = cell.requests().select("request_id", "planned_ns", "method").collect()
    drawn = _drawn(cell, requests, plan)
    inside = drawn.filter("measured").height
    if inside != planned:
        yield f"cell.json says {planned:,} planned requests, the seed gives {inside:,}"
    off_plan = requests.join(drawn, on=requests.columns, how="anti")
    if off_plan.height:
        yield f"{_requests(off_plan.height)} not as the seed plans them, {example(off_plan)}"
    missing = drawn.join(requests, on=requests.columns, how="anti")
    if missing.height and not awaits:
        yield f"{_requests(missing.height)} missing that the seed plans, {example(missing)}"


def _drawn(cell: Cell, requests: pl.DataFrame, plan: CellPlan) -> pl.DataFrame:
    """Return request_id, planned_ns, method, measured of every request that the seed plans.

    The warm-up begins with the first request of every client: they are all planned for that instant. Of
    recorded arrivals, the first one tells when it began.
    """
    work = plan.workload
    phases: list[tuple[Phase, int, float]] = [("measure", cell.record.measure_start_ns, work.duration_s)]
    if work.warm_up_s:
        begins_ns = requests.select(pl.col("planned_ns").min()).item() - _first_ns(plan.load)
        phases.insert(0, ("warm_up", begins_ns, work.warm_up_s))
    drawn: list[tuple[int, int, str, bool]] = []
    for client in range(plan.load.clients):
        calls = (
            (start_ns + call.at_ns, call.method, phase == "measure")
            for place, (phase, start_ns, duration_s) in enumerate(phases)
            for call in open_loop(plan.load, client, phase, duration_s, opens=place == 0)
        )
        drawn += [(client * REQUEST_IDS_PER_CLIENT + n, *call) for n, call in enumerate(calls)]
    return pl.DataFrame(
        drawn,
        schema={"request_id": pl.Int64, "planned_ns": pl.Int64, "method": pl.String, "measured": pl.Boolean},
        orient="row",
    )


def _first_ns(load: Load) -> int:
    """Return when the first request of the warm-up is planned, ns from its start."""
    if load.recorded is None:
        return 0
    return min((times[0] for times in load.recorded["warm_up"] if times), default=0)


def _counted_by_envoy(cell: Cell, plan: CellPlan) -> Iterator[str]:
    """Envoy's own counters of requests to each replica, read before and after the load, fit its ledger.

    Only where each request is one attempt, and nothing happens to Envoy or a replica. Envoy does not count
    what it cannot send: to a replica that takes no connection, or beyond a limit of its own.
    """
    ledger = cell.proxy_ledger()
    if ledger is None or plan.events or plan.arm.retries or cell.record.incomplete_proxy:
        return
    if ledger.select(pl.col("flags").str.contains("U").any()).collect(engine="streaming").item():
        return
    nodes = [cell.folder / node for node in cell.record.proxies or [PROXY]]
    before, after = (
        _counters([folder / f"clusters.{when}.json" for folder in nodes]) for when in ("before", "after")
    )
    if before is None or after is None:
        return
    logged = dict(
        ledger.filter(pl.col("upstream").is_not_null())
        .group_by("upstream")
        .agg(pl.len())
        .collect(engine="streaming")
        .iter_rows()
    )
    for address in sorted(after.keys() | logged.keys()):
        counted = after.get(address, 0) - before.get(address, 0)
        if counted != logged.get(address, 0):
            name = next((name for name, at in cell.record.replicas.items() if at == address), address)
            yield f"Envoy counted {counted:,} requests to {name}, its ledger has {logged.get(address, 0):,}"


def _counters(paths: Sequence[Path]) -> dict[str, int] | None:
    """Return address -> requests that all nodes have sent there (`rq_total`); None if a file is missing.

    Raises UserError naming the file that is not Envoy's.
    """
    if not all(map(there_is, paths)):
        return None
    counters: Counter[str] = Counter()
    for path in paths:
        counters.update(_counters_of_node(path))
    return counters


def _counters_of_node(path: Path) -> Counter[str]:
    try:
        clusters = parse_json(path.read_text())["cluster_statuses"]
        hosts = [host for cluster in clusters for host in cluster.get("host_statuses", ())]
        counters: Counter[str] = Counter()
        for host in hosts:
            counters[_address(host)] += _total(host)
        return counters
    except (ValueError, KeyError, TypeError, AttributeError, OSError) as error:
        raise UserError(f"{path}: expected Envoy's clusters as JSON ({error!r})") from error


def _address(host: dict[str, Any]) -> str:
    at = host["address"]["socket_address"]
    return f"{at['address']}:{at['port_value']}"


def _total(host: dict[str, Any]) -> int:
    return sum(int(one.get("value", 0)) for one in host["stats"] if one["name"] == "rq_total")


def example(rows: pl.DataFrame) -> str:
    """Return words that name one of the requests (request_id): the one with the lowest id."""
    return f"for example request {rows['request_id'].sort()[0]}"


def _requests(count: int) -> str:
    return f"{count:,} {'request is' if count == 1 else 'requests are'}"
