"""The words of the page on capacity; bench.capacity_page puts the figures between them."""

NAMES = {
    "load": "load process, 24 clients",
    "envoy": "Envoy, one worker",
    "replica": "replica (asyncio)",
}

INTRODUCTION = """\
# What one core carries
How many requests a second, clients and replicas one core carries, part by part; from that, how many cores a larger
lab needs. Measured, not promised: {points} short measurements on one machine with {cpus} cores, {memory_gib:.0f} GiB
of memory, Python {python}, Envoy {envoy}, grpcio {grpcio}. It is a shared virtual machine: while whole cells were
measured, other processes took {others} cores (median, least to most). Make your own:

```sh
make capacity                                  # some twelve minutes; goes on where it was interrupted
```

`make capacity` writes `bench/capacity.json`, this page and its picture; nothing on this page is written by hand.
A figure is the median of three rounds, with the least and the most in brackets. The calls are AddVideo, the
replicas sleep for 2 ms, logs and ledgers are on, as in an experiment.

## One process
Each part alone, with peers that cost next to nothing (HTTP/2 frames made beforehand), so that it is the one that
fills a core. A load process keeps up while 99 % of its calls leave within {lag_ms:.0f} ms of their planned time.
"""

NEEDED = """
A load process, an Envoy worker and a replica each fill one core and no more: more cores want more processes
(`--processes`, workers on other machines; `proxy_workers`; `replicas: count`). See [more-load.md](more-load.md).

## Cores for more
Computed from the table above: a core for every process that the rate takes. First with all cores full, which no
lab should run, then with {share:.0%} of what each carries.
"""

LAW = """
What the table leaves out: the network between machines, whose cost is not measured here, and one Envoy process per
machine, whose workers share nothing but memory. Rates above one machine's are extrapolated.

## The law of growth
`cores of one process = a + b * calls/s + c * clients`, fitted by least squares of the relative errors to all points
at which the plan was kept. Clients are those with a connection to the process.

![CPU of each part against the rate, with the fitted law and how far each point is off it](images/capacity.png)
"""

LIMITS = """
The points bend: a call at a low rate costs two to three times as much CPU as one at a high rate, since then every
call wakes a sleeping process by itself, while a busy one takes several at once. So the line is above the points
at both ends and below them in the middle, and the cores for more are counted from the full process, not from b.
A client that does nothing costs next to no CPU (c): how many clients a process holds is a matter of memory and
open files. A replica that does nothing takes little, too (a): how many a core carries is a matter of their rate.

## Clients, memory, files
Memory of the process's own (USS; what it shares with its fork server is not in it), at 400 calls/s in all; straight
lines through the points with 6 to 1,536 clients behind Envoy. Of a replica a client is a connection, called directly.
"""

ROWS = """
The lab raises its limit of open files to the hard one by itself; with `ulimit -Hn` at 1,024 a load process has room
for about a thousand clients behind a proxy. Called directly, each client has a connection to every replica.

## Rows on disk
"""

SUMMARY = """
The client's rows are Parquet once the cell is over; while it runs they are CSV, about five times as large.

## Judging
One cell with its three ledgers, as large as stated, judged by one process: read, join, count, reconcile. The rows
are those of a real cell, again and again with other request ids.
"""

AFTERWORD = """
## What this does not say
- Your machine. CPU per call differs with it by more than the spread here; ratios between parts differ less.
- TLS, sticky cookies, streams, larger messages: they cost more. `make bench` has the cookie jar's part.
- Replicas that compute. Here they sleep; with `burn_cpu` a replica's own work comes on top.
- Latency near full cores. Whatever carries its most has a queue: plan for less.
"""

POINTS = """
## All points
`lab`: a whole cell, all parts on this machine; beyond its cores all of them fall behind together. `load`, `envoy`,
`replica`: that part alone; `clients` are connections, and `replicas` what stands for them.
"""
