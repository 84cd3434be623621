"""External replicas: finding them, reading their ledgers, and errors about servers that are not replicas."""

import csv
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest
from lab_process import StartCell, experiment_file
from replica_process import StartReplica

from harness.errors import UserError
from harness.plan.cells import plan_cells
from harness.plan.run_options import ExternalOptions
from harness.proxy.tls import make_certificate
from harness.run.confirm import confirm_cell
from harness.spec.experiment import load_experiment
from harness.testbed.base import LiveCell
from harness.testbed.external.replicas import (
    Calls,
    ExternalReplicas,
    Target,
    confirm_named,
    ipv4_of,
    replica_names_behind,
)
from harness.testbed.external.testbed import ExternalTestbed
from lb.ca_certificates import read_ca_certificates
from services.video_service_pb2 import Video
from services.video_service_pb2_grpc import VideoServiceServicer, add_VideoServiceServicer_to_server

SMALL = {"count": 2, "slots": 2, "service_time_ms": {"distribution": "constant", "mean": 1}}


class AnotherService(VideoServiceServicer):
    """A VideoService that is not the lab's: its headers have no replica name."""

    def ListVideos(self, request: object, context: object) -> Iterator[Video]:  # noqa: N802
        yield Video(id="x")


@pytest.fixture
def start_other_server() -> Iterator[Callable[[bool], str]]:
    """Starts a gRPC server with AnotherService or without any service, and returns its address."""
    servers: list[grpc.Server] = []

    def start(with_service: bool) -> str:
        server = grpc.server(ThreadPoolExecutor(1))
        if with_service:
            add_VideoServiceServicer_to_server(AnotherService(), server)
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        servers.append(server)
        return f"127.0.0.1:{port}"

    yield start
    for server in servers:
        server.stop(None).wait()


def test_the_replicas_behind_a_load_balancer_are_counted(start_cell: StartCell) -> None:
    live = start_cell("envoy", "sticky")
    target = Target(str(live.envoy_address))
    assert replica_names_behind(target, 3) == list(live.replicas)
    confirm_named(target, list(live.replicas))
    with pytest.raises(UserError, match=r"3 replicas answered .* the experiment has 4; .*--replicas 3"):
        replica_names_behind(target, 4)
    with pytest.raises(UserError, match=r"3 replicas answered .* the experiment has 2; .*--replicas 3"):
        replica_names_behind(target, 2)
    with pytest.raises(
        UserError, match=r"replica-\d answers behind --target and is none of those named \(me\)"
    ):
        confirm_named(target, ["me"])


def test_a_target_without_replicas_is_refused_with_a_reason(
    start_replica: StartReplica, start_other_server: Callable[[bool], str], tmp_path: Path
) -> None:
    files, other = make_certificate(tmp_path / "tls"), make_certificate(tmp_path / "other")
    tls = ("--tls-listen", "127.0.0.1:0", "--tls-certificate", str(files.certificate))
    server = start_replica(*tls, "--tls-key", str(files.key))
    ready = server.ledger_path.with_name("ready-0.json").read_text()
    encrypted = ready.partition('"tls_address": "')[2].partition('"')[0]
    trusted, untrusted = read_ca_certificates(files.authority), read_ca_certificates(other.authority)
    assert replica_names_behind(Target(encrypted, True, trusted), 1) == ["replica-0"]
    for target, message in (
        (Target("127.0.0.1:1"), r"ended with UNAVAILABLE .*; if it speaks TLS, add --tls"),
        (Target(encrypted), r"ended with UNAVAILABLE .*; if it speaks TLS, add --tls"),
        (
            Target(encrypted, True, untrusted),
            r"CERTIFICATE_VERIFY_FAILED.*; check that --ca signed its certificate",
        ),
        (Target("no.such.host.invalid:443"), "ended with UNAVAILABLE"),
        (Target(start_other_server(True)), r"the answer has no replica name \(header x-lab-replica\)"),
        (Target(start_other_server(False)), r"ended with UNIMPLEMENTED"),
    ):
        with pytest.raises(UserError, match=message) as raised:
            replica_names_behind(target, 1)
        assert str(raised.value).startswith(f"--target {target.address}: ")
        assert "\n" not in str(raised.value)


