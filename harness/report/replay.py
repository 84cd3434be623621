"""The replay of a run: what the report's page is given to show recorded requests travel, wait and be served.

One repeat of each arm is packed. If the run has more requests than a page can hold, a part of the time is.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import polars as pl
from jinja2.utils import htmlsafe_json_dumps
from markupsafe import Markup

from harness.analysis.clocks import clocks_of
from harness.analysis.moments import UNARY, Moments, moments_of
from harness.analysis.search import arms_at_the_ends
from harness.analysis.summary import Facts
from harness.events.registry import kind_of
from harness.metrics.metric import show
from harness.plan.rate_path import rate_curve
from harness.record.event_log import AskedEvent
from harness.record.run_directory import Cell, Run
from harness.record.summary import SearchSummary
from harness.record.tables import table_errors
from harness.report.event_tables import lasts_until_s
from harness.report.replay_data import QUANTUM_NS, pack
from harness.spec.experiment import Experiment

MAX_ROWS = 30_000  # requests and messages on a page, of all arms together: about 250 KB
_BINS = 200  # in which the busiest moment is looked for
_BEFORE_EVENT = 0.25  # share of the part shown that lies before the first event

Points = list[tuple[int, float]]


@dataclass(frozen=True)
class Replay:
    """What the page shows. data: a JSON object, see `replay_of`. intro: how the arms compare. note: which
    requests are shown."""

    data: Mapping[str, Any]
    intro: str
    note: str

    @property
    def arms(self) -> Sequence[str]:
        """The names of the arms that can be shown."""
        return [arm["name"] for arm in self.data["arms"]]

    @property
    def script_data(self) -> Markup:
        """The data as JSON that may stand in a <script> element: no text in it can end the element."""
        return htmlsafe_json_dumps(self.data, separators=(",", ":"))


@dataclass(frozen=True)
class _Part:
    """The part of the measured window that is shown: ns from its start. to_ns: None: to the last answer."""

    from_ns: int
    to_ns: int | None


def believed(run: Run, facts: Facts, search: SearchSummary | None = None) -> Run:
    """Return the run without the cells whose records contradict themselves.

    Of a search: only the cells at the ends of each arm's bracket.
    """
    wrong = {(cell.arm, cell.repeat) for cells in facts.values() for cell in cells if cell.contradictions}
    cells = [cell for cell in run.cells if (cell.record.arm, cell.record.repeat) not in wrong]
    if search is not None:
        ends = arms_at_the_ends(search)
        cells = [cell for cell in cells if cell.record.arm in ends]
    return replace(run, cells=cells)


def replay_of(run: Run) -> Replay | None:
    """Return the replay of a run; None where no cell has a request.

    Raises UserError naming the cell's folder when a ledger cannot be read.
    """
    sizes = {name: size for name in run.experiment.variants if (size := _first_with_requests(run, name))}
    cells = {name: cell for name, (cell, _) in sizes.items()}
    if not cells:
        return None
    total = sum(size for _, size in sizes.values())
    part = _part_shown(cells, total)
    moments = {name: moments_of(cell, part.from_ns, part.to_ns) for name, cell in cells.items()}
    together = pl.concat(each.requests.select("client", "method", "code") for each in moments.values())
    clients = [client for client, _ in Counter(together["client"].to_list()).most_common()]
    methods = [UNARY, *sorted(set(together["method"]) - {UNARY})]
    codes = ["OK", *sorted(set(together["code"]) - {"OK"})]
    rates: list[Points] = []
    arms = []
    for name, cell in cells.items():
        packed = pack(moments[name], clients, methods, codes)
        end_ns = part.to_ns if part.to_ns is not None else _last_moment_ns(moments[name]) + QUANTUM_NS
        end = {"end": end_ns // QUANTUM_NS}
        rate = _place_in(rates, _planned_rate(run.experiment, cell, part))
        arms.append({"name": name, **end, "rate": rate, **_described(run, cell), **vars(packed)})
    data = {
        "quantum_us": QUANTUM_NS // 1000,
        "from": part.from_ns // QUANTUM_NS,
        "load_end": max(cell.record.window_ns for cell in cells.values()) // QUANTUM_NS,
        "clients": clients,
        "methods": methods,
        "codes": codes,
        "rates": rates,
        "shown": _compared(run.experiment, list(cells)),
        "arms": arms,
    }
    return Replay(data, _intro(run, list(cells)), _note(run, cells, part, total, moments))


def _first_with_requests(run: Run, arm: str) -> tuple[Cell, int] | None:
    """Return the first cell of an arm that was measured and has a request, and its size; None without one."""
    cells = (cell for cell in run.cells_of(arm) if cell.record.window_ns > 0)
    return next(((cell, size) for cell in cells if (size := _size(cell))), None)


def _size(cell: Cell) -> int:
    """Return how many requests and messages the measured window has."""
    with table_errors(cell.folder, "ledgers written by this lab"):
        rows = [_in_window(cell).select("request_id")]
        if (messages := cell.messages()) is not None:
            rows.append(messages.select("request_id").join(rows[0], on="request_id", how="semi"))
        return int(pl.concat(rows).select(pl.len()).collect(engine="streaming").item())


def _in_window(cell: Cell) -> pl.LazyFrame:
    record = cell.record
    planned = pl.col("planned_ns")
    return cell.requests().filter(
        planned.is_between(record.measure_start_ns, record.measure_end_ns, closed="left")
    )


def _part_shown(cells: Mapping[str, Cell], total: int) -> _Part:
    """Return the part to show. total: how many requests and messages all of it would be."""
    if total <= MAX_ROWS:
        return _Part(0, None)
    window_ns = max(cell.record.window_ns for cell in cells.values())
    length_ns = int(window_ns * MAX_ROWS / total)
    events_ns = [
        event.t_ns - cell.record.measure_start_ns for cell in cells.values() for event in cell.events()
    ]
    if events_ns:
        from_ns = min(events_ns) - int(length_ns * _BEFORE_EVENT)
    else:
        from_ns = max(map(_busiest_ns, cells.values())) - length_ns // 2
    from_ns = min(max(0, from_ns), window_ns - length_ns)
    from_ns -= from_ns % QUANTUM_NS
    return _Part(from_ns, from_ns + length_ns - length_ns % QUANTUM_NS)


def _busiest_ns(cell: Cell) -> int:
    """Return about when most requests of the measured window were under way, ns from its start."""
    width_ns = cell.record.window_ns // _BINS + 1
    start_ns = cell.record.measure_start_ns

    def changes(column: str, change: int) -> pl.LazyFrame:
        place = ((pl.col(column) - start_ns) // width_ns).clip(0, _BINS).alias("bin")
        return _in_window(cell).group_by(place).agg((pl.len().cast(pl.Int64) * change).alias("change"))

    with table_errors(cell.folder, "ledgers written by this lab"):
        under_way = (
            pl.concat([changes("sent_ns", 1), changes("done_ns", -1)])
            .group_by("bin")
            .agg(pl.sum("change"))
            .sort("bin")
            .with_columns(pl.col("change").cum_sum())
            .collect(engine="streaming")
        )
    return int(under_way.sort("change", descending=True, maintain_order=True)["bin"][0]) * width_ns


def _last_moment_ns(moments: Moments) -> int:
    """Return when the last answer came, or the last replica was done with a request."""
    ends: list[Any] = [moments.requests["done_ns"].max(), moments.stays["finished_ns"].max()]
    return int(max(end for end in ends if end is not None))


def _compared(experiment: Experiment, arms: Sequence[str]) -> list[str]:
    """Return the two arms that the expectations compare; else the first two that they name, or that ran."""
    named = [{one.arm, one.of} for one in experiment.expect if one.of is not None]
    named += [{one.arm} for one in experiment.expect]
    # Expectations about a search name the arms of the file. The first cell of each of them is shown.
    called = {arm: experiment.variants[arm].base if experiment.search else arm for arm in arms}
    first = [arm for number, arm in enumerate(arms) if called[arm] not in map(called.get, arms[:number])]
    chosen: list[str] = []
    for group in [*named, set(called.values())]:
        chosen += [arm for arm in first if called[arm] in group and arm not in chosen]
        if len(chosen) > 1:
            break
    return sorted(chosen[:2], key=arms.index)


def _described(run: Run, cell: Cell) -> dict[str, Any]:
    """Return what the page needs to know of a cell besides its requests."""
    record = cell.record
    names = list(record.replicas)
    replicas, ours = run.experiment.replicas, run.manifest.testbed != "external"
    return {
        "route": record.route,
        "policy": record.policy,
        "repeat": record.repeat,
        "nodes": [
            {"name": node, "zone": record.zones.get(node, ""), "away": _away(cell, node)}
            for node in record.proxies
        ],
        "replicas": names,
        "zones": [record.zones.get(name, "") for name in names],
        "slots": [replicas.work_of(name).slots if ours else 0 for name in names],
        "there_from": _there_from(cell, names),
        "events": _events(cell, names, list(record.proxies)),
        "proxy_sees": [
            [_quantum(cell, change.t_ns), names.index(change.replica), change.state]
            for change in cell.endpoint_changes()
            if change.replica in names
        ],
    }


def _planned_rate(experiment: Experiment, cell: Cell, part: _Part) -> Points | None:
    """Return (quantum, requests/s) of the part shown, straight lines in between; None: a steady rate."""
    work = experiment.workload_of(experiment.variants[cell.record.arm].arm)
    curve, mean_per_s = rate_curve(work, experiment.seed, cell.record.repeat), work.mean_rate_per_s
    if curve is None or mean_per_s is None:
        return None
    window_ns = cell.record.window_ns
    from_s, to_s = part.from_ns / 1e9, min(window_ns, part.to_ns or window_ns) / 1e9
    last = curve.factor(math.nextafter(to_s, 0))  # a jump at the very end is none of the window
    inside = [(at_s, factor) for at_s, factor in curve.points if from_s < at_s < to_s]
    lines = [(from_s, curve.factor(from_s)), *inside, (to_s, last)]
    return [(round(at_s * 1e9) // QUANTUM_NS, round(factor * mean_per_s, 3)) for at_s, factor in lines]


def _place_in(rates: list[Points], rate: Points | None) -> int | None:
    """Return the place of `rate` in `rates`, to which a new one is added: mostly all arms have the same."""
    if rate is None:
        return None
    if rate not in rates:
        rates.append(rate)
    return rates.index(rate)


def _quantum(cell: Cell, t_ns: int) -> int:
    return (t_ns - cell.record.measure_start_ns) // QUANTUM_NS


def _there_from(cell: Cell, names: Sequence[str]) -> list[int | None]:
    """Return for each replica when it joined; null for those that were there at the start."""
    joined: dict[str, int] = {}
    for event in cell.events():
        if kind_of(event.do).returns:
            for name in event.targets:
                joined.setdefault(name, _quantum(cell, event.t_ns))
    return [None if name in cell.record.initial_replicas else joined.get(name, 0) for name in names]


def _away(cell: Cell, node: str) -> list[tuple[int, int | None]]:
    """Return when a node of the proxy does not run: (from, until), in quanta.

    From -1: it is added later. Until null: it does not start again.
    """
    spans: list[tuple[int, int | None]] = []
    for event in cell.events():
        if node not in event.targets:
            continue
        kind = kind_of(event.do)
        seen_ns = (effect.t_ns for effect in event.effects if effect.target == node)
        at = _quantum(cell, next(seen_ns, event.t_ns))
        if kind.new_nodes:
            spans.append((-1, at))
        elif kind.after == "ended":
            spans.append((at, None))
        elif kind.after == "running" and spans and spans[-1][1] is None:
            spans[-1] = (spans[-1][0], at)
    return spans


@dataclass(frozen=True)
class _Timed:
    """An event with its times as `lasts_until_s` wants them."""

    number: int
    do: str
    targets: Sequence[str]
    undoes: int | None
    at_s: float
    took_effect_ns: float | None

    @classmethod
    def of(cls, cell: Cell, event: AskedEvent) -> _Timed:
        seen_ns = [effect.t_ns - event.t_ns for effect in event.effects]
        at_s = (event.t_ns - cell.record.measure_start_ns) / 1e9
        return cls(event.number, event.do, event.targets, event.undoes, at_s, max(seen_ns, default=None))


def _events(cell: Cell, names: Sequence[str], nodes: Sequence[str]) -> list[dict[str, Any]]:
    """Return the events: when, until when (null: a change that stays), in words, on which parts."""
    events = [_Timed.of(cell, event) for event in cell.events()]
    window_s = cell.record.window_ns / 1e9
    quanta_per_s = 1_000_000_000 // QUANTUM_NS
    found = []
    for event in events:
        until_s = lasts_until_s(event, events, window_s)
        kind = kind_of(event.do)
        found.append(
            {
                "number": event.number,
                "at": int(event.at_s * quanta_per_s),
                "until": None if until_s is None else int(until_s * quanta_per_s),
                "name": kind.label(()),
                "label": kind.label(event.targets),
                "ends_another": event.undoes is not None,
                "returns": kind.returns,
                "replicas": [names.index(target) for target in event.targets if target in names],
                "nodes": [nodes.index(target) for target in event.targets if target in nodes],
            }
        )
    return found


def _intro(run: Run, arms: Sequence[str]) -> str:
    """Return what is replayed, and what the arms have in common."""
    experiment = run.experiment
    what = f"{'Simulated' if run.manifest.testbed == 'simulated' else 'Recorded'} traffic, slowed down."
    if len(arms) == 1:
        return what
    workloads = [experiment.workload_of(experiment.variants[arm].arm) for arm in arms]
    same = workloads[0].rate_per_s is not None and all(workload == workloads[0] for workload in workloads)
    alike = " and get the same requests at the same times" if same else ""
    return f"{what} Both arms run on one clock{alike}."


def _note(
    run: Run, cells: Mapping[str, Cell], part: _Part, total: int, moments: Mapping[str, Moments]
) -> str:
    """Return which requests are shown, and what is not drawn to scale."""
    repeats = sorted({cell.record.repeat for cell in cells.values()})
    which = f"repeat {repeats[0]}" if len(repeats) == 1 else "the first recorded repeat of each arm"
    recorded = max(len(run.cells_of(arm)) for arm in cells)
    of = f" of {recorded}" if len(repeats) == 1 and recorded > 1 else ""
    rows = sum(each.requests.height + each.messages.height for each in moments.values())
    if part.to_ns is None:
        shown = f"Shown: {which}{of}, every request of the measured window until its answer."
    else:
        shown = (
            f"Shown: {which}{of}, only {show(round(part.from_ns / 1e9, 2))} s to "
            f"{show(round(part.to_ns / 1e9, 2))} s of {show(_window_s(cells))} s, "
            f"{rows:,} of {total:,} requests and messages: a page has room for about {MAX_ROWS:,}. "
            "The tables and plots below count all of them."
        )
    off_ns = [clocks_of(cell).replica_ns for cell in cells.values() if cell.record.own_clocks]
    if off_ns:
        shown += f" The replicas have clocks of their own, set here to within {show(max(off_ns) / 1e6)} ms."
    return shown


def _window_s(cells: Mapping[str, Cell]) -> float:
    return round(max(cell.record.window_ns for cell in cells.values()) / 1e9, 2)
