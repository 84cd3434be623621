"""The command line: `python run_experiment.py`, installed also as `lb-lab`.

`run` is the default verb. An error is one line on stderr and an exit status (errors.py). Heavy modules are
imported in the command that needs them, so that mistakes are reported at once.
"""

import gc
import os
import sys
import textwrap
import traceback
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer.exceptions import TyperException

from harness.cli.arguments import with_overrides
from harness.cli.completion import COMMAND, DefaultVerb, answer_shell, experiments_with
from harness.cli.completion import OPTIONS as COMPLETION_OPTIONS
from harness.errors import LabError, UserError, did_you_mean
from harness.output.native import native_errors_hidden
from harness.output.safe_text import first_unsafe, say
from harness.paths import RESULTS, ROOT
from harness.plan.run_options import ExternalOptions, LoadOptions, RunOptions, confirm_testbed
from harness.spec.heads import BEGIN_WITH, CHAPTERS, Head, find_experiment, heads

if TYPE_CHECKING:
    from harness.spec.experiment import Experiment

SecretFile = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Has the secret of run and workers (default: $LB_LAB_WORKER_SECRET)."),
]
Exports = Annotated[
    list[str] | None,
    typer.Option(
        metavar="KIND",
        help="Write metrics for other tools: csv, prometheus (OpenMetrics), otlp or junit. May be repeated.",
    ),
]
Dask = Annotated[
    str | None,
    typer.Option(
        metavar="ADDRESS",
        help="Simulate on a dask cluster with this scheduler, as 127.0.0.1:8786; the result is the same.",
    ),
]
_EXPERIMENT = typer.Argument(
    metavar="NAME|FILE",
    help="An experiment's name (see list), or a YAML file (a path has a / or .yaml).",
    autocompletion=experiments_with,
)
BAD_USAGE, LAB_FAILED, INTERRUPTED, BROKEN_PIPE = 2, 4, 130, 141
DEFAULT_WEB_PORT, LISTING_WIDTH = 8089, 80
# Pydantic would look for plugins of its own in every installed package, in each of the lab's processes.
os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
# Imports and models make many objects that live on. At Python's default, 700, the collector takes a tenth of
# the time of a command.
COLLECT_AFTER_OBJECTS = 20_000

app = typer.Typer(
    cls=DefaultVerb,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    no_args_is_help=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Where do requests really go, and what does that cost? Real gRPC servers behind a real Envoy, or "
    "called directly; real load; every request counted three times.\n\n"
    "NAME [options] is short for run NAME [options]; nothing at all for list.\n\n"
    "Exit status: 0 held, or nothing was expected, 1 refuted, 2 bad usage or bad file, 3 inconclusive, "
    "4 the lab failed, 130 interrupted.",
)


@app.callback()
def _lab(
    _debug: Annotated[
        bool, typer.Option("--debug", help="Show tracebacks of errors; may stand anywhere on the line.")
    ] = False,
) -> None:
    pass


