"""How even a balancer is in the short run: whose turn it was, request by request."""

from __future__ import annotations

import numpy as np
import polars as pl

TURNS_A_ROUND = 3  # of each replica


def short_run_unfairness(answered: pl.DataFrame, replicas: int) -> float | None:
    """Mean over rounds of the largest distance of a replica from its TURNS_A_ROUND requests, in requests.

    A round is TURNS_A_ROUND x `replicas` successive requests by planned send (columns at_ns, replica). A
    balancer that takes strict turns is at 0 to 0.75 (a round may begin anywhere), one that draws at random
    at about 2 with four replicas. None where there is no whole round.
    """
    size = TURNS_A_ROUND * replicas
    rounds = answered.height // size
    if not rounds:
        return None
    in_turn = answered.select("at_ns", "replica").sort("at_ns")["replica"].to_numpy()[: rounds * size]
    cells = in_turn + replicas * np.repeat(np.arange(rounds), size)
    counts = np.bincount(cells, minlength=rounds * replicas).reshape(rounds, replicas)
    return float(np.abs(counts - TURNS_A_ROUND).max(axis=1).mean())
