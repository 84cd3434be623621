"""What a run stores of its experiment: the file, and the part of a trace or the Locust file that it plays."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from harness.spec.experiment import Experiment, experiment_yaml
from harness.spec.trace_file import TRACE_FILE, file_digest, write_window


@contextmanager
def stored_experiment(experiment: Experiment) -> Iterator[tuple[str, Sequence[Path]]]:
    """Give the text of experiment.yaml, and the files beside it, which exist until the end.

    The text has the hash of the trace's part, so that the seal of experiment.yaml is one of the trace, too.
    """
    work, trace = experiment.workload, experiment.workload.trace
    if work.locustfile is not None:
        file = Path(work.locustfile)
        renamed = experiment.model_copy(
            update={"workload": work.model_copy(update={"locustfile": file.name})}
        )
        yield experiment_yaml(renamed), (file,)
        return
    if trace is None:
        yield experiment_yaml(experiment), ()
        return
    with tempfile.TemporaryDirectory() as scratch:
        part = Path(scratch) / TRACE_FILE
        recorded = trace.service_times == "recorded"
        write_window(Path(trace.file), trace.edges, work.warm_up_s * trace.speed, part, with_work=recorded)
        own = trace.model_copy(update={"file": TRACE_FILE, "sha256": file_digest(part)})
        stored = experiment.model_copy(update={"workload": work.model_copy(update={"trace": own})})
        yield experiment_yaml(stored), (part,)
