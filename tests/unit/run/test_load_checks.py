"""Loads that are refused before anything starts."""

import socket
from pathlib import Path

import pytest

from harness.errors import UserError
from harness.plan.run_options import LoadOptions, RunOptions
from harness.run.load_checks import confirm_load
from harness.spec.experiment import Experiment, load_experiment

STICKY: Experiment = load_experiment("sticky")  # twelve clients
NO_FILE = Path("/no/such")
FEW: Experiment = load_experiment("few_vs_many")


@pytest.mark.parametrize(
    ("load", "testbed", "message"),
    [
        (LoadOptions(13), "local", "--processes 13, --expect-workers 0: 13 to make the calls of 12 clients"),
        (LoadOptions(9, 4), "local", "--processes 9, --expect-workers 4: 13 to make the calls of 12 clients"),
        (LoadOptions(master_bind_port=7000), "local", "nobody from elsewhere is expected; give --expect-w"),
        (LoadOptions(2, master_bind_host="0.0.0.0"), "external", "nobody from elsewhere is expected"),
        (LoadOptions(2, secret_file=NO_FILE), "local", "nobody from elsewhere is expected"),
        (LoadOptions(1, 1, secret_file=NO_FILE), "local", "/no/such: the secret cannot be read (No such fi"),
        (LoadOptions(1, 1, "10.0.0.1"), "local", "--master-bind-host 10.0.0.1: the parts of --testbed local"),
        (LoadOptions(1, 1, "0.0.0.0"), "local", "--master-bind-host 0.0.0.0: the parts of --testbed local"),
        (LoadOptions(1, 1, "192.0.2.1"), "external", "--master-bind-port 5557: cannot listen there (Cannot"),
        (LoadOptions(1, 1, "no.such.host.invalid"), "external", "cannot listen there"),
    ],
)
def test_it_says_what_is_wrong(load: LoadOptions, testbed: str, message: str) -> None:
    with pytest.raises(UserError) as raised:
        confirm_load(STICKY, RunOptions(testbed=testbed, load=load))
    assert message in str(raised.value)


def test_an_arm_with_fewer_clients_counts() -> None:
    fewest = min(FEW.workload_of(variant.arm).clients for variant in FEW.variants.values())
    confirm_load(FEW, RunOptions(load=LoadOptions(fewest)))
    with pytest.raises(UserError, match=f"calls of {fewest} clients"):
        confirm_load(FEW, RunOptions(load=LoadOptions(fewest + 1)))


def test_a_port_that_is_taken() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        load = LoadOptions(1, 1, master_bind_port=taken.getsockname()[1])
        with pytest.raises(UserError, match="Address already in use"):
            confirm_load(STICKY, RunOptions(load=load))


@pytest.mark.parametrize("load", [LoadOptions(), LoadOptions(12)])
def test_nothing_to_say(load: LoadOptions) -> None:
    confirm_load(STICKY, RunOptions(load=load))