@app.command()
@with_overrides()
def run(
    experiment: Annotated[str | None, _EXPERIMENT] = None,
    *,
    all_: Annotated[
        bool, typer.Option("--all", help="Run every experiment of the lab; one summary table.")
    ] = False,
    quick: Annotated[
        bool, typer.Option("--quick", help="One repeat, half the time: a look, not a measurement.")
    ] = False,
    overrides: dict[str, float],
    results: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Where runs are kept (default: the lab's results/).")
    ] = None,
    redo: Annotated[
        int,
        typer.Option(
            min=0,
            max=10,
            metavar="N",
            help="How often a cell that the machine disturbed is measured again; 0: never. All repetitions "
            "of a run together take at most as many seconds of load as its plan.",
        ),
    ] = 2,
    testbed: Annotated[
        str,
        typer.Option(
            help="Where the parts run: local (processes), docker (containers), external (yours); simulated: "
            "nothing runs, all is computed."
        ),
    ] = "local",
    target: Annotated[
        str | None, typer.Option(metavar="HOST:PORT", help="external: your load balancer.")
    ] = None,
    tls: Annotated[bool, typer.Option("--tls", help="external: calls are encrypted.")] = False,
    ca: Annotated[Path | None, typer.Option(metavar="FILE", help="external: whom to trust (PEM).")] = None,
    replica: Annotated[
        list[str] | None, typer.Option(metavar="HOST:PORT", help="external: a replica; may be repeated.")
    ] = None,
    arm: Annotated[
        str | None, typer.Option(help="external: the arm whose policy your load balancer has.")
    ] = None,
    processes: Annotated[int, typer.Option(min=1, help="Load processes on this machine.")] = 1,
    expect_workers: Annotated[int, typer.Option(min=0, help="Load workers that you start elsewhere.")] = 0,
    master_bind_host: Annotated[
        str, typer.Option(help="Where those workers find this machine.")
    ] = "127.0.0.1",
    master_bind_port: Annotated[int, typer.Option(min=1, max=65535, help="And at which port.")] = 5557,
    secret_file: SecretFile = None,
    web: Annotated[bool, typer.Option("--web", help="Open Locust's own web page during the run.")] = False,
    web_port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="Port of --web on 127.0.0.1 (default 8089).")
    ] = None,
    prediction: Annotated[
        bool,
        typer.Option(
            "--prediction/--no-prediction",
            help="Say before the first cell what the simulator expects; takes up to two seconds.",
        ),
    ] = True,
    plots: Annotated[
        bool,
        typer.Option(
            "--plots/--no-plots",
            help="Draw the report's plots, which takes seconds; report DIR draws them later.",
        ),
    ] = True,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress display.")] = False,
    export: Exports = None,
    dask: Dask = None,
) -> int:
    """Run an experiment, or all of them: measure, judge, print the table, write the report."""
    if all_ == (experiment is not None):
        raise UserError("run: expected the NAME or FILE of one experiment, or --all (see list)")
    if all_ and expect_workers:
        raise UserError(
            "--expect-workers: load workers play for one run; name one experiment instead of --all"
        )
    exports = _exports(export)
    external = ExternalOptions(target, tls, ca, tuple(replica or ()), arm)
    confirm_testbed(testbed, external, dask)
    if web_port is not None and not web:
        raise UserError("--web-port: there is no web page without --web; give both or neither")
    if secret_file:
        secret_file = secret_file.absolute()  # the parts have another working directory
    load = LoadOptions(processes, expect_workers, master_bind_host, master_bind_port, secret_file)
    web_port = web_port or DEFAULT_WEB_PORT
    results = results or RESULTS
    options = RunOptions(
        results,
        web,
        web_port,
        quiet,
        redo,
        plots,
        testbed=testbed,
        load=load,
        external=external,
        exports=exports,
        dask=dask,
    )
    if experiment is not None:
        find_experiment(experiment)  # a wrong name is answered before anything heavy is imported
    from harness.run.prediction_process import PREDICTED_TESTBEDS, prediction_process

    # Before everything else: its imports and those of the run go on at the same time.
    with prediction_process(prediction and testbed in PREDICTED_TESTBEDS) as predicting:
        if experiment is None:
            from harness.spec.experiment import catalogue

            loaded = [_load(one.name, overrides, quick, options) for one in catalogue()]
            from harness.cli.run_all import run_catalogue

            return run_catalogue(loaded, predicting)
        spec, options = _load(experiment, overrides, quick, options)
        from harness.run.experiment import run_experiment

        return run_experiment(spec, options, predicting)


@app.command()
def init(
    file: Annotated[
        Path, typer.Argument(metavar="FILE.yaml|FILE.py", help="An experiment, or a Locust file.")
    ],
) -> int:
    """Write a small experiment (or Locust file) of your own, with comments, that runs as it is."""
    from harness.cli.init import init_file

    return init_file(file)


@app.command(name="list")
def list_() -> int:
    """Show the experiments with their questions."""
    say(listing(_program()))
    return 0


@app.command()
@with_overrides()
def check(experiment: Annotated[str, _EXPERIMENT], overrides: dict[str, float]) -> int:
    """Validate an experiment and show its plan: cells, requests, rates, utilisation. Starts nothing."""
    spec = _experiment(experiment, overrides)
    from harness.cli.check import print_plan
    from harness.output.safe_console import SafeConsole

    print_plan(spec, SafeConsole())
    return 0


