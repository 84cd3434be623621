"""The lines of docs/clients.md work, and work again, on both kinds of replicas and through Envoy."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from envoy_process import arm_of, start_envoy_process
from lab_process import ROOT
from other_clients import path_with, served_by, shell
from replica_process import StartReplica

PAGE = (ROOT / "docs" / "clients.md").read_text()
BLOCKS = re.findall(r"<!-- client: (\w+) -->\n```sh\n(.*?)```", PAGE, re.DOTALL)
SERVERS = ["asyncio", "threads", "envoy"]


@pytest.fixture
def address(request: pytest.FixtureRequest, start_replica: StartReplica, tmp_path: Path) -> Iterator[str]:
    """The address of a server of the kind `request.param`; Envoy with the arm's policy `sticky`."""
    if request.param != "envoy":
        yield start_replica("--slots", "1", server=request.param).address
        return
    replicas = {f"replica-{number}": start_replica("--slots", "8") for number in range(2)}
    addresses = {name: server.address for name, server in replicas.items()}
    envoy = start_envoy_process(tmp_path, arm_of("envoy", "sticky"), addresses)
    envoy.await_true(lambda: list(envoy.admin.endpoint_health().values()) == [True, True])
    yield envoy.admin.listener_address()
    envoy.stop()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder in which the lines may write, with the proto files where the lab has them."""
    folder = tmp_path / "lab"
    folder.mkdir()
    (folder / "services").symlink_to(ROOT / "services")
    return folder


def test_the_page_has_a_line_for_each_client() -> None:
    assert {client for client, _ in BLOCKS} == {"grpcurl", "ghz", "h2load"}


def confirm_grpcurl(output: str) -> None:
    assert output


def confirm_ghz(output: str) -> None:
    assert re.search(r"\[OK\] +1000 responses", output), output
    assert "Error distribution" not in output


def confirm_h2load(output: str) -> None:
    assert "1000 succeeded, 0 failed, 0 errored" in output
    assert "status codes: 1000 2xx" in output


CONFIRM = {"grpcurl": confirm_grpcurl, "ghz": confirm_ghz, "h2load": confirm_h2load}


@pytest.mark.parametrize("address", SERVERS, indirect=True)
@pytest.mark.parametrize(("client", "lines"), BLOCKS, ids=[f"{client}" for client, _ in BLOCKS])
def test_the_lines_of_the_page_work_twice(
    client: str, lines: str, address: str, folder: Path, request: pytest.FixtureRequest
) -> None:
    if "set-cookie" in lines and "envoy" not in request.node.callspec.id:
        pytest.skip("a replica alone sets no cookie")
    path = path_with(client, folder / "programs")
    for _ in range(2):
        CONFIRM[client](shell(lines, folder, PATH=path, SERVER=address))


@pytest.mark.parametrize("address", ["asyncio", "threads"], indirect=True)
def test_the_replica_answers_what_h2load_sends(address: str, tmp_path: Path) -> None:
    """h2load itself does not see whether a call failed."""
    path = path_with("h2load", tmp_path / "programs")
    (lines,) = (lines for client, lines in BLOCKS if client == "h2load")
    shell(lines, tmp_path, PATH=path, SERVER=address)
    rows = (tmp_path / "replica-0.csv").read_text().splitlines()
    column = rows[0].split(",").index("code")
    codes = [row.split(",")[column] for row in rows[1:]]
    assert codes == ["OK"] * 1000


@pytest.mark.parametrize("address", SERVERS, indirect=True)
def test_grpcurl_describes_all_that_it_lists(address: str, tmp_path: Path) -> None:
    path = path_with("grpcurl", tmp_path / "programs")
    described = shell("grpcurl -plaintext $SERVER describe", PATH=path, SERVER=address)
    for name in shell("grpcurl -plaintext $SERVER list", PATH=path, SERVER=address).split():
        assert f"{name} is a service:" in described
        methods = shell(f"grpcurl -plaintext $SERVER list {name}", PATH=path, SERVER=address).split()
        for method in methods:
            assert "is a method" in shell(
                f"grpcurl -plaintext $SERVER describe {method}", PATH=path, SERVER=address
            )


@pytest.mark.parametrize("address", ["asyncio"], indirect=True)
def test_ghz_reads_the_proto_file_of_the_videos(address: str, tmp_path: Path) -> None:
    path = path_with("ghz", tmp_path / "programs")
    (lines,) = (lines for client, lines in BLOCKS if client == "ghz")
    lines = lines.replace("--call", f"--proto {ROOT}/services/video_service.proto --call")
    confirm_ghz(shell(lines, tmp_path, PATH=path, SERVER=address))


@pytest.mark.parametrize("address", ["envoy"], indirect=True)
def test_with_the_cookie_of_the_page_one_replica_answers(address: str, folder: Path) -> None:
    path = path_with("grpcurl", folder / "programs")
    (lines,) = (lines for _, lines in BLOCKS if "set-cookie" in lines)
    first, second = lines.splitlines()
    repeated = "\n".join([first, *[second] * 6])
    assert len(served_by(shell(repeated, folder, PATH=path, SERVER=address))) == 1
    without_cookie = "\n".join([second.replace('-H "cookie: $SESSION"', "")] * 6)
    assert len(served_by(shell(without_cookie, folder, PATH=path, SERVER=address))) == 2
