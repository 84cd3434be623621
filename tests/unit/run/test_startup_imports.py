"""Before its first part starts, a run imports nothing that it only needs later."""

import subprocess
import sys

from harness.paths import ROOT

# gRPC is imported once the parts have started, polars and matplotlib after the first cell.
LATER = ["grpc", "polars", "numpy", "matplotlib", "jinja2", "locust"]


def test_a_run_begins_without_what_it_needs_later() -> None:
    program = f"import sys, harness.run.experiment; print([name for name in {LATER} if name in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
