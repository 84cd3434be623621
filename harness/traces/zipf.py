"""Fits Zipf's law to the clients' requests: how skewed are they, and how well does the law describe it?

Client k of N sends a share k^-s / H of the requests, H the sum over all N. Plain maximum likelihood on the
sorted counts finds too large an s: sorting turns chance into skew, and clients that sent nothing are
missing. So the fit is corrected by indirect inference: s is chosen such that synthetic logs with that s give
the same maximum likelihood estimate as the log itself.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

MAX_SKEW = 10.0  # of an experiment file
SOURCES = (
    "maximum likelihood for a discrete power law over finite ranks (A. Clauset, C. R. Shalizi and M. E. J. "
    "Newman, Power-law distributions in empirical data, SIAM Review 51, 2009), corrected by indirect "
    "inference (C. Gourieroux, A. Monfort and E. Renault, Journal of Applied Econometrics 8, 1993)"
)
_FEW_CLIENTS = 20_000  # more of them vary less together, and take fewer synthetic logs
_SYNTHETIC_REQUESTS = 2_000_000  # of one synthetic log; more requests than these change s by less than 0.01
_STEPS = 14

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class ZipfFit:
    """Zipf's law fitted to counts. skew: exponent s. clients: N, those who sent nothing included.

    distance: largest difference between the cumulative shares of the sorted clients and the law's (a
    Kolmogorov-Smirnov distance), 0 to 1. by_chance: the same distance in synthetic logs, 95th percentile;
    beyond it, the clients follow another law.
    """

    skew: float
    clients: int
    distance: float
    by_chance: float

    @property
    def quality(self) -> str:
        """Return "good", "rough" or "poor": how well the law describes the clients."""
        if self.distance <= max(0.05, self.by_chance):
            return "good"
        return "rough" if self.distance <= 0.15 else "poor"


def fit_zipf(counts: Ints) -> ZipfFit | None:
    """Return the fit to the requests of each client, (clients,), in any order; None for less than two."""
    ordered = np.sort(counts[counts > 0])[::-1]
    if len(ordered) < 2:
        return None
    total = int(ordered.sum())
    wanted = likeliest_skew(ordered)
    generator = np.random.default_rng(0)
    few = len(ordered) <= _FEW_CLIENTS
    requests = max(len(ordered), min(total, _SYNTHETIC_REQUESTS))
    low, high = 0.0, max(0.2, min(MAX_SKEW, wanted + 0.5))
    for _ in range(_STEPS):
        middle = (low + high) / 2
        logs = _synthetic(middle, len(ordered), requests, generator, 4 if few else 1)
        if np.mean([likeliest_skew(log) for log in logs]) < wanted:
            low = middle
        else:
            high = middle
    skew = (low + high) / 2
    everyone = total_clients(skew, len(ordered), total)
    by_chance = [
        distance_from(log, skew, everyone)
        for log in _synthetic(skew, len(ordered), requests, generator, 24 if few else 5)
    ]
    return ZipfFit(
        skew=skew if skew > 0.001 else 0.0,
        clients=everyone,
        distance=distance_from(ordered, skew, everyone),
        by_chance=float(np.quantile(by_chance, 0.95)),
    )


def likeliest_skew(ordered: Ints) -> float:
    """Return the s that makes the counts most likely, the k-th largest being that of client k."""
    logs = np.log(np.arange(1, len(ordered) + 1))
    mean = float((ordered * logs).sum() / ordered.sum())
    low, high = 0.0, MAX_SKEW
    # The likelihood is greatest where the law's mean of log k is that of the counts; it falls with s.
    for _ in range(40):
        middle = (low + high) / 2
        weights = np.exp(-middle * logs)
        if float((weights * logs).sum() / weights.sum()) > mean:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def shares(skew: float, clients: int) -> Floats:
    """Return the share of each client by Zipf's law, (clients,)."""
    weights = np.arange(1, clients + 1, dtype=np.float64) ** -skew
    result: Floats = weights / weights.sum()
    return result


def total_clients(skew: float, seen: int, requests: int) -> int:
    """Return the number of clients of which `seen` are expected to send at least one of the requests."""

    def expected(clients: int) -> float:
        return float(-np.expm1(requests * np.log1p(-np.minimum(shares(skew, clients), 1 - 1e-12))).sum())

    low, high = seen, seen
    while expected(high) < seen - 0.5 and high < 8 * seen:
        high *= 2
    while high - low > max(1, low // 1000):
        middle = (low + high) // 2
        low, high = (middle, high) if expected(middle) < seen - 0.5 else (low, middle)
    return low if expected(low) >= seen - 0.5 else high


def distance_from(ordered: Ints, skew: float, clients: int) -> float:
    """Return the largest difference of cumulative shares between the sorted counts and the law."""
    law = shares(skew, max(clients, len(ordered))).cumsum()[: len(ordered)]
    return float(np.abs(ordered.cumsum() / ordered.sum() - law).max())


def skew_with_top_share(top_share: float, clients: int) -> float:
    """Return the s with which the busiest of `clients` sends `top_share`; 0 if an even share is more."""
    low, high = 0.0, MAX_SKEW
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if shares(middle, clients)[0] < top_share else (low, middle)
    return 0.0 if math.isclose(low, 0.0, abs_tol=1e-6) else (low + high) / 2


def _synthetic(
    skew: float, seen: int, requests: int, generator: np.random.Generator, logs: int
) -> list[Ints]:
    """Return the sorted counts, without zeros, of synthetic logs in which `seen` clients are expected."""
    law = shares(skew, total_clients(skew, seen, requests))
    drawn = [generator.multinomial(requests, law) for _ in range(logs)]
    return [np.sort(counts[counts > 0])[::-1] for counts in drawn]