@app.command()
def plan(
    file: Annotated[
        str | None,
        typer.Argument(
            metavar="[NAME|FILE]",
            help="Plan for this experiment's fleet and load, or for a trace (a .parquet of observe).",
        ),
    ] = None,
    *,
    clients: Annotated[int | None, typer.Option(help="Number of clients.")] = None,
    rate: Annotated[float | None, typer.Option(help="Requests per second, all clients together.")] = None,
    skew: Annotated[
        float | None, typer.Option(help="Zipf exponent of the clients' rates (default 0).")
    ] = None,
    targets: Annotated[int | None, typer.Option(help="Number of targets.")] = None,
    service_time: Annotated[
        str | None, typer.Option(metavar="TIME", help="Mean time of one request, as 40ms.")
    ] = None,
    slots: Annotated[
        int | None, typer.Option(help="Requests that a target works on at once (default 8).")
    ] = None,
    slo: Annotated[str | None, typer.Option(metavar="pNN=TIME", help="The objective, as p99=300ms.")] = None,
    seconds: Annotated[float | None, typer.Option(help="How long the load lasts (default 60).")] = None,
    svg: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Where the picture goes (default: results/plan/).")
    ] = None,
    write: Annotated[
        Path | None, typer.Option(metavar="FILE.yaml", help="Write the experiment that verifies the plan.")
    ] = None,
    placements: Annotated[
        int | None,
        typer.Option(help="Placements to simulate (default: as many as a few seconds allow, 8 to 40)."),
    ] = None,
    dask: Dask = None,
) -> int:
    """Simulate a fleet: what does each policy cost, how many targets does it need? Starts nothing."""
    from harness.cli.plan import answer
    from harness.plan.question import parse_duration_ms, parse_objective

    given: dict[str, object] = {"clients": clients, "rate_per_s": rate, "skew": skew, "targets": targets}
    given |= {"slots": slots, "seconds": seconds, "placements": placements}
    given |= {"objective": None if slo is None else parse_objective(slo)}
    if service_time is not None:
        given["service_ms"] = parse_duration_ms(service_time, "--service-time")
    fields = {name: value for name, value in given.items() if value is not None}
    return answer(file, fields, svg, write, dask)


@app.command()
@with_overrides("replicas.count", "seed")
def up(
    experiment: Annotated[str, _EXPERIMENT],
    arm: Annotated[str | None, typer.Option(help="Which arm to hold open (default: the first).")] = None,
    *,
    port: Annotated[
        int | None,
        typer.Option(min=1, max=65535, help="The proxy's port on 127.0.0.1 (default: a free one)."),
    ] = None,
    json_: Annotated[
        bool, typer.Option("--json", help="Print addresses and cookie as one JSON object, for programs.")
    ] = False,
    overrides: dict[str, float],
) -> int:
    """Start one arm's replicas and proxy, print their addresses, and hold them open until Ctrl-C."""
    spec = _experiment(experiment, overrides)
    names = list(spec.variants)
    if arm is not None and arm not in names:
        hint = did_you_mean(arm, names) or f"; expected one of {', '.join(names)}"
        raise UserError(f"--arm: {spec.name} has no arm {arm!r}{hint}")
    from harness.cli.up import keep_running

    return keep_running(spec, names[0] if arm is None else arm, port, json_)


@app.command()
def worker(
    master_host: Annotated[str, typer.Option(help="The machine of the run that expects it.")],
    master_port: Annotated[int, typer.Option(min=1, max=65535, help="The run's --master-bind-port.")] = 5557,
    secret_file: SecretFile = None,
) -> int:
    """Make calls for a run on another machine (its --expect-workers), until that is over."""
    from harness.run.load_checks import confirm_workers_secret

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
    more: Annotated[
        list[Path] | None, typer.Argument(metavar="[FILE...]", help="More files of --proxy-log.")
    ] = None,
    *,
    proxy_log: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE...", help="external: your load balancer's log (ALB, Envoy's default or JSON)."
        ),
    ] = None,
    columns: Annotated[
        str | None,
        typer.Option(help="JSON lines of --proxy-log: what its fields are, as time=ts,request_id=id."),
    ] = None,
    export: Exports = None,
) -> int:
    """Rebuild summary, plots and report of a run from its folder alone, or with its load balancer's log."""
    exports = _exports(export)
    if more and not proxy_log:
        raise UserError(f"report: expected one DIR, and {more[0]} besides; files of a log need --proxy-log")
    if columns is not None and not proxy_log:
        raise UserError("--columns: only with --proxy-log FILE; expected a log of JSON lines")
    if proxy_log:
        from harness.record.run_directory import read_run
        from harness.traces.named_columns import LEDGER_KEYS, parse_mapping
        from harness.traces.proxy_ledger import join_proxy_log

        named = None if columns is None else parse_mapping(columns, LEDGER_KEYS)
        say(join_proxy_log(read_run(directory), [*proxy_log, *(more or [])], named))
    from harness.report.exports import EXPORTS, write_exports
    from harness.report.page import build_report
    from harness.run.otlp_sender import send_otlp

    page, summary = build_report(directory)
    written = write_exports(directory, summary, exports)
    for path in written:
        say(str(path))
    send_otlp(written, EXPORTS["otlp"].file)
    say(str(page))
    return 0


