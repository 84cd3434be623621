"""Puts the three ledgers of each request side by side and cuts its time into stages."""

import polars as pl

from tests.recount.run_files import CellFiles

STREAMS = 128  # that a connection to Envoy has at once
STAGES = (
    "waiting_for_answer",
    "late_sending",
    "waiting_for_stream",
    "to_proxy",
    "earlier_attempts",
    "proxy_to_replica",
    "to_replica",
    "queue",
    "service",
    "way_back",
)


def replica_rows(cell: CellFiles) -> pl.DataFrame | None:
    """The replicas' rows of requests that have an id, with attempts in the order of arrival."""
    if cell.replicas is None:
        return None
    return cell.replicas.filter(pl.col("request_id") >= 0).sort("request_id", "arrived_ns")


def with_moments(cell: CellFiles) -> pl.DataFrame:
    """Return the requests with the moments that the ledgers of proxy and replicas add.

    `proxy_ns`, `proxied_ns`, `arrived_ns`, `started_ns`, `finished_ns`, `retried_ns`: nanoseconds from the
    cell's start; null: the request never got there.
    """
    table = cell.requests
    rows = replica_rows(cell)
    if rows is not None:
        rows = rows.with_columns(pl.col("done_ns").shift(1).over("request_id").alias("retried_ns"))
        last = rows.group_by("request_id", maintain_order=True).agg(
            pl.col("arrived_ns").last(),
            (pl.col("arrived_ns") + pl.col("queue_ns")).last().alias("started_ns"),
            pl.col("done_ns").last().alias("finished_ns"),
            pl.col("retried_ns").last(),
        )
        table = table.join(last, on="request_id", how="left")
    if cell.proxy is not None:
        # Each node of a proxy numbers its connections from the beginning.
        numbers = ["proxy", "connection"] if "proxy" in cell.proxy.columns else ["connection"]
        proxy = (
            cell.proxy.filter(pl.col("request_id").is_not_null())
            .with_columns((pl.col("start_unix_ns") - cell.record["epoch_unix_ns"]).alias("proxy_ns"))
            .sort("request_id", "proxy_ns")
            .with_columns(
                (
                    pl.col("proxy_ns")
                    + (pl.col("duration_us") * 1000).fill_null(
                        pl.col("duration_ms").cast(pl.Int64) * 1_000_000
                    )
                ).alias("proxied_ns")
            )
            .group_by("request_id", maintain_order=True)
            .agg(
                pl.col("proxy_ns").first(),
                pl.col("proxied_ns").last(),
                pl.col("grpc").last(),
                pl.struct(numbers).first().alias("proxy_connection"),
            )
        )
        table = table.join(proxy, on="request_id", how="left")
    return table


def with_stages(cell: CellFiles) -> pl.DataFrame:
    """Return the requests with a column for each stage that the cell has, and `generator_ns`.

    A request that did not get to a moment was given up before: its time until the end is in the last stage
    that it reached.
    """
    table = with_moments(cell)
    envoy = "proxy_ns" in table.columns
    col, end = pl.col, pl.col("done_ns")

    def later(before: pl.Expr, name: str, given_up: pl.Expr) -> pl.Expr:
        """The moment, but not before the one before it and not after the end."""
        if name not in table.columns:
            return given_up
        return pl.min_horizontal(pl.max_horizontal(col(name).fill_null(given_up), before), end)

    stages = {
        "waiting_for_answer": col("ready_ns") - col("planned_ns"),
        "late_sending": col("sent_ns") - col("ready_ns"),
    }
    before = col("sent_ns")
    if envoy:
        known = [name for name in ("arrived_ns",) if name in table.columns]
        table = with_streams(table)
        free = later(before, "stream_ns", before)
        stages["waiting_for_stream"], before = free - before, free
        # A killed node has lost its last rows. Then its stage ends when the replica has the request.
        at_proxy = later(before, "proxy_ns", pl.coalesce([*known, "done_ns"]))
        stages["to_proxy"], before = at_proxy - before, at_proxy
    if cell.record["max_attempts"] > 1 and "retried_ns" in table.columns:
        retried = later(before, "retried_ns", before)
        stages["earlier_attempts"], before = retried - before, retried
    arrived = later(before, "arrived_ns", end)
    started = later(arrived, "started_ns", end)
    finished = later(started, "finished_ns", end)
    stages["proxy_to_replica" if envoy else "to_replica"] = arrived - before
    stages["queue"] = started - arrived
    stages["service"] = finished - started
    stages["way_back"] = end - finished
    stages["generator"] = stages["late_sending"] + (
        _generator_behind_envoy(stages) if envoy else _generator_without_envoy(cell, stages)
    )
    return table.with_columns(**{f"{name}_ns": stage for name, stage in stages.items()})


def with_streams(table: pl.DataFrame) -> pl.DataFrame:
    """Return the table with `stream_ns`: when a stream of the request's connection became free for it.

    It is the last moment between the request's send and the proxy at which the proxy ended a request of a
    full connection; null: there is none.
    """
    freed_ns: dict[int, int] = {}
    columns = ("request_id", "sent_ns", "proxy_ns", "proxied_ns")
    for _, group in table.drop_nulls("proxy_ns").group_by("proxy_connection"):
        rows = group.select(columns).rows()
        # At one instant an end comes before a start: its stream is free for it.
        moments = sorted(
            [(ended, 0, 0, 0) for _, _, _, ended in rows]
            + [(at_proxy, 1, sent, number) for number, sent, at_proxy, _ in rows]
        )
        open_requests, freed = 0, None
        for at_ns, starts, sent_ns, number in moments:
            if starts:
                open_requests += 1
                if freed is not None and freed > sent_ns:
                    freed_ns[number] = freed
            else:
                freed = at_ns if open_requests >= STREAMS else freed
                open_requests -= 1
    stream = [freed_ns.get(number) for number in table["request_id"].to_list()]
    return table.with_columns(pl.Series("stream_ns", stream, dtype=pl.Int64))


def _generator_behind_envoy(stages: dict[str, pl.Expr]) -> pl.Expr:
    """Return the client's own time before Envoy had the request and after Envoy had passed the answer on.

    Requests that were sent before the connection carried its first one wait for the connection.
    """
    first = pl.col("sent_ns") < pl.col("proxy_ns").min().over("proxy_connection")
    late = pl.max_horizontal(pl.col("done_ns") - pl.col("proxied_ns"), pl.lit(0))
    late = pl.when(pl.col("grpc").is_not_null()).then(late).otherwise(0)
    return pl.when(first.fill_null(True)).then(0).otherwise(stages["to_proxy"]) + late


def _generator_without_envoy(cell: CellFiles, stages: dict[str, pl.Expr]) -> pl.Expr:
    """Return the way back of an answer with OK; 0 from the first event on."""
    asked = [line["t_ns"] for line in cell.events if line["event"] == "asked"]
    told = (pl.col("code") == "OK") & (pl.col("done_ns") < min(asked, default=2**62))
    return pl.when(told).then(stages["way_back"]).otherwise(0)
