"""The story of one experiment: start, confirm, warm up, measure, stop, judge, report."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import replace
from pathlib import Path

from harness.errors import LabError
from harness.fields import Status
from harness.interrupt import one_interrupt
from harness.leftovers.scratch import remove_abandoned
from harness.output.safe_text import say
from harness.plan.cells import CellPlan, cells_at_least, plan_cells
from harness.plan.dask_pool import pool_at
from harness.plan.pool import Pool
from harness.plan.run_options import RunOptions
from harness.record.machine_costs import remember_costs
from harness.record.manifest import ExternalFields, LoadProcesses, Manifest
from harness.record.run_directory import RunWriter
from harness.record.summary import Summary
from harness.run.cell import CellRun
from harness.run.load_checks import confirm_free, confirm_load, shared_secret, workers_to_start
from harness.run.open_files import confirm_open_files
from harness.run.planned_record import planned_cell
from harness.run.prediction import Predictor, compile_when_idle
from harness.run.prediction_process import PREDICTED_TESTBEDS, PredictionProcess
from harness.run.progress import RunProgress
from harness.run.provenance import git_commit, host, versions
from harness.run.redo import Redo
from harness.run.repeats import Claims, Rounds, by_repeat, planned_rounds
from harness.run.report_process import Reports
from harness.run.simulated_cell import ComputedCells, SimulatedCellRun
from harness.run.stored_experiment import stored_experiment
from harness.spec.experiment import Experiment
from harness.spec.locust_workload import CLOSED_LOOP_NOTE
from harness.testbed.base import Testbed
from harness.testbed.choice import FoundTestbed, find_testbed
from harness.testbed.processes import ForkServers

Judged = Callable[[Path, Summary], None]
NewRun = Callable[[CellPlan], CellRun | SimulatedCellRun]

EXIT_STATUS = {"held": 0, "measured": 0, "refuted": 1, "inconclusive": 3}


def run_experiment(
    experiment: Experiment, options: RunOptions, predicting: PredictionProcess | None = None
) -> int:
    """Measure, judge, print the table; return the exit status of the verdict. Arguments and errors: below."""
    report, summary = measure_and_report(experiment, options, _print_verdict, predicting)
    from harness.output.safe_console import SafeConsole
    from harness.report.terminal import print_report

    print_report(summary, report, SafeConsole())
    compile_when_idle(report.parent)
    return EXIT_STATUS[summary.verdict]


def _print_verdict(run: Path, summary: Summary) -> None:
    from harness.output.safe_console import SafeConsole
    from harness.report.prediction_table import print_prediction
    from harness.report.terminal import print_summary

    console = SafeConsole()
    print_summary(summary, console)
    print_prediction(run, summary, console)


def measure_and_report(
    experiment: Experiment,
    options: RunOptions,
    judged: Judged | None = None,
    predicting: PredictionProcess | None = None,
) -> tuple[Path, Summary]:
    """Run every cell, judge, write the report; return its path and the summary.

    Arguments and errors: see `measure_and_judge`.
    """
    with Reports() as reports:
        page, summary = measure_and_judge(experiment, options, reports, judged, predicting)
        reports.finish()
    return page, summary


def measure_and_judge(
    experiment: Experiment,
    options: RunOptions,
    reports: Reports,
    judged: Judged | None = None,
    predicting: PredictionProcess | None = None,
    servers: ForkServers | None = None,
) -> tuple[Path, Summary]:
    """Run every cell, judge, and have the report made; return its path and the summary.

    `reports`: makes the report, which is there when its `finish` returns. No load starts while it makes that
    of an earlier run. `judged` is called with the run's folder and the summary, before plots and report are
    made: they take seconds. `predicting`: the process that predicts the run; None: the run is not predicted.
    `servers`: fork servers that are kept for the next run; None: the run has its own.

    Raises UserError when the results folder cannot be written or the web page's port is taken (nothing is
    left behind), LabError when a part fails (the run is marked `failed`), KeyboardInterrupt on Ctrl-C and
    SIGTERM (the run is marked `interrupted`, with what was measured).
    """
    external = ExternalFields()
    if options.testbed == "external":
        from harness.testbed.external.plan import plan_external

        outside = plan_external(experiment, options.external)
        experiment, external = outside.experiment, outside.manifest
    if options.testbed == "simulated":
        from harness.testbed.simulated.plan import plan_simulated

        experiment, external = plan_simulated(experiment, options)
    repeats = by_repeat(plan_cells(experiment))
    if options.load.expect_workers:
        # Load workers on other machines leave with the last planned cell.
        del repeats[experiment.repeats.min :]
    confirm_load(experiment, options)
    confirm_open_files(repeats[0], experiment.replicas.count, options.load, options.testbed)
    found = find_testbed(experiment, options, servers)
    if options.web:
        problem = f"--web-port: port {options.web_port} of 127.0.0.1 cannot be had"
        confirm_free("127.0.0.1", options.web_port, problem, "name another")
        say(f"Locust's page, while a cell runs: http://127.0.0.1:{options.web_port}/", error=True)
    remove_abandoned()
    with one_interrupt(), shared_secret(options.load) as load, pool_at(options.dask) as pool:
        if load.expect_workers:
            say(workers_to_start(options.load, load), error=True)
        options = replace(options, load=load)
        with stored_experiment(experiment) as (text, beside):
            writer = RunWriter.create(
                options.results.absolute(),  # the parts have another working directory
                _manifest(experiment, options, found, external),
                text,
                beside,
            )
        with _recorded(writer), Predictor(writer, predicting) as predictor:
            rounds = _rounds(experiment, repeats, writer, predictor)
            if found.make is None:
                runs, rounds = _simulated(experiment, rounds, writer, pool)
            else:
                before = _before_load(predictor, reports)
                runs = _cell_runs(experiment, found.make(writer.path / "logs"), writer, options, before)
            _measure(experiment, rounds, runs, writer, options)
        if warning := writer.link_latest():
            say(f"warning: {warning}", error=True)
        if options.plots:
            reports.prepare()  # its imports go on beside judging
        # Polars is imported after the last cell, not before the first.
        from harness.report.exports import EXPORTS, write_exports
        from harness.report.page import judge_run
        from harness.run.otlp_sender import send_otlp

        run = judge_run(writer.path, plots=options.plots)
        if judged is not None:
            judged(writer.path, run.summary)
        reports.make(run)
        if options.testbed in PREDICTED_TESTBEDS:
            remember_costs(options.testbed, run.summary)
        send_otlp(write_exports(writer.path, run.summary, options.exports), EXPORTS["otlp"].file)
        return run.page, run.summary


def _before_load(predictor: Predictor, reports: Reports) -> Callable[[], None]:
    """Return a function that waits until nothing computes any more beside the load."""

    def wait() -> None:
        predictor.finish()
        reports.wait()

    return wait


@contextmanager
def _cell_runs(
    experiment: Experiment,
    parts: AbstractContextManager[Testbed],
    writer: RunWriter,
    options: RunOptions,
    before_load: Callable[[], None],
) -> Iterator[NewRun]:
    """Start the testbed, and yield a function: planned cell -> its run.

    The parts of the first cell start while the run is predicted, and while the report of the run before is
    drawn. Its load waits until both have ended (`before_load`), because each takes a core.
    """
    with parts as testbed:
        yield lambda plan: CellRun(experiment, plan, testbed, writer, options, before_load)


def _simulated(
    experiment: Experiment, rounds: Rounds, writer: RunWriter, pool: Pool
) -> tuple[AbstractContextManager[NewRun], Rounds]:
    """Return the same for cells that are computed in the pool, and the rounds, each computed ahead."""
    computed = ComputedCells(experiment, pool)

    def new_run(plan: CellPlan) -> SimulatedCellRun:
        return SimulatedCellRun(experiment, plan, writer, computed)

    return nullcontext(new_run), computed.ahead(rounds)


def _rounds(
    experiment: Experiment, repeats: Sequence[Sequence[CellPlan]], writer: RunWriter, predictor: Predictor
) -> Rounds:
    """Return the cells of the run, round by round. repeats: by_repeat."""
    claims = Claims(writer.path)
    if experiment.search is None:
        return planned_rounds(repeats, experiment.repeats.min, claims)
    from harness.run.search import SearchRounds

    return SearchRounds(experiment, writer.path, claims).rounds(predictor.finish)


def _measure(
    experiment: Experiment,
    rounds: Rounds,
    runs: AbstractContextManager[NewRun],
    writer: RunWriter,
    options: RunOptions,
) -> None:
    """Run the cells of one round after the other.

    runs: yields a function that makes the run of a planned cell.
    """
    redo = Redo((), writer, options)
    computed = options.testbed == "simulated"
    count = cells_at_least(experiment)
    with runs as new_run, RunProgress(experiment, count, options.quiet, computed) as progress:

        def run(plan: CellPlan) -> None:
            progress.cell(plan)
            answered = new_run(plan).run(progress)
            while reason := redo.set_aside(plan):
                progress.again(plan, reason)
                answered = new_run(plan).run(progress)
            writer.seal_cell(plan.order)
            progress.cell_done(plan, answered)

        for cells in rounds:
            writer.plan(map(planned_cell, cells))
            redo.more(cells)
            progress.more(len(cells))
            for plan in cells:
                run(plan)


def _manifest(
    experiment: Experiment,
    options: RunOptions,
    found: FoundTestbed,
    external: ExternalFields,
) -> Manifest:
    if experiment.workload.locustfile is not None:
        external["notes"] = [*external.get("notes", []), CLOSED_LOOP_NOTE]
    return Manifest(
        experiment=experiment.name,
        seed=experiment.seed,
        versions=versions() | found.versions,
        host=host(),
        git_commit=git_commit(),
        testbed=options.testbed,
        **external,
        load=LoadProcesses(processes=options.load.processes, expect_workers=options.load.expect_workers),
        overrides=options.overrides,
        changes=list(options.changes),
        redo=options.redo,
        cells=[],
    )


@contextmanager
def _recorded(writer: RunWriter) -> Iterator[None]:
    """Write into the manifest how the run ended."""
    try:
        yield
        writer.finish("completed")
    except KeyboardInterrupt:
        _finish(writer, "interrupted")
        raise
    except OSError as error:
        message = f"cannot write {error.filename or writer.path}: {error.strerror or error}"
        _finish(writer, "failed", message)
        raise LabError(message) from error
    except BaseException as error:
        _finish(writer, "failed", str(error) or type(error).__name__)
        raise


def _finish(writer: RunWriter, status: Status, message: str | None = None) -> None:
    # Where nothing can be written any more, the manifest goes on saying "interrupted", as it began.
    with suppress(OSError):
        writer.finish(status, message)