def test_named_replicas_are_called_and_wrong_names_are_refused(
    start_replica: StartReplica, start_other_server: Callable[[bool], str]
) -> None:
    first, second = start_replica(), start_replica()
    named = first.address.replace("127.0.0.1", "localhost")
    external_replicas = ExternalReplicas([named, second.address])
    assert external_replicas.addresses == {"replica-0": first.address, "replica-1": second.address}
    external_replicas.close()
    with pytest.raises(UserError, match=rf"--replica {named}: has the name replica-0, like {first.address}"):
        ExternalReplicas([first.address, named])
    with pytest.raises(UserError, match=r"ended with UNIMPLEMENTED .*; expected a replica of this lab"):
        ExternalReplicas([start_other_server(True)])
    with pytest.raises(UserError, match=r"no\.such\.host\.invalid:1: the host has no IPv4 address"):
        ipv4_of("no.such.host.invalid:1")


def test_a_cells_ledger_has_only_the_rows_of_that_cell(start_replica: StartReplica, tmp_path: Path) -> None:
    server = start_replica()
    for number in range(3):
        server.videos.AddVideo(Video(id=f"before-{number}", title="x"), timeout=5)
    folder = tmp_path / "cell"
    folder.mkdir()
    external_replicas = ExternalReplicas([server.address])
    before = external_replicas.so_far()
    assert before == {"replica-0": Calls(3, server.ledger_path.stat().st_size)}
    for number in range(2):
        metadata = (("x-lab-request-id", str(number)),)
        server.videos.AddVideo(Video(id=f"now-{number}", title="x"), timeout=5, metadata=metadata)
    external_replicas.write_ledgers(folder, before)
    with (folder / "replica-0.csv").open() as file:
        assert list(csv.DictReader(file)) == server.ledger()[3:]
    with pytest.raises(UserError, match="it was restarted during the cell"):
        external_replicas.write_ledgers(folder, {"replica-0": Calls(6, 0)})
    with pytest.raises(UserError, match=r"OUT_OF_RANGE \(no row of the ledger begins at \d+\)"):
        external_replicas.write_ledgers(folder, {"replica-0": Calls(0, before["replica-0"].ledger_end - 1)})
    earlier_version = {"replica-0": Calls(3, 0)}  # it tells no end of its ledger, and sends all of it
    external_replicas.write_ledgers(folder, earlier_version)
    with (folder / "replica-0.csv").open() as file:
        assert list(csv.DictReader(file)) == server.ledger()[3:]
    external_replicas.close()


def test_a_killed_replica_leaves_the_cell_without_replica_ledgers(
    start_replica: StartReplica, tmp_path: Path
) -> None:
    servers = [start_replica("--service-time", "constant:1", "--slots", "2") for _ in range(2)]
    path = experiment_file(tmp_path, arms={"a": {"route": "direct", "policy": "round_robin"}}, replicas=SMALL)
    experiment = load_experiment(str(path))
    plan, folder = plan_cells(experiment)[0], tmp_path / "cell"
    folder.mkdir()
    options = ExternalOptions(replicas=tuple(server.address for server in servers))
    with ExternalTestbed(tmp_path / "logs", options) as testbed:
        live = testbed.start_cell(experiment, plan, folder, 0)
        assert (live.target, live.missing_ledgers) == (",".join(options.replicas), {})
        confirm_cell(experiment, plan, live)
        servers[1].process.kill()
        servers[1].process.wait()
        testbed.stop_cell()
    assert live.missing_ledgers["replica"].startswith(f"--replica {servers[1].address}: a call ended with")
    assert not list(folder.glob("*.csv"))


@pytest.mark.parametrize(
    ("options", "changes", "message"),
    [
        (("--slots", "3"), {}, "replica-0 is not the planned replica: slots planned 2, live 3"),
        (
            ("--slots", "2", "--settings", '{"max_connection_age_ms": 9}'),
            {},
            "replica-0 is not the planned replica: max_connection_age_ms planned null, live 9",
        ),
        ((), {"different": {"replica-1": {"slots": 1}}}, "replica-1 is unlike the others in small"),
    ],
)
def test_replicas_that_differ_from_the_plan_are_refused(
    options: tuple[str, ...],
    changes: dict[str, object],
    message: str,
    start_replica: StartReplica,
    tmp_path: Path,
) -> None:
    server = start_replica("--service-time", "constant:1", *(options or ("--slots", "2")))
    arms = {"a": {"route": "direct", "policy": "round_robin"}}
    path = experiment_file(tmp_path, arms=arms, replicas={**SMALL, **changes})
    # The plan has two replicas, because one case needs different ones. The number is checked elsewhere.
    experiment = load_experiment(str(path))
    named = {"replica-0": server.address}
    live = LiveCell(tmp_path, named, dict(named), started_by_lab=False)
    with pytest.raises(UserError, match=message):
        confirm_cell(experiment, plan_cells(experiment)[0], live)