def _exports(kinds: list[str] | None) -> tuple[str, ...]:
    """Return the kinds of exports. Raises UserError for an unknown one, before anything runs."""
    if not kinds:
        return ()
    from harness.report.exports import confirm_exports

    confirm_exports(kinds)
    return tuple(kinds)


@app.command()
def site(
    results: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Where the runs are; the site goes to DIR/site (default: results/)."
        ),
    ] = None,
) -> int:
    """Make web pages of the lessons from the newest run of each experiment; say which runs are missing."""
    from harness.site.build import build_site

    built = build_site(results or RESULTS)
    for line in built.unreadable:
        say(f"passed over: {line}")
    if built.missing:
        say(f"Not run yet, {len(built.missing)} of {built.lessons + len(built.missing)} experiments:")
        for command in built.missing:
            say(f"  {command}")
    if built.simulated:
        say(f"Only simulated, not measured: {', '.join(built.simulated)}")
    say(str(built.first_page))
    return 0


@app.command()
def compare(
    before: Annotated[Path, typer.Argument(metavar="DIR", help="A run's folder.")],
    after: Annotated[Path, typer.Argument(metavar="DIR", help="Another run of the same experiment.")],
) -> int:
    """Compare two runs of one experiment, and say what differed besides."""
    from harness.analysis.compare import print_comparison
    from harness.output.safe_console import SafeConsole
    from harness.record.run_directory import read_run

    print_comparison(read_run(before), read_run(after), SafeConsole())
    return 0


@app.command()
def history(
    experiment: Annotated[str, _EXPERIMENT],
    metric: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="A metric; may be repeated (default: those that are expected)."),
    ] = None,
    results: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Where the runs are (default: results/).")
    ] = None,
    svg: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Where the plot goes (default: beside the runs).")
    ] = None,
) -> int:
    """Show all runs of an experiment over time, as table and plot, with versions and machines."""
    from harness.cli.history import print_history

    return print_history(experiment, results or RESULTS, metric or [], svg)


@app.command()
def observe(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Access logs, plain or gzip.")],
    *,
    format_: Annotated[
        str, typer.Option("--format", help="auto, alb, envoy (its default text), json, csv or parquet.")
    ] = "auto",
    columns: Annotated[
        str | None,
        typer.Option(metavar="KEY=NAME,...", help="Names in the log, as time=ts,client=ip,target=backend."),
    ] = None,
    client: Annotated[
        str, typer.Option(help="What a client is: ip, ip+port, conn_trace_id (ALB) or column:NAME.")
    ] = "ip",
    key_file: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Key of the hashes (default: $LB_LAB_TRACE_KEY, else a new one)."),
    ] = None,
    keep_paths: Annotated[bool, typer.Option("--keep-paths", help="Keep URLs' paths in the trace.")] = False,
    keep_targets: Annotated[
        bool, typer.Option("--keep-targets", help="Show the targets' addresses, not hashes.")
    ] = False,
    max_broken: Annotated[
        float, typer.Option(min=0, max=1, help="Share of broken lines from which on the command fails.")
    ] = 0.01,
    report_folder: Annotated[
        Path | None,
        typer.Option("--report", metavar="DIR", help="A new folder (default: one in results/observed/)."),
    ] = None,
    save_trace: Annotated[
        Path | None, typer.Option(metavar="FILE.parquet", help="Keep the trace: one row a request.")
    ] = None,
    write: Annotated[
        Path | None, typer.Option(metavar="MY.yaml", help="Write an experiment with this workload.")
    ] = None,
) -> int:
    """Read access logs of a load balancer: where requests went, how sticky, who is hot. Judges nothing."""
    from harness.cli.observe import ObserveOptions, observe_logs

    options = ObserveOptions(
        log_format=format_, columns=columns, client=client, key_file=key_file, keep_paths=keep_paths,
        keep_targets=keep_targets, max_broken=max_broken, report=report_folder, save_trace=save_trace,
        write=write,
    )  # fmt: skip
    return observe_logs(files, options)


