"""What the user is told about the load workers to start elsewhere, and the secret that they need."""

import socket
from pathlib import Path

import pytest

from harness.errors import UserError
from harness.plan.run_options import LoadOptions
from harness.run.load_checks import confirm_secret, shared_secret, workers_to_start
from load.secret import SECRET_VARIABLE, read_secret

COMMAND = "python run_experiment.py worker --master-host 127.0.0.1 --master-port 40123"
EXPECTED = LoadOptions(1, 2, master_bind_port=40123)


@pytest.fixture(autouse=True)
def no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(SECRET_VARIABLE, raising=False)


def told(load: LoadOptions) -> str:
    with shared_secret(load) as shared:
        return workers_to_start(load, shared)


def test_a_secret_that_the_run_makes() -> None:
    with shared_secret(EXPECTED) as load:
        file = load.secret_file
        assert file is not None
        assert file.stat().st_mode & 0o777 == 0o600
        assert len(read_secret(file)) == 64
        text = workers_to_start(EXPECTED, load)
    assert not file.exists()
    first, second = text.splitlines()
    assert first == f"2 load workers are expected; start each with: {COMMAND} --secret-file {file}"
    assert second.startswith("That file has the secret of this run")


def test_a_file_of_the_users(tmp_path: Path) -> None:
    file = tmp_path / "a secret"
    file.write_text("a long enough secret")
    load = LoadOptions(1, 2, master_bind_port=40123, secret_file=file)
    confirm_secret(load)
    first, second = told(load).splitlines()
    assert first.endswith(f"{COMMAND} --secret-file '{file}'")
    assert second == "Each needs a copy of that file."
    assert file.read_text() == "a long enough secret"


def test_a_secret_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SECRET_VARIABLE, "a long enough secret")
    confirm_secret(EXPECTED)
    first, second = told(EXPECTED).splitlines()
    assert first.endswith(f"start each with: {COMMAND}")
    assert second == "Each needs the same LB_LAB_WORKER_SECRET in its environment."
    monkeypatch.setenv(SECRET_VARIABLE, "too short")
    with pytest.raises(UserError, match="LB_LAB_WORKER_SECRET: the secret has 9 characters"):
        confirm_secret(EXPECTED)


def test_a_name_for_an_address_that_means_all() -> None:
    assert f"--master-host {socket.getfqdn()} " in told(LoadOptions(1, 2, "0.0.0.0", 40123))


def test_without_workers_from_elsewhere_there_is_no_file() -> None:
    with shared_secret(LoadOptions(4)) as load:
        assert load == LoadOptions(4)
