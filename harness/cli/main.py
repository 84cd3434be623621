"""The command line: `python run_experiment.py`, installed also as `lb-lab`.

`run` is the default verb. Errors are told in one line and end in an exit status (errors.py); everything
heavy is imported inside the command that needs it, so that a mistake is told at once.
"""

import os
import sys
import traceback
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from typer.exceptions import TyperException

from harness.cli.arguments import (
    ArmOfTarget,
    Ca,
    Clients,
    Duration,
    ExpectWorkers,
    ExperimentArgument,
    MasterBindHost,
    MasterBindPort,
    Processes,
    Rate,
    Redo,
    Repeats,
    ReplicaAddresses,
    Replicas,
    Results,
    SecretFile,
    Seed,
    Skew,
    Target,
    Testbed,
    Tls,
    WarmUp,
)
from harness.errors import LabError, UserError, did_you_mean
from harness.paths import RESULTS, ROOT
from harness.plan.run_options import ExternalOptions, LoadOptions, RunOptions, confirm_testbed
from harness.spec.catalogue import catalogue
from harness.spec.experiment import Experiment, load_experiment
from harness.spec.overrides import OPTIONS, quick_overrides

BAD_USAGE, LAB_FAILED, INTERRUPTED, BROKEN_PIPE = 2, 4, 130, 141
DEFAULT_WEB_PORT = 8089

app = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    no_args_is_help=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Where do requests really go, and what does that cost? Real gRPC servers behind a real Envoy, or "
    "called directly; real load; every request counted three times.\n\n"
    "NAME [options] is short for run NAME [options]; nothing at all for list.\n\n"
    "Exit status: 0 held, 1 refuted, 2 bad usage or bad file, 3 inconclusive, 4 the lab failed, "
    "130 interrupted.",
)


@app.callback()
def _lab(
    _debug: Annotated[
        bool, typer.Option("--debug", help="Show tracebacks of errors; may stand anywhere on the line.")
    ] = False,
) -> None:
    pass