def main(arguments: Sequence[str] | None = None) -> int:
    """Carry out one command line (default: this process's) and return its exit status."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    gc.set_threshold(COLLECT_AFTER_OBJECTS)
    answer_shell(app)
    _prepare_streams()
    try:
        _refuse_unsafe(words)
        debug = "--debug" in words
        reads_files = words[:1] in (["report"], ["compare"], ["observe"], ["site"], ["history"])
        with native_errors_hidden() if reads_files and not debug else nullcontext():
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
    except SystemExit:
        raise
    except BaseException as error:  # polars panics with one; nothing unforeseen may look like a verdict
        if "--debug" in words:
            say(traceback.format_exc(), error=True)
        return _report_error(error)


def _refuse_unsafe(words: Sequence[str]) -> None:
    """Raise UserError for a word with control or bidirectional characters, which would deceive who reads it.

    Names of files may have any bytes. Those that are not UTF-8 are shown differently, not refused.
    """
    for word in words:
        text = word.encode(errors="surrogateescape").decode(errors="replace")
        unsafe = "line feed" if "\n" in word else first_unsafe(text)
        if unsafe is not None:
            raise UserError(f"{word[:80]!a}: {unsafe}; expected a word of the command line without it")


def _prepare_streams() -> None:
    """Lead streams that the caller has closed to nowhere, so that no file of the run gets their number.

    What is printed must not fail because the terminal's encoding lacks a character.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # the lowest free number: this one
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open("w"))  # noqa: SIM115 - for as long as the program runs
        if isinstance(stream := getattr(sys, name), TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a character that the terminal's encoding lacks


def _report_error(error: BaseException) -> int:
    """Print an error in one line on stderr; return the exit status."""
    if isinstance(error, LabError):
        message, status = str(error), error.exit_code
    elif isinstance(error, TyperException):
        message, status = f"{error.format_message()} (see {_program()} --help)", BAD_USAGE
    else:
        message = f"unexpected {type(error).__name__}: {error}; run again with --debug to see where"
        status = LAB_FAILED
    say(f"error: {' '.join(message.split())}", error=True)
    return status


def _invoke(words: list[str]) -> int:
    command = typer.main.get_command(app)
    assert isinstance(command, DefaultVerb)
    if not words:
        words = ["list"]
    elif words[0] in COMPLETION_OPTIONS and _program() != COMMAND:
        raise UserError(f"{words[0]}: a shell completes the command {COMMAND}; type {COMMAND} {words[0]}")
    elif words[0] not in (*command.commands, "-h", "--help", *COMPLETION_OPTIONS):
        words = ["run", *words]
    # Not command.main(): that turns a broken pipe into exit status 1, which means `refuted` here.
    with command.make_context(_program(), words) as context:
        return int(command.invoke(context))


def listing(program: str) -> str:
    """Return all experiments with their questions, by chapter, wrapped by words.

    `program`: how the reader calls the lab, as in "python run_experiment.py".
    """
    experiments = heads() or _heads_of_catalogue()
    indent = max((len(one.name) for one in experiments), default=0) + 4
    lines: list[str] = []
    heading = None
    for one in experiments:
        own = CHAPTERS[one.place.chapter][0] if one.place else "Others"
        if own != heading:
            heading = own
            lines += ["", heading]
        first = f"  {one.name:<{indent - 2}}"
        lines += textwrap.wrap(
            one.question,
            LISTING_WIDTH,
            initial_indent=first,
            subsequent_indent=" " * indent,
            break_on_hyphens=False,
        )
    lines += ["", f"Run one:     {program} {BEGIN_WITH}", f"All options: {program} run --help"]
    return "\n".join(lines).lstrip("\n")


def _heads_of_catalogue() -> tuple[Head, ...]:
    """Return the heads from the whole files. Raises UserError for a file that is no experiment."""
    from harness.spec.experiment import catalogue, place_of

    return tuple(Head(one.name, one.question, place_of(one.teaching)) for one in catalogue())


def _experiment(name: str, overrides: dict[str, float]) -> "Experiment":
    """Return an experiment. A wrong name is answered before the models are imported."""
    find_experiment(name)
    from harness.spec.experiment import load_experiment

    return load_experiment(name, overrides)


def _load(
    name: str, overrides: dict[str, float], quick: bool, options: RunOptions
) -> "tuple[Experiment, RunOptions]":
    """Return the experiment with all of its overrides; those of `quick` do not replace the user's."""
    from harness.spec.experiment import changes_of_question, load_experiment, quick_overrides

    experiment = load_experiment(name, overrides)
    if quick:
        overrides = {**quick_overrides(experiment), **overrides}
        experiment = load_experiment(name, overrides)
    as_in_file = load_experiment(name) if overrides else experiment
    changes = changes_of_question(as_in_file, overrides) if experiment.expect else ()
    return experiment, replace(options, overrides=overrides, changes=changes)


def _program() -> str:
    name = Path(sys.argv[0]).name
    return f"python {name}" if name.endswith(".py") else name
