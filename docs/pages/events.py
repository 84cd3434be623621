"""Makes docs/events.md from the registry of event kinds."""

from collections.abc import Callable
from string import Template

from harness.events.keys import OWN_KEYS
from harness.events.kind import ANY_STATE, NOT_ENDED, EndpointChange, EventKind, Membership, State
from harness.events.registry import EVENT_KINDS, meaning_of_key

PAGE = Template("""\
# Events: what changes while the load goes on

An experiment may have a timeline, `events:`, and an arm one of its own in its place. Times count from the
start of measuring. The whole timeline is checked before anything starts: times within the measured window,
targets that exist at that time, nothing started that runs.

```yaml
events:
  - {at_s: 1.0, do: kill, target: replica-0, for_s: 1.5}   # and started again 1.5 s later
  - {at_s: 3.0, do: slow, target: most_loaded, factor: 10}
```

`target` is a replica's name, `any` (drawn by the seed, alike in all arms of a repeat), `most_loaded` (the
one with most calls so far, asked when it happens), `all`, or a share of the fleet (`0.5`: the first half).
`for_s` stands for the opposite event that much later; it has a number of its own.

`make schema` writes this page from the kinds that the lab itself goes by: one entry for
each, a family a file, in [harness/events/](../harness/events/registry.py).

## The kinds

| `do` | what happens to the real part | example | what ends it |
|---|---|---|---|
$kinds

A replica keeps its address for life: its port is held while nobody listens on it. So a restarted replica is
where old cookies and old subchannels expect it, as an instance that reboots; a replica that is added has a
new address, as a new task or pod.

## Keys of single kinds
Types and bounds: [experiments/schema.json](../experiments/schema.json).

| key | meaning |
|---|---|
$keys

## Who learns of it, and how
| route | the list of endpoints changes | a replica goes away | it comes back |
|---|---|---|---|
| `envoy`, `envoy-l4` | EDS, within about 10 ms | connections that break, health checks, ejection | health checks |
| `direct`, `discovery: addresses` | never: the list is fixed | connections that break, GOAWAY | gRPC's next try: 1 s after the first failure, then 1.6 times as long each time, unless `reconnect_backoff_ms` caps it |
| `direct`, `discovery: dns` | gRPC asks the name server again when a connection ends (GOAWAY, `max_connection_age_s`), not before and not by time; `dns_interval_ms` apart at the least | as above | as above, and by asking again |

With `health_check: true` direct clients also listen to the replicas' health service (gRPC's `Watch`).

The record of an event says how it is learned of in its arm; where the list of endpoints changes, by the route:

| `do` | how clients and proxy learn of it |
|---|---|
$learning

## What the figures make of it
A failed request belongs to the event after which it was planned, or to a later one that breaks calls under
way and was asked for before the request ended. A session needs to move when its replica was taken away, or
when a replica that came has it now. A replica that is slow or fails is still there.

| `do` | a target must be | it is then | calls under way | its targets, for sessions | ends |
|---|---|---|---|---|---|
$figures

In plots an event that another one ends is shaded until then, and an event that ends by itself until it has
taken effect. All others are lines.

## What is recorded
Each event is recorded when it was asked for and when it took effect, with where that was seen: the process's
end or readiness, LabControl's answer, Envoy's state of the endpoint (`events.jsonl`;
[results/README.md](../results/README.md)). From there come the metrics `event1.*` to `event6.*` (numbers go
by time), which expectations can use: failed and delayed requests, the time until the last failure, the
longest gap that a session saw, sessions moved and how many had to, how long a newcomer takes to its fair
share, who returned, answers that were lost, attempts per request.

## What the ledgers say of it
A killed replica loses the rows of the calls that it had in hand, a restarted Envoy may lose the last of its
log. A request that was answered with OK must be in every ledger all the same: the replica writes its row
before the answer leaves. `answers_lost` counts requests that a replica finished and whose client never heard
of it.
""")  # noqa: E501 a table's row is one line

_CHANGES: dict[EndpointChange, str] = {
    "members": "the list of endpoints changes",
    "weights": "the list of endpoints changes, for the proxy alone: DNS has no weights",
}
_WORDS: dict[Membership, str] = {
    "unchanged": "stay",
    "removes": "are taken away",
    "returns": "come",
    "replaces": "are taken away and come back",
}


def events_page() -> str:
    """Return the text of docs/events.md."""
    return PAGE.substitute(
        kinds=_rows(_kind_row),
        keys="\n".join(f"| `{key}` | {meaning_of_key(key)} |" for key in OWN_KEYS),
        learning=_rows(_learning_row),
        figures=_rows(_figures_row),
    )


def _rows(row_of: Callable[[EventKind], list[str]]) -> str:
    return "\n".join(f"| `{kind.name}` | {' | '.join(row_of(kind))} |" for kind in EVENT_KINDS.values())


def _kind_row(kind: EventKind) -> list[str]:
    where = "in containers only: " if kind.needs_containers else ""
    example = ", ".join(f"{key}: {value}" for key, value in {"do": kind.name, **kind.example}.items())
    ends = f"`{kind.opposite}`" if kind.opposite else ""
    return [where + kind.meaning, f"`{{{example}}}`", ends]


def _learning_row(kind: EventKind) -> list[str]:
    list_changes = kind.endpoints and _CHANGES[kind.endpoints]
    return [", then ".join(filter(None, [list_changes, kind.notification]))]


def _figures_row(kind: EventKind) -> list[str]:
    by_other = f"by `{kind.opposite}`" if kind.opposite else ""
    return [
        "" if kind.aim == "proxy" else _before(kind.before),
        f"`{kind.after}`" if kind.after else "",
        "may fail" if kind.breaks_calls else "go on",
        "" if kind.aim == "proxy" else _WORDS[kind.membership],
        "by itself" if kind.temporary else by_other,
    ]


def _before(states: tuple[State, ...]) -> str:
    if states in (ANY_STATE, NOT_ENDED):
        return "anything" if states == ANY_STATE else "not `ended`"
    return " or ".join(f"`{state}`" for state in states)
