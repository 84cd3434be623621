"""What must be true of every request when its three ledgers are laid side by side.

docs/decisions/0009-a-record-that-contradicts-itself.md says why each rule is as it is. Each is an expression
over the joined rows (see harness.analysis.ledger_join), so that a cell of millions of rows is checked in one
pass.
"""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from harness.analysis.clocks import CellClocks
from harness.analysis.ledger_join import CONNECTIONS_OF_NODE
from harness.events.registry import kind_of
from harness.fields import connection_prefix
from harness.metrics.stages import Cut
from harness.record.event_log import AskedEvent
from harness.record.run_directory import Cell
from harness.spec.arm import Retries
from harness.spec.experiment import Experiment
from harness.spec.own_service import UPSTREAM_LOG
from lb.rows import REQUEST_IDS_PER_CLIENT

# Ends that a client finds by itself, while the proxy and the replica may have another view of the call.
DEADLINE, CANCELLED, UNAVAILABLE = "DEADLINE_EXCEEDED", "CANCELLED", "UNAVAILABLE"
# gRPC's codes for a call whose connection broke, or whose server was stopped, under it.
BROKEN_CONNECTION = (UNAVAILABLE, CANCELLED, "INTERNAL", "UNKNOWN")
# Envoy's details of a stream that lasted longer than the deadline that came with it.
TOO_LONG_AT_PROXY = "max_duration_timeout"
# Envoy's flags of a stream that the client ended: its connection or the stream was reset.
ENDED_BY_CLIENT = "DC|DR"
# gRPC's timers count whole milliseconds, and a deadline travels as a rounded number.
DEADLINE_SLACK_NS = 5_000_000
_NEVER_NS = 2**62


