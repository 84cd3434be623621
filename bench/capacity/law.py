"""The law of growth: cores of one process = a + b * calls/s + c * clients, fitted to measured points."""

import numpy as np
import polars as pl

from harness.plan.capacity import Law

MAX_LAG_MS, MIN_SENT_SHARE = 50.0, 0.99
ROUNDS_OF_FIT = 10
MIN_CORES = 1e-4  # limits the weight of a point


def residuals(law: Law, uses: pl.DataFrame) -> pl.Series:
    """Return how far the cores of each row are from the law, relative to the law: 0.1 is 10 % above it."""
    return uses["cores"] / law.cores(uses["calls_per_s"], uses["clients"]) - 1


def kept() -> pl.Expr:
    """Whether a load process kept its plan. True where no load process took part."""
    in_time = (pl.col("sent_share") >= MIN_SENT_SHARE) & (pl.col("lag_p99_ms") <= MAX_LAG_MS)
    return (in_time & (pl.col("failed") == 0)).fill_null(True)


def uses(points: pl.DataFrame, kind: str, *, alone: bool) -> pl.DataFrame:
    """Return calls_per_s, clients, cores, mib and files of one process of a kind, if the plan was kept.

    clients: those with a connection to the process. In a cell, load processes count only behind Envoy,
    because each client has one connection there.
    """
    behind_envoy, in_cell = pl.col("route") == "envoy", not alone
    chosen = points.filter(pl.col("what") == (kind if alone else "lab"), kept(), pl.col("rate_per_s") > 0)
    if in_cell and kind != "replica":
        chosen = chosen.filter(behind_envoy)
    # Round robin gives all replicas the same share. Behind Envoy, Envoy is their only client.
    each_replica = in_cell and kind == "replica"
    return chosen.select(
        "rate_per_s",
        calls_per_s=pl.col("calls_per_s") / (pl.col("replicas") if each_replica else 1),
        clients=pl.when(behind_envoy & each_replica).then(1).otherwise("clients"),
        cores=f"{kind}_cores",
        mib=f"{kind}_mib",
        files=f"{kind}_files",
    )


def fit(found: pl.DataFrame) -> Law:
    """Fit by least squares of the relative errors: 10 % has the same weight at 100 calls/s and at 10,000.

    The clients' term is 0 if all points have the same number of clients. The first term then has their cost.
    """
    clients = found["clients"] * (found["clients"].n_unique() > 1)
    columns = np.column_stack([np.ones(found.height), found["calls_per_s"] / 1e6, clients / 1e6])
    cores = found["cores"].to_numpy()
    expected = cores
    for _ in range(ROUNDS_OF_FIT):  # repeated, because errors are relative to the law itself
        terms, *_ = np.linalg.lstsq(columns / expected[:, None], cores / expected, rcond=None)
        expected = np.maximum(columns @ terms, MIN_CORES)
    return Law(*map(float, terms))
