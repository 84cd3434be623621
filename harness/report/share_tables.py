"""Tables of where requests and attempts went: replicas by rank, and replicas by name."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from harness.metrics.metric import Number, show
from harness.record.summary import ArmSummary, Summary
from harness.report.tables import ABSENT, Arms, Table, figures, retried

MAX_REPLICA_COLUMNS = 8
MOST_DIGITS = 12  # behind the point of a percentage
OF_MANY = ("busiest", "median", "idlest")  # columns in place of one for each replica, where replicas are many
# Heading -> metric, what the heading means: columns that are there only where they say something.
_EXTRAS = {
    "group purity": ("affinity.group_purity", "Group purity: the same for its target group."),
    "cache hits": ("cache.hit_share", "Cache hits: share of answers from a replica that knew the session."),
    "attempts": ("attempts.per_request", "Attempts: rows of the replicas per request."),
    "attempts, busiest / fair": (
        "attempts.max_over_mean",
        "Attempts, busiest / fair: the same as busiest / fair, but each attempt counts.",
    ),
}
_OF_RETRIES = ("attempts", "attempts, busiest / fair")


def where_table(summary: Summary, most_replicas: int = MAX_REPLICA_COLUMNS) -> Table:
    """Return the share of the answered requests on each replica, in each arm.

    Replicas that the experiment does not tell apart stand in the order of their rank, in each repeat anew.
    Others have a column each, and one for the busiest of a repeat. More replicas than `most_replicas` have
    OF_MANY.
    """
    arms = summary.arms
    columns = _columns(summary, most_replicas)
    extras = _extras(arms)
    metrics = ["spread.max_over_mean", "affinity.purity", *extras.values()]
    rows = [
        [
            name,
            *(percent(_share(arm, column), arm.bounds.get(f"share.{column}", ())) for column in columns),
            *figures(arm, metrics),
            show(sum(arm.errors.values())),
        ]
        for name, arm in arms.items()
    ]
    caption = (
        "Share of the answered requests in the measured window, medians over the repeats. Busiest, 2nd, ...: "
        "the replicas are ranked within each repeat, since chance may make another one the busiest each "
        "time. Busiest / fair: its share / an even share; 1 is even. Purity: share of a session's requests "
        "on its most used replica; 1 is fully sticky."
    )
    head = ["Arm", *columns, "busiest / fair", "purity", *extras, "errors"]
    return Table(head, rows, " ".join([caption, *(_EXTRAS[heading][1] for heading in extras)]))


def names_table(summary: Summary) -> Table | None:
    """Return each replica's share by name, with its range over the repeats, of answers and of attempts.

    None where replicas are many, or where the table would say no more than `where_table`.
    """
    arms = summary.arms
    names = replica_names(arms)
    one_repeat = all(len(arm.repeats) <= 1 for arm in arms.values())
    said = summary.replicas_differ and one_repeat and not retried(arms)
    if said or not 1 < len(names) <= MAX_REPLICA_COLUMNS:
        return None
    rows = []
    for name, arm in arms.items():
        rows.append([name, *(_over_repeats(arm, f"share.{replica}") for replica in names)])
        if retried({name: arm}):
            attempts = (_over_repeats(arm, f"attempt_share.{replica}") for replica in names)
            rows.append([f"{name}: attempts", *attempts])
    caption = (
        "The same by name: share of the answered requests in %, median over the repeats and, in brackets, "
        "the least and the most in one repeat."
    )
    if retried(arms):
        caption += (
            " Attempts: share of all attempts that the replicas saw. A request that was tried again is "
            "answered by one replica and was an attempt on others, too."
        )
    return Table(["%", *names], rows, caption)


def replica_names(arms: Arms) -> list[str]:
    """Return the names of all replicas of the arms."""
    return list(dict.fromkeys(name for arm in arms.values() for name in arm.replicas))


def percent(share: Number, bounds: Sequence[float] = ()) -> str:
    """Return a share for people, as "41.6%", with the digits that tell it from `bounds`; a dash for None."""
    if share is None:
        return ABSENT
    if share == 0:
        return "0%"
    digits = 1
    others = [bound for bound in bounds if bound != share]
    while digits < MOST_DIGITS and f"{share:.{digits}%}" in [f"{bound:.{digits}%}" for bound in others]:
        digits += 1
    return f"{share:.{digits}%}"


def _columns(summary: Summary, most_replicas: int) -> list[str]:
    names = replica_names(summary.arms)
    if len(names) > most_replicas:
        return list(OF_MANY)
    if summary.replicas_differ:
        return [*names, OF_MANY[0]]
    return [OF_MANY[0], *(ordinal(rank) for rank in range(2, len(names) + 1))]


def ordinal(rank: int) -> str:
    """Return 2 as "2nd", and so on."""
    ending = {1: "st", 2: "nd", 3: "rd"}.get(rank % 10, "th")
    return f"{rank}{'th' if rank // 10 % 10 == 1 else ending}"


def _share(arm: ArmSummary, column: str) -> Number:
    """Return the arm's value of a column of `_columns`."""
    ranks = arm.share_by_rank
    by_rank = {ordinal(rank): share for rank, share in enumerate(ranks, start=1)}
    if ranks:
        by_rank |= zip(OF_MANY, (ranks[0], statistics.median(ranks), ranks[-1]), strict=True)
    # Any other column is a replica's name. Replicas that are not the lab's may have any name.
    return by_rank.get(column, arm.metrics.get(f"share.{column}"))


def _extras(arms: Arms) -> dict[str, str]:
    def is_shown(heading: str, metric: str) -> bool:
        if heading in _OF_RETRIES:
            return retried(arms)
        return any(arm.metrics[metric] is not None for arm in arms.values())

    return {heading: metric for heading, (metric, _) in _EXTRAS.items() if is_shown(heading, metric)}


def _over_repeats(arm: ArmSummary, metric: str) -> str:
    """Return "25.1 (15.4 to 42.2)" in %; without brackets where all repeats are alike."""
    value = arm.metrics.get(metric)
    if value is None:
        return ABSENT
    found = [_in_percent(share) for repeat in arm.repeats if (share := repeat.metrics[metric]) is not None]
    low, high = min(found, key=float), max(found, key=float)
    return _in_percent(value) if low == high else f"{_in_percent(value)} ({low} to {high})"


def _in_percent(share: float) -> str:
    return f"{100 * share:.1f}"


def purely_ranked(columns: Sequence[str]) -> bool:
    """Return whether no column is a replica's name."""
    return not any(column.startswith("replica-") for column in columns)
