"""The process that predicts one run after the other: each as if it were the only one."""

from pathlib import Path

import tests.simulator.kernels  # noqa: F401
from harness.record.machine_costs import MachineCosts
from harness.record.manifest import Manifest
from harness.record.prediction import Prediction, read_prediction
from harness.record.run_directory import RunWriter
from harness.run.prediction_process import PredictionProcess
from harness.run.provenance import host
from harness.spec.experiment import Experiment, experiment_yaml, load_experiment
from harness.testbed.simulated.predict import predict

SHORT = {"workload.duration_s": 1.0, "workload.warm_up_s": 0.0, "repeats": 1}


def run_of(experiment: Experiment, folder: Path) -> Path:
    manifest = Manifest(
        experiment=experiment.name,
        seed=1,
        versions={},
        host=host(),
        git_commit=None,
        testbed="local",
        cells=[],
    )
    return RunWriter.create(folder, manifest, experiment_yaml(experiment)).path


def shares(prediction: Prediction | None) -> dict[str, tuple[int, dict[str, float | None]]]:
    """Arm -> simulations, and shares; other runs may change the fixed costs meanwhile."""
    assert prediction is not None and prediction.arms
    return {
        name: (
            arm.simulations,
            {
                metric: round(float(band.high or 0), 6)
                for metric, band in arm.metrics.items()
                if metric.startswith("spread.")
            },
        )
        for name, arm in prediction.arms.items()
    }


def test_a_prediction_does_not_depend_on_those_before_it(tmp_path: Path) -> None:
    process = PredictionProcess()
    try:
        for rate_per_s in (600.0, 200.0, 600.0):
            experiment = load_experiment("sticky", SHORT | {"workload.rate_per_s": rate_per_s})
            run = run_of(experiment, tmp_path)
            process.predict(run)
            assert process.answer(60.0) is None
            assert shares(read_prediction(run)) == shares(predict(experiment, "local", MachineCosts()))
    finally:
        process.end()
