"""`python run_experiment.py up NAME`: starts one arm's replicas and proxy, and keeps them running."""

import time
from pathlib import Path

from harness.cli.up_guide import guide, json_text
from harness.errors import LabError, UserError
from harness.interrupt import one_interrupt
from harness.leftovers.scratch import scratch_folder
from harness.output.safe_text import say
from harness.plan.cells import plan_cells
from harness.plan.run_options import LoadOptions
from harness.proxy.tls import TlsFiles, make_certificate
from harness.run.confirm import confirm_cell
from harness.run.open_files import confirm_open_files
from harness.run.what_died import what_died
from harness.spec.experiment import Experiment
from harness.testbed.local.testbed import LocalTestbed

CHECK_S = 0.2
TLS = "tls"  # folder of the certificate, in the temporary folder
LOG_LINES = 20


def keep_running(experiment: Experiment, arm: str, port: int | None = None, as_json: bool = False) -> int:
    """Start the arm's replicas and proxy, print their addresses, and wait for Ctrl-C. Return 0 then.

    `port`: of the proxy, on 127.0.0.1; None: a free one. `as_json`: print one JSON object instead of text.

    Ledgers and logs are in a temporary folder, which is deleted at the end. Raises LabError when a process
    dies, after it has printed the end of its log; UserError when the arm has no proxy or the port is taken.
    """
    plan = next(plan for plan in plan_cells(experiment) if plan.arm_name == arm)
    if port is not None and not plan.arm.has_proxy:
        raise UserError(f"--port: the arm {arm} of {experiment.name} has no proxy; leave --port out")
    confirm_open_files([plan], experiment.replicas.count, LoadOptions())
    with one_interrupt(), scratch_folder("up") as folder:
        try:
            tls = make_certificate(folder / TLS)
            with LocalTestbed(folder / "logs", load=False, tls=tls, proxy_port=port or 0) as testbed:
                live = testbed.start_cell(experiment, plan, folder, time.monotonic_ns())
                with what_died(testbed):
                    confirm_cell(experiment, plan, live)
                text = json_text if as_json else guide
                say(text(experiment, plan, live, TlsFiles(folder / TLS).authority))
                while True:
                    testbed.check()
                    time.sleep(CHECK_S)
        except KeyboardInterrupt:
            return 0
        except UserError:
            raise
        except LabError as error:
            raise LabError(_with_log_shown(str(error), folder)) from error


def _with_log_shown(message: str, folder: Path) -> str:
    """Print the end of the log that the message names, and return the message without its path.

    The log is in `folder`, which is about to be deleted.
    """
    for log in sorted(folder.rglob("*.log")):
        if str(log) in message:
            lines = log.read_text(errors="replace").splitlines()[-LOG_LINES:]
            if lines:
                say("\n  ".join([f"The end of {log.name}:", *lines]), error=True)
            where = "its log ends as shown above" if lines else "its log is empty"
            message = message.replace(f"see {log}", where)
    return message
