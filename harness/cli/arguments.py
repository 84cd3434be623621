"""Arguments and options of the command line, each with the words that --help has for it."""

from pathlib import Path
from typing import Annotated

import typer

ExperimentArgument = Annotated[
    str,
    typer.Argument(
        metavar="NAME|FILE", help="An experiment's name (see list), or a YAML file (a path has a / or .yaml)."
    ),
]
Replicas = Annotated[int | None, typer.Option("--replicas", help="Number of replicas.")]
Clients = Annotated[int | None, typer.Option("--clients", help="Number of clients.")]
Rate = Annotated[float | None, typer.Option("--rate", help="Requests per second, all clients together.")]
Skew = Annotated[float | None, typer.Option("--skew", help="Zipf exponent of the clients' rates; 0: alike.")]
WarmUp = Annotated[float | None, typer.Option("--warm-up", help="Seconds of load before measuring.")]
Duration = Annotated[float | None, typer.Option("--duration", help="Seconds measured in each cell.")]
Repeats = Annotated[int | None, typer.Option("--repeats", help="Cells per arm.")]
Seed = Annotated[int | None, typer.Option("--seed", help="Seed of arrivals, service times and order.")]
Results = Annotated[
    Path | None,
    typer.Option("--results", metavar="DIR", help="Where runs are kept (default: the lab's results/)."),
]
Processes = Annotated[int, typer.Option("--processes", min=1, help="Load processes on this machine.")]
ExpectWorkers = Annotated[
    int, typer.Option("--expect-workers", min=0, help="Load workers that you start elsewhere.")
]
MasterBindHost = Annotated[
    str, typer.Option("--master-bind-host", help="Where those workers find this machine.")
]
MasterBindPort = Annotated[
    int, typer.Option("--master-bind-port", min=1, max=65535, help="And at which port.")
]
SecretFile = Annotated[
    Path | None,
    typer.Option(
        "--secret-file",
        metavar="FILE",
        help="Has the secret of run and workers (default: $LB_LAB_WORKER_SECRET).",
    ),
]
Target = Annotated[
    str | None, typer.Option("--target", metavar="HOST:PORT", help="external: your load balancer.")
]
Tls = Annotated[bool, typer.Option("--tls", help="external: calls are encrypted.")]
Ca = Annotated[Path | None, typer.Option("--ca", metavar="FILE", help="external: whom to trust (PEM).")]
ReplicaAddresses = Annotated[
    list[str] | None,
    typer.Option("--replica", metavar="HOST:PORT", help="external: a replica; may be repeated."),
]
ArmOfTarget = Annotated[
    str | None, typer.Option("--arm", help="external: the arm whose policy your load balancer has.")
]
Redo = Annotated[
    int,
    typer.Option(
        "--redo",
        min=0,
        max=10,
        metavar="N",
        help="How often a cell that the machine disturbed is measured again; 0: never. All repetitions of a "
        "run together take at most as many seconds of load as its plan.",
    ),
]
Testbed = Annotated[
    str,
    typer.Option(
        "--testbed",
        help="Where the parts run: local (processes), docker (containers), external (yours).",
    ),
]
