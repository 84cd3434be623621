"""Makes docs/events.md from the registry of event kinds."""

from collections.abc import Callable
from string import Template

from harness.events.keys import OWN_KEYS
from harness.events.kind import ANY_STATE, NOT_ENDED, EndpointChange, EventKind, Membership, State
from harness.events.registry import EVENT_KINDS, meaning_of_key

PAGE = Template("""\
# Events: what changes while the load goes on
An experiment may have a timeline, `events:`. An arm may have its own timeline instead. Times count from the start of
measuring. The lab checks the whole timeline before anything starts. Times must be within the measured window, targets
must exist at that time, and a replica that runs cannot be started.

```yaml
events:
  - {at_s: 1.0, do: kill, target: replica-0, for_s: 1.5}   # and started again 1.5 s later
  - {at_s: 3.0, do: slow, target: most_loaded, factor: 10}
```

`target` is one of these:
- a replica's name;
- `any`: a replica drawn by the seed, the same in all arms of a repeat;
- `most_loaded`: the replica that has had the most calls so far, asked when the event happens;
- `all`;
- a share of the fleet (`0.5`: the first half).

`for_s` adds the opposite event that many seconds later. That event has a number of its own.

`make schema` writes this page from the registry of event kinds. Each kind is one entry, and each family one file, in
[harness/events/](../harness/events/registry.py).

## The kinds

| `do` | what happens | example | what ends it |
|---|---|---|---|
$kinds

A replica keeps its address for its whole life, because the lab holds its port while the replica is down. So old cookies
and old subchannels find a restarted replica, like an instance that reboots. A replica that is added has a new address,
like a new task or pod. The same is true of the nodes of the proxy.

## Keys of single kinds
Types and bounds: [experiments/schema.json](../experiments/schema.json).

| key | meaning |
|---|---|
$keys

## How clients and proxy learn of it
| route | the list of endpoints changes | a replica goes away | it comes back |
|---|---|---|---|
| `envoy`, `envoy-l4` | EDS, within about 10 ms | connections that break, health checks, ejection | health checks |
| `direct`, `discovery: addresses` | never: the list is fixed | connections that break, GOAWAY | gRPC's next try: 1 s after the first failure, then 1.6 times as long each time, up to `reconnect_backoff_ms` if that is set |
| `direct`, `discovery: dns` | gRPC asks the name server again when a connection ends (GOAWAY, `max_connection_age_s`), never by time, and at most every `dns_interval_ms` | as above | as above, and by asking again |
| `xds` | the control plane tells the clients (EDS), within about 20 ms | connections that break, GOAWAY, ejection | as above |

A node of a proxy that has several (`proxies: 3`) is another matter. Clients find the nodes by one name. The lab's name
server names the nodes that run, or all of them where none runs. An ALB's name does the same, only later: Route 53 must
first notice by its own health checks. A client whose node dies loses its calls in flight. It then asks for the name
again and goes on with another node. gRPC asks at most every 30 s unless `dns_interval_ms` says otherwise. Until then it
uses the nodes of its old answer, and a client with `proxy_use: spread` connects to the node again when it is back. A
client whose answer lacks that node goes there only after it has asked again, which it does when a connection ends. So the
other nodes keep the clients that they took over.

`proxy_add` is how an ALB scales out: a new node starts at a new address, and the name names it, too. Nobody tells the
clients. gRPC asks for the name again when a connection ends, and never by time. So clients whose connections last do not
use the new node, whether they stay with one node or spread over all. `max_connection_age_s` ends connections, as an ALB
does after 3600 s (its client keepalive duration). Then a client that stays draws its node anew from all that are named,
and a client that spreads takes the new node in turn with the others. For that, `dns_interval_ms` must be shorter than
the age. Before the name server names the node, the lab reads back its configuration and endpoints. With zones, nodes
are dealt out in turn, so the third of two zones is in the first.

With `health_check: true`, direct clients also watch the replicas' health service (gRPC's `Watch`).

The record of an event says how clients and proxy of its arm learn of it. If the list of endpoints changes, that depends
on the route:

| `do` | how clients and proxy learn of it |
|---|---|
$learning

## How the figures count it
A failed request belongs to the event after which it was planned. It belongs to a later event instead if that event breaks
calls in flight and was asked for before the request ended. A session needs to move if its replica was taken away, or if a
replica that came has taken it over. A replica that is slow or fails is still there, so no session needs to move.

| `do` | a target must be | it is then | calls in flight | its targets, for sessions | ends |
|---|---|---|---|---|---|
$figures

In plots, an event that another event ends is shaded until then. An event that ends by itself is shaded until it has taken
effect. All other events are lines.

## What is recorded
The lab records when each event was asked for, when it took effect, and where that was seen. It sees the end or readiness
of a process, LabControl's answer, or Envoy's state of the endpoint. The file is `events.jsonl`
([results/README.md](../results/README.md)). From these come the metrics `event1.*` to `event6.*`, numbered by time, which
expectations can use:
- failed and delayed requests, and the time until the last failure;
- the longest gap of a session;
- sessions that moved, sessions that had to move, and sessions that returned;
- how long a new replica takes to get its fair share;
- lost answers, and attempts per request.

## What the ledgers say of it
A killed replica loses the rows of its calls in flight. But a request that was answered with OK is in the ledgers of client
and replica, because the replica writes its row before the answer leaves. `answers_lost` counts the requests that a replica
finished while the client got an error.

Envoy writes its log every 100 ms. A node that was killed loses the rows since then, also of requests that were answered
with OK, and a restarted Envoy may lose its last rows. `incomplete_ledgers` in `cell.json` names such replicas and nodes.
""")  # noqa: E501 a table's row is one line

_CHANGES: dict[EndpointChange, str] = {
    "members": "the list of endpoints changes",
    "weights": "the list of endpoints changes, for proxy and control plane: DNS has no weights",
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
        "" if kind.aim == "proxy" and not kind.takes_node else _before(kind.before),
        f"`{kind.after}`" if kind.after else "",
        "may fail" if kind.breaks_calls else "go on",
        "" if kind.aim == "proxy" else _WORDS[kind.membership],
        "by itself" if kind.temporary else by_other,
    ]


def _before(states: tuple[State, ...]) -> str:
    if states in (ANY_STATE, NOT_ENDED):
        return "anything" if states == ANY_STATE else "not `ended`"
    return " or ".join(f"`{state}`" for state in states)