@app.command()
def run(
    experiment: Annotated[
        str | None,
        typer.Argument(
            metavar="NAME|FILE",
            help="An experiment's name (see list), or a YAML file (a path has a / or .yaml).",
        ),
    ] = None,
    all_: Annotated[
        bool, typer.Option("--all", help="Run every experiment of the lab; one summary table.")
    ] = False,
    quick: Annotated[
        bool, typer.Option("--quick", help="One repeat, half the time: a look, not a measurement.")
    ] = False,
    replicas: Replicas = None,
    clients: Clients = None,
    rate: Rate = None,
    skew: Skew = None,
    warm_up: WarmUp = None,
    duration: Duration = None,
    repeats: Repeats = None,
    seed: Seed = None,
    results: Results = None,
    redo: Redo = 2,
    testbed: Testbed = "local",
    target: Target = None,
    tls: Tls = False,
    ca: Ca = None,
    replica: ReplicaAddresses = None,
    arm: ArmOfTarget = None,
    processes: Processes = 1,
    expect_workers: ExpectWorkers = 0,
    master_bind_host: MasterBindHost = "127.0.0.1",
    master_bind_port: MasterBindPort = 5557,
    secret_file: SecretFile = None,
    web: Annotated[bool, typer.Option("--web", help="Open Locust's own web page during the run.")] = False,
    web_port: Annotated[
        int | None,
        typer.Option("--web-port", min=1, max=65535, help="Port of --web on 127.0.0.1 (default 8089)."),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress display.")] = False,
) -> int:
    """Run an experiment, or all of them: measure, judge, print the table, write the report."""
    if all_ == (experiment is not None):
        raise UserError("run: expected the NAME or FILE of one experiment, or --all (see list)")
    if all_ and expect_workers:
        raise UserError(
            "--expect-workers: load workers play for one run; name one experiment instead of --all"
        )
    external = ExternalOptions(target, tls, ca, tuple(replica or ()), arm)
    confirm_testbed(testbed, external)
    if web_port is not None and not web:
        raise UserError("--web-port: there is no web page without --web; give both or neither")
    overrides = _overrides(
        replicas=replicas,
        clients=clients,
        rate=rate,
        skew=skew,
        warm_up=warm_up,
        duration=duration,
        repeats=repeats,
        seed=seed,
    )
    if secret_file:
        secret_file = secret_file.absolute()  # the parts have another working directory
    load = LoadOptions(processes, expect_workers, master_bind_host, master_bind_port, secret_file)
    options = RunOptions(
        results or RESULTS,
        web,
        web_port or DEFAULT_WEB_PORT,
        quiet,
        redo,
        testbed=testbed,
        load=load,
        external=external,
    )
    if experiment is None:
        loaded = [_load(name, overrides, quick) for name in (one.name for one in catalogue())]
        from harness.cli.run_all import run_catalogue

        return run_catalogue(loaded, options)
    spec, overrides = _load(experiment, overrides, quick)
    from harness.run.experiment import run_experiment

    return run_experiment(spec, replace(options, overrides=overrides))


@app.command(name="list")
def list_() -> int:
    """Show the experiments with their questions."""
    from harness.cli.listing import listing

    print(listing(_program()))
    return 0


@app.command()
def check(
    experiment: ExperimentArgument,
    replicas: Replicas = None,
    clients: Clients = None,
    rate: Rate = None,
    skew: Skew = None,
    warm_up: WarmUp = None,
    duration: Duration = None,
    repeats: Repeats = None,
    seed: Seed = None,
) -> int:
    """Validate an experiment and show its plan: cells, requests, rates, utilisation. Starts nothing."""
    overrides = _overrides(
        replicas=replicas,
        clients=clients,
        rate=rate,
        skew=skew,
        warm_up=warm_up,
        duration=duration,
        repeats=repeats,
        seed=seed,
    )
    spec = load_experiment(experiment, overrides)
    from harness.cli.check import plan_text

    print(plan_text(spec))
    return 0


@app.command()
def up(
    experiment: ExperimentArgument,
    arm: Annotated[
        str | None, typer.Option("--arm", help="Which arm to hold open (default: the first).")
    ] = None,
    replicas: Replicas = None,
    seed: Seed = None,
) -> int:
    """Start one arm's replicas and proxy, print their addresses, and hold them open until Ctrl-C."""
    overrides = _overrides(replicas=replicas, seed=seed)
    spec = load_experiment(experiment, overrides)
    name = _arm_name(spec, arm)
    from harness.cli.up import keep_running

    return keep_running(spec, name)


@app.command()
def worker(
    master_host: Annotated[
        str, typer.Option("--master-host", help="The machine of the run that expects it.")
    ],
    master_port: Annotated[
        int, typer.Option("--master-port", min=1, max=65535, help="The run's --master-bind-port.")
    ] = 5557,
    secret_file: SecretFile = None,
) -> int:
    """Make calls for a run on another machine (its --expect-workers), until that is over."""
    from harness.run.worker_secret import confirm_workers_secret

    confirm_workers_secret(secret_file)
    words = [sys.executable, "-m", "load.worker", master_host, str(master_port)]
    words += [str(secret_file.absolute())] if secret_file else []
    os.chdir(ROOT)
    os.execv(sys.executable, words)  # noqa: S606 - gRPC wants a process in which nothing has begun


@app.command()
def report(
    directory: Annotated[
        Path, typer.Argument(metavar="DIR", help="A run's folder, as results/sticky/latest.")
    ],
) -> int:
    """Rebuild summary, plots and report of a run from its folder alone."""
    from harness.report.page import build_report

    report, _ = build_report(directory)
    print(report)
    return 0


@app.command()
def compare(
    before: Annotated[Path, typer.Argument(metavar="DIR", help="A run's folder.")],
    after: Annotated[Path, typer.Argument(metavar="DIR", help="Another run of the same experiment.")],
) -> int:
    """Compare two runs of one experiment, and say what differed besides."""
    from rich.console import Console

    from harness.analysis.compare import print_comparison
    from harness.record.reader import read_run

    print_comparison(read_run(before), read_run(after), Console())
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Carry out one command line (default: this process's) and return its exit status."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in words
    try:
        status = _invoke([word for word in words if word != "--debug"])
        sys.stdout.flush()
        return status
    except typer.Exit as end:
        return end.exit_code
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # The reader has gone (as in `... | head`); the interpreter must not complain about it at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    except Exception as error:
        if debug:
            traceback.print_exc()
        return _told(error)


def _told(error: Exception) -> int:
    """Tell an error in one line on stderr; returns the exit status."""
    if isinstance(error, LabError):
        message, status = str(error), error.exit_code
    elif isinstance(error, TyperException):
        message, status = f"{error.format_message()} (see {_program()} --help)", BAD_USAGE
    else:
        message = f"unexpected {type(error).__name__}: {error}; run again with --debug to see where"
        status = LAB_FAILED
    print(f"error: {' '.join(message.split())}", file=sys.stderr)
    return status


def _invoke(words: list[str]) -> int:
    command = typer.main.get_command(app)
    verbs = [info.name or getattr(info.callback, "__name__", "") for info in app.registered_commands]
    if not words:
        words = ["list"]
    elif words[0] not in (*verbs, "-h", "--help"):
        words = ["run", *words]
    # Not command.main(): that turns a broken pipe into exit status 1, which means `refuted` here.
    with command.make_context(_program(), words) as context:
        return int(command.invoke(context))


def _load(name: str, overrides: dict[str, float], quick: bool) -> tuple[Experiment, dict[str, float]]:
    """The experiment, and every override that is in it; `quick` gives way to what was asked for."""
    experiment = load_experiment(name, overrides)
    if not quick:
        return experiment, overrides
    overrides = {**quick_overrides(experiment), **overrides}
    return load_experiment(name, overrides), overrides


def _overrides(**options: float | None) -> dict[str, float]:
    """The options that were given, under the dotted names of the fields that they change."""
    fields = {option.removeprefix("--").replace("-", "_"): field for field, option in OPTIONS.items()}
    return {fields[option]: value for option, value in options.items() if value is not None}


def _arm_name(experiment: Experiment, wanted: str | None) -> str:
    names = list(experiment.variants)
    if wanted is None:
        return names[0]
    if wanted not in names:
        hint = did_you_mean(wanted, names) or f"; expected one of {', '.join(names)}"
        raise UserError(f"--arm: {experiment.name} has no arm {wanted!r}{hint}")
    return wanted


def _program() -> str:
    name = Path(sys.argv[0]).name
    return f"python {name}" if name.endswith(".py") else name
