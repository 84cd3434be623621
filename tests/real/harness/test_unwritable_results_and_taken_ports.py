"""Results folders that cannot be written, ports that are in use, and a disk that fills up."""

import resource
import socket
from pathlib import Path

import psutil
import pytest
from lab_process import StartLab, experiment_file

LONG = {"warm_up_s": 0.2, "duration_s": 1.5, "rate_per_s": 600}
ONE_ARM = {"arm": {"route": "direct", "policy": "round_robin"}}


def test_a_web_port_in_use_is_bad_usage_and_creates_nothing(start_lab: StartLab, tmp_path: Path) -> None:
    path = experiment_file(tmp_path)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        lab = start_lab("run", path, "--web", "--web-port", port)
        status, out, err = lab.end()
    assert (status, out) == (2, "")
    assert err.startswith(f"error: --web-port: port {port} of 127.0.0.1 cannot be had (")
    assert err.count("\n") == 1
    assert not lab.results.exists()


def test_every_cell_serves_the_web_page_on_the_same_port(start_lab: StartLab, tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    path = experiment_file(tmp_path, arms=ONE_ARM, repeats=2, workload={"duration_s": 0.2})
    lab = start_lab("run", path, "--web", "--web-port", port)
    status, out, err = lab.end()
    assert status in (0, 3), out + err  # 3: a generator that lagged on a busy machine
    for repeat in (1, 2):
        log = (lab.cell("arm", repeat) / "logs" / "load.log").read_text()
        assert "Traceback" not in log


@pytest.mark.parametrize("name", ["file", "file/below"])
def test_a_results_path_that_is_a_file_is_bad_usage(name: str, start_lab: StartLab, tmp_path: Path) -> None:
    path = experiment_file(tmp_path)
    (tmp_path / "file").write_text("existing")
    (tmp_path / "results").symlink_to(name)
    status, out, err = start_lab("run", path).end()
    assert (status, out) == (2, "")
    assert err.startswith("error: results folder ")
    assert "/results: cannot be written (" in err
    assert err.count("\n") == 1
    assert {entry.name for entry in tmp_path.iterdir()} == {"small.yaml", "file", "results"}
    assert (tmp_path / "file").read_text() == "existing"


@pytest.mark.parametrize(
    ("writer", "moment"),
    [("harness", "starting"), ("harness", "measure"), ("load", "measure"), ("all", "measure")],
)
def test_a_process_that_cannot_write_fails_the_run(
    writer: str, moment: str, start_lab: StartLab, tmp_path: Path
) -> None:
    """A limit on the size of files replaces a full disk: the same writes fail."""
    lab = start_lab("run", experiment_file(tmp_path, arms=ONE_ARM, workload=LONG))
    lab.await_state(moment)
    processes = {"all": lab.family(), "harness": lab.family()[:1]}.get(writer) or [lab.component(writer)]
    for process in processes:
        process.rlimit(psutil.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
    status, out, err = lab.end()
    assert (status, out) == (4, ""), err
    assert err.startswith("error: ")
    assert "unexpected" not in err
    assert err.count("\n") == 1
    # If the manifest cannot be rewritten, it still has the status of its first version.
    assert lab.manifest["status"] == ("failed" if writer == "load" else "interrupted")
