"""Recounts how the three ledgers of a cell agree."""

from collections import Counter
from typing import Any

import polars as pl

from tests.recount.run_files import CellFiles


def recount_ledgers(cell: CellFiles) -> dict[str, Any]:
    """Return the fields of `ledgers` in summary.json."""
    record = cell.record
    missing = record["missing_ledgers"]
    clients = cell.requests.to_dicts()
    mine = {row["request_id"] for row in clients}
    envoy, sent_to = _rows_of_envoy(cell)
    replica, served_by = _rows_of_replicas(cell)
    counts = Counter({"matched": 0, "unanswered": 0, "only_client": 0, "disagree": 0})
    for row in clients:
        counts[_kind(cell, row, envoy, sent_to, replica, served_by)] += 1
    only_envoy = None if envoy is None else len(set(envoy) - mine - set(replica or ()))
    only_replica = None if replica is None else len(set(replica) - mine - set(envoy or ()))
    figures = {
        "client": len(clients),
        "envoy": None if "envoy" in missing else sum((envoy or {}).values()),
        "replica": None if "replica" in missing else sum((replica or {}).values()),
        **counts,
        "only_envoy": None if "envoy" in missing else only_envoy or 0,
        "only_replica": None if "replica" in missing else only_replica or 0,
    }
    wrong = figures["only_client"] + figures["disagree"] + (only_envoy or 0) + (only_replica or 0)
    return figures | {"reconciled": None if envoy is None and replica is None else wrong == 0}


def _kind(
    cell: CellFiles,
    row: dict[str, Any],
    envoy: Counter[int] | None,
    sent_to: dict[int, set[str | None]],
    replica: Counter[int] | None,
    served_by: dict[int, set[str]],
) -> str:
    number, name, most = row["request_id"], row["replica"], cell.record["max_attempts"]
    if not name or (row["code"] != "OK" and name in cell.record["incomplete_ledgers"]):
        return "unanswered"
    if not (envoy and envoy[number]) and not (replica and replica[number]):
        return "only_client"
    lost = any(part.startswith("envoy") for part in cell.record["incomplete_ledgers"])
    for rows, fewest in ((envoy, 0 if lost else 1), (replica, 1)):
        if rows is not None and not fewest <= rows[number] <= most:
            return "disagree"
    if replica is not None and name not in served_by[number]:
        return "disagree"
    sent = envoy is not None and envoy[number] > 0
    if sent and most == 1 and sent_to[number] != {cell.record["replicas"][name]}:
        return "disagree"
    return "matched"


def _rows_of_envoy(cell: CellFiles) -> tuple[Counter[int] | None, dict[int, set[str | None]]]:
    if cell.proxy is None:
        return None, {}
    table = cell.proxy.filter(pl.col("request_id").is_not_null())
    sent_to: dict[int, set[str | None]] = {}
    for number, upstream in table.select("request_id", "upstream").iter_rows():
        sent_to.setdefault(number, set()).add(upstream)
    return Counter(table["request_id"].to_list()), sent_to


def _rows_of_replicas(cell: CellFiles) -> tuple[Counter[int] | None, dict[int, set[str]]]:
    if cell.replicas is None:
        return None, {}
    table = cell.replicas.filter(pl.col("request_id") >= 0)
    served_by: dict[int, set[str]] = {}
    for number, name in table.select("request_id", "replica").iter_rows():
        served_by.setdefault(number, set()).add(name)
    return Counter(table["request_id"].to_list()), served_by
