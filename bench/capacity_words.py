"""The words of the page on capacity; bench.capacity_page puts the figures between them."""

NAMES = {
    "load": "load process",
    "envoy": "Envoy, one worker",
    "replica": "replica (asyncio)",
}

INTRODUCTION = """\
# What one core carries
How many requests a second, clients and replicas one core carries, part by part; from that, how many cores
a larger lab needs. Measured, not promised: {points} short measurements on one machine with {cpus} cores
and {memory_gib:.0f} GiB of memory{machine}; Python {python}, Envoy {envoy}, grpcio {grpcio}. All else on
that machine took {others} cores meanwhile (median, least to most): a point at which it took more than
{calm} was measured again, and its calmest time counts. Make your own:

```sh
make capacity    # results/capacity: some twelve minutes; goes on where it was interrupted
```

`python -m bench.capacity_page bench/capacity.json` writes this page from
the measured points. A figure is the median of three rounds, with the least and the most in brackets. The
calls are AddVideo, the replicas sleep for 2 ms, logs and ledgers are on, as in an experiment.

## One process
Each part alone, with 24 connections to peers that cost little (HTTP/2 frames made beforehand), so that it
is the one that fills its core. A load process keeps up while 99 % of its calls leave within {lag_ms:.0f} ms
of their planned time.
"""

NEEDED = """
A load process, an Envoy worker and a replica each fill about one core and no more. What wants more cores
wants more of them: `--processes` or workers on other machines ([more-load.md](more-load.md)),
`proxy_workers`, and `replicas: {{count: ...}}`.

## Cores for more
Computed from the table above: one core for each process that the rate takes. The first figure fills every
core, which no lab should run; the second gives each process {share:.0%} of what it carries.
"""

LAW = """
Rates beyond one machine are extrapolated: the network between machines costs more than loopback, and that
is not in here.

## The law of growth
`cores of one process = a + b * calls/s + c * clients`: least squares of the relative errors, over all
points at which the plan was kept. Clients are those that have a connection to the process (alone: 24).

![CPU of each part against its rate, the fitted laws, and how far each point is off them](images/capacity.png)
"""

REPLICAS = """
The nearer a process is to a full core, the less a call costs: compare b in a cell, b alone, and the CPU a
call of the first table. (The likely reason: an idle process is woken for every call, a busy one takes several
at once.) The cores for more are counted from the full process; where many processes share few cores, as in
these cells, count with the dearer law. How much one point differs from round to round is in the last table.

## Replicas on one core
Computed, 1 / cores, from whole cells with 24 clients behind Envoy.
"""

CLIENTS = """
## Clients, memory, files
At 400 calls/s in all: straight lines through 6 to 1,536 clients behind Envoy. To a replica, a client is a
connection, and the clients call it directly. Memory is the process's own (USS): what a load process or a
replica shares with the fork server that made it is not in it. Clients a core: 1 / c of the law in a
cell, which is what they cost beside their calls.
"""

ROWS = """
The lab raises its own limit of open files as far as it may. Where `ulimit -Hn` says 1,024, a load process
has room for about a thousand clients behind a proxy; called directly, each client has a connection to
every replica.

## Rows on disk
"""

SUMMARY = """
The client's rows are Parquet once a cell is over, and CSV of about five times that size while it runs.

## Judging
One cell with its three ledgers, judged by one process: read, join, count, reconcile. The rows are those
of a real cell, written again and again with other request ids.
"""

AFTERWORD = """
## What this does not say
- Your machine: CPU a call differs from one to the next by more than the spread here.
- TLS, sticky cookies, streams, large messages: they cost more. `make bench` knows what a cookie jar costs.
- Replicas that compute. Here they sleep; with `burn_cpu` their own work comes on top.
- Latency near a full core. Who carries the most has a queue: plan for less.
"""

POINTS = """
## All points
`lab`: a whole cell with all its parts on this machine, which all fall behind together once its cores are
full. `load`, `envoy`, `replica`: that part alone; clients are connections, and replicas are what stands
for them.
"""