@dataclass(frozen=True)
class Rule:
    """One rule. problem: what the requests did that break it, in words that follow their number.

    broken: true of a request that breaks it. Null counts as not broken. may_seem_broken: a sound record may
    break it in one request of a thousand, or in two.
    """

    name: str
    problem: str
    broken: pl.Expr
    may_seem_broken: bool = False

    def allowed(self, requests: int) -> int:
        """Return how many of a cell's requests may break the rule."""
        return max(2, requests // 1000) if self.may_seem_broken else 0


@dataclass(frozen=True)
class Allowances:
    """What explains, in this cell, that the parties see a request differently.

    deadline_ns: of each call; 0 where users of a Locust file choose it. gives_up: whether they may cancel
    calls. proxy_breaks_ns, replica_breaks_ns: from when on the clients' connections to
    the proxy, and connections to replicas, may break under a call; _NEVER_NS: nothing breaks them. retries:
    of the arm, or None. hedges: most attempts of a client that hedges, else 1. whole_proxy: no row of the
    proxy is missing.
    """

    deadline_ns: int
    gives_up: bool
    proxy_breaks_ns: int
    replica_breaks_ns: int
    retries: Retries | None
    hedges: int
    whole_proxy: bool

    @classmethod
    def of(cls, cell: Cell, experiment: Experiment) -> Allowances:
        """Return what the experiment and the events of a cell allow."""
        arm = experiment.variants[cell.record.arm].arm
        events = cell.events()
        age = arm.max_connection_age_s is not None
        outages = any(
            experiment.replicas.work_of(name).outage is not None for name in cell.record.initial_replicas
        )
        on_proxy, on_replicas = (
            _first_break(events, aims) for aims in (("proxy",), ("replicas", "new replicas"))
        )
        through_proxy = arm.has_proxy
        own_tasks = experiment.workload.locustfile is not None
        return cls(
            0 if own_tasks else round(experiment.workload_of(arm).deadline_ms * 1e6),
            own_tasks,
            0 if through_proxy and (age or arm.idle_timeout_s is not None) else on_proxy,
            0 if outages or (age and arm.route != "envoy") else on_replicas,
            arm.retries,
            1 if arm.hedging is None else arm.hedging.attempts,
            cell.whole_proxy,
        )


def _first_break(events: list[AskedEvent], aims: tuple[str, ...]) -> int:
    breaking = [
        event.t_ns for event in events if (kind := kind_of(event.do)).breaks_calls and kind.aim in aims
    ]
    return min(breaking, default=_NEVER_NS)


def request_rules(cell: Cell, clocks: CellClocks, cut: Cut | None, allowed: Allowances) -> list[Rule]:
    """Return the rules that hold in this cell."""
    proxied = cell.record.route == "envoy" and "envoy" not in cell.record.missing_ledgers
    rules = [*_own_rows(cell), *_attempts(cell, allowed, proxied=proxied)]
    if cut is not None:
        rules += [*_order(clocks, cut, allowed), *_copies(cell, proxied=proxied)]
        rules += _outcome_at_replica(allowed, proxied=proxied and cell.proxy_log is None)
    if proxied:
        rules += _outcome_at_proxy(allowed) if cell.proxy_log is None else _outcome_in_log()
    return rules


_OK = pl.col("code") == "OK"
_AT_PROXY = pl.col("proxy_rows") > 0
_AT_REPLICA = pl.col("replica_rows") > 0


def _own_rows(cell: Cell) -> list[Rule]:
    """Return the rules about single rows."""
    # Clocks of other machines are estimated: what they say is compared with the send.
    ours = {"proxy_ns": cell.proxy_log is None, "first_arrived_ns": not cell.record.own_clocks}
    moments = ["planned_ns", *(name for name, is_ours in ours.items() if is_ours)]
    named = cell.record.replica_from != UPSTREAM_LOG  # otherwise no answer names its replica
    return [
        Rule("before_start", "began before the cell's start", pl.min_horizontal(moments) < 0),
        Rule(
            "sent_early",
            "left before the planned time, or before it was ready",
            (pl.col("sent_ns") < pl.col("ready_ns")) | (pl.col("ready_ns") < pl.col("planned_ns")),
        ),
        Rule("ended_before_send", "ended before the send", pl.col("done_ns") < pl.col("sent_ns")),
        Rule(
            "nobody_answered",
            "ended with OK at the client, which names no replica",
            _OK & (pl.col("replica") == "") & pl.lit(named),
        ),
        Rule(
            "another_client",
            "had the number of another client",
            pl.col("client") != pl.col("request_id") // REQUEST_IDS_PER_CLIENT,
        ),
    ]


def _order(clocks: CellClocks, cut: Cut, allowed: Allowances) -> list[Rule]:
    """Return the rules about the order of different parties' moments, as exactly as the clocks allow."""
    inside_ns = pl.col("queue_ns") + pl.col("service_ns")
    negative = pl.min_horizontal("queue_ns", "service_ns") < 0
    rules = [
        Rule(
            "replica_before_send",
            "reached a replica before the client's send",
            pl.col("first_arrived_ns") < pl.col("sent_ns") - clocks.replica_ns,
        ),
        Rule(
            "too_long_inside",
            "had more time in queue and slot than in the whole replica, or a negative time",
            negative | (pl.col("finished_ns") - pl.col("arrived_ns") < inside_ns),
        ),
        Rule(
            "answered_before_finished",
            "ended with OK at the client before the end in the replica",
            _OK & (pl.col("done_ns") < pl.col("finished_ns") - clocks.replica_ns),
        ),
    ]
    if cut == "replicas":
        return rules
    rules += [
        Rule(
            "proxy_before_send",
            "reached the proxy before the client's send",
            pl.col("proxy_ns") < pl.col("sent_ns") - clocks.proxy_ns,
        ),
        Rule(
            "passed_on_before_finished",
            "left the proxy with OK before the end in the replica",
            # Without an exact duration, the proxy's whole milliseconds are rounded down. Envoy reads the wall
            # clock and then the monotonic clock when a request starts. If the system interrupts it between
            # the two, the start is right, but the duration is too short, and so the end is too early.
            _OK & (pl.col("proxied_ns") + 1_000_000 < pl.col("finished_ns") - clocks.proxy_ns),
            may_seem_broken=True,
        ),
        Rule(
            "answered_before_proxy",
            "ended with OK at the client before the proxy passed the answer on",
            _OK & (pl.col("done_ns") < pl.col("proxied_ns") - clocks.proxy_ns),
        ),
        Rule(
            "no_time_at_proxy",
            "had no time in the proxy's ledger",
            _AT_PROXY & pl.col("proxied_ns").is_null(),
        ),
    ]
    if allowed.whole_proxy:
        early = pl.col("first_arrived_ns") < pl.col("proxy_ns") - clocks.proxy_ns
        rules.append(Rule("replica_before_proxy", "reached a replica before the proxy", early))
    return rules


def _outcome_at_replica(allowed: Allowances, *, proxied: bool) -> list[Rule]:
    """Return the rules about the codes of client and replica."""
    code, theirs = pl.col("code"), pl.col("replica_code")
    rules = [
        Rule(
            "ok_only_at_client",
            "ended with OK at the client and with another code at the replica",
            _OK & _AT_REPLICA & (theirs != "OK"),
        ),
        Rule(
            "ok_by_another",
            "ended with OK at another replica than the one that the client names",
            _OK & _AT_REPLICA & (pl.col("answered_by") != pl.col("replica")),
        ),
    ]
    if proxied:
        return rules
    late = _deadline_passed(allowed)
    broken = code.is_in(BROKEN_CONNECTION) & (pl.col("done_ns") >= allowed.replica_breaks_ns)
    broken |= code.is_in(BROKEN_CONNECTION) & (pl.col("done_ns") >= allowed.proxy_breaks_ns)
    rules += [
        Rule(
            "failed_only_at_client",
            "failed at the client, although the replica ended with OK in time",
            ~_OK & (theirs == "OK") & ~late & ~broken,
        ),
        Rule(
            "codes_differ",
            "failed with one code at the client and another at the replica",
            ~_OK & (theirs != "OK") & (theirs != code) & ~_given_up(code, theirs) & ~late & ~broken,
        ),
    ]
    return rules


def _deadline_passed(allowed: Allowances) -> pl.Expr:
    """Return whether the client gave up: its deadline had come, or it cancels calls on purpose."""
    waited_ns = pl.col("done_ns") - pl.col("sent_ns")
    late = (pl.col("code") == DEADLINE) & (waited_ns >= allowed.deadline_ns - DEADLINE_SLACK_NS)
    return late | (pl.col("code") == CANCELLED) if allowed.gives_up else late


def _given_up(code: pl.Expr, at_replica: pl.Expr) -> pl.Expr:
    """Return whether the replica's handler was cancelled, and the caller has a code that goes with that.

    A deadline cancels the handler, a caller that leaves does, and a server that is stopped.
    """
    return at_replica.is_in([CANCELLED, DEADLINE]) & code.is_in([CANCELLED, DEADLINE, UNAVAILABLE])


def _outcome_at_proxy(allowed: Allowances) -> list[Rule]:
    """Return the rules about the codes of client, proxy and replica, where the proxy has a ledger."""
    code, proxy, theirs = pl.col("code"), pl.col("proxy_code"), pl.col("replica_code")
    late = _deadline_passed(allowed)
    broken = code.is_in(BROKEN_CONNECTION) & (pl.col("done_ns") >= allowed.proxy_breaks_ns)
    # An answer that the proxy cuts off after its headers has no status: the client sees a reset stream.
    # Where the call's deadline has come at the proxy, Envoy cuts it off without a flag.
    by_proxy = (pl.col("proxy_flags") != "-") | (pl.col("proxy_details") == TOO_LONG_AT_PROXY)
    by_proxy &= ~pl.col("proxy_flags").str.contains(ENDED_BY_CLIENT)
    reset = code.is_in(BROKEN_CONNECTION) & (code != CANCELLED) & by_proxy
    explained = late | broken | reset
    stopped = proxy.is_in([CANCELLED, UNAVAILABLE]) & (pl.col("done_ns") >= allowed.replica_breaks_ns)
    relayed = (pl.col("proxy_details") == "via_upstream") & (pl.col("proxy_flags") == "-")
    return [
        Rule(
            "ok_not_at_proxy",
            "ended with OK at the client and with another code at the proxy",
            _OK & _AT_PROXY & (proxy.is_null() | (proxy != "OK")),
        ),
        Rule(
            "failed_behind_proxy",
            "failed at the client, although the proxy passed OK on in time",
            ~_OK & (proxy == "OK") & ~late & ~broken,
        ),
        Rule(
            "proxy_code_differs",
            "failed with one code at the client and another at the proxy",
            ~_OK & (proxy != "OK") & (proxy != code) & ~explained,
        ),
        Rule(
            "proxy_gave_no_code",
            "failed with a code that the proxy did not give",
            ~_OK & _AT_PROXY & proxy.is_null() & ~explained,
        ),
        Rule(
            "relayed_code_differs",
            "had another code at the replica than the one that the proxy passed on",
            _AT_REPLICA & relayed & (proxy != theirs) & ~_given_up(proxy, theirs) & ~late & ~stopped,
        ),
        Rule(
            "http_status",
            "had an HTTP status that no gRPC answer has",
            _AT_PROXY & (pl.col("proxy_http") != pl.when(proxy.is_null()).then(0).otherwise(200)),
        ),
    ]


def _outcome_in_log() -> list[Rule]:
    """Return the rule for the log of another balancer: it has HTTP statuses, no gRPC codes."""
    words = "ended with OK at the client and with another HTTP status than 200 at the proxy"
    return [Rule("ok_not_in_log", words, _OK & (pl.col("proxy_http") != 200))]


def _attempts(cell: Cell, allowed: Allowances, *, proxied: bool) -> list[Rule]:
    """Return the rules about attempts: as many as the arm's retries allow, after codes that they name."""
    retries = allowed.retries
    by_proxy = retries.attempts if retries is not None and retries.by == "proxy" else 1
    by_client = retries.attempts if retries is not None and retries.by == "client" else allowed.hedges
    rules = [
        Rule(
            "too_many_at_replicas",
            f"had more attempts at replicas than {by_proxy * by_client}",
            pl.col("replica_rows") > by_proxy * by_client,
        )
    ]
    if proxied:
        per_row = pl.col("proxy_attempts") > by_proxy * pl.col("proxy_rows")
        rules += [
            Rule("too_many_by_proxy", f"had more attempts by the proxy than {by_proxy}", per_row),
            Rule(
                "too_many_by_client",
                f"reached the proxy more often than allowed ({by_client})",
                pl.col("proxy_rows") > by_client,
            ),
        ]
        counted = cell.proxy_log is None  # no log of another balancer counts attempts
        if counted and allowed.whole_proxy and "replica" not in cell.record.missing_ledgers:
            more = pl.col("replica_rows") > pl.col("proxy_attempts")
            rules.append(
                Rule("more_than_proxy_made", "had more attempts at replicas than the proxy made", more)
            )
    if retries is not None:
        causes = [*retries.on, CANCELLED, DEADLINE]
        # An answer that is lost on its way back, or comes too late, is repeated although the replica gave it.
        lost = retries.attempt_timeout_ms is not None or allowed.replica_breaks_ns < _NEVER_NS
        causes += ["OK"] if lost or allowed.proxy_breaks_ns < _NEVER_NS else []
        other = pl.col("earlier_codes").list.eval(~pl.element().is_in(causes)).list.any()
        words = f"went out again after another code than {', '.join(retries.on)}"
        rules.append(Rule("repeated_without_cause", words, other))
    return rules


def _copies(cell: Cell, *, proxied: bool) -> list[Rule]:
    """Return the rules about facts that two parties wrote down: they are the same."""
    told = [pl.col(f"told_{name}") != pl.col(name) for name in ("queue_ns", "service_ns", "in_flight")]
    one_each = pl.col("method") != "GetVideos"  # its replica counts the one reply, the client its videos
    told.append((pl.col("told_messages") != pl.col("messages")) & one_each)
    methods = pl.col("method") != pl.col("replica_method")
    if proxied:
        methods |= pl.col("method") != pl.col("proxy_method")
    rules = [Rule("another_method", "had another method in another ledger", methods)]
    if cell.record.own_clocks:
        return rules  # what is between the lab's clients and such replicas may drop or change headers
    connection = _told_connection(cell) if proxied else pl.col("peer")
    return [
        *rules,
        Rule(
            "told_otherwise",
            "had other times or counts at the client than the replica wrote down",
            _OK & _AT_REPLICA & pl.any_horizontal(told),
        ),
        Rule(
            "another_connection",
            "came over another connection than the client was told",
            _OK & (pl.col("connection") != connection),
        ),
    ]


def _told_connection(cell: Cell) -> pl.Expr:
    """Return the proxy's connection as its node tells the client (fields.connection_prefix)."""
    number = (pl.col("proxy_connection") % CONNECTIONS_OF_NODE).cast(pl.String)
    prefixes = {node: connection_prefix(node) for node in cell.record.proxies}
    if not prefixes:
        return pl.col("proxy_connection").cast(pl.String)
    return pl.col("proxy_node").replace_strict(prefixes, default=None, return_dtype=pl.String) + number
