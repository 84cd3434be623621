"""The lab's clients over TLS and a real Envoy: trust, connections, and an ALB's cookies."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import envoy_process
import pytest
from clients import SETTINGS, calls, connect, run_clients
from envoy_process import EnvoyProcess, arm_of, start_envoy_process
from replica_process import StartReplica
from test_driver import driver, table

from harness.proxy.tls import TlsFiles, make_certificate
from harness.record.access_log import scan_access_log
from lb.ca_certificates import read_ca_certificates
from lb.client import Client
from lb.settings import ClientSettings

# An ALB sends two cookies in each answer, one of them Secure, each time with a new value.
ALB_COOKIES = {
    "AWSALB": "Expires=Wed, 01 Jan 2098 10:00:00 GMT; Path=/",
    "AWSALBCORS": "Expires=Wed, 01 Jan 2098 10:00:00 GMT; Path=/; SameSite=None; Secure",
}


def with_alb_cookies(config: str) -> str:
    """An Envoy that sets these cookies to the request's id and logs as path the cookies that come back."""
    action = "append_action: OVERWRITE_IF_EXISTS_OR_ADD\n"
    value = "%REQ(X-LAB-REQUEST-ID)%+/=="
    headers = [
        f'              - header: {{key: set-cookie, value: "{name}={value}; {attributes}"}}\n'
        for name, attributes in ALB_COOKIES.items()
    ]
    assert action in config
    config = config.replace(action, action + "".join(headers), 1)
    assert config.count("%REQ(:PATH)%") == 1
    return config.replace("%REQ(:PATH)%", "%REQ(COOKIE)%")


@pytest.fixture
def tls(tmp_path: Path) -> TlsFiles:
    return make_certificate(tmp_path / "tls")


@pytest.fixture
def start_envoy(
    tmp_path: Path, tls: TlsFiles, start_replica: StartReplica
) -> Iterator[Callable[[], EnvoyProcess]]:
    """Return a function that starts an Envoy with TLS and round robin over two replicas."""
    started: list[EnvoyProcess] = []

    def start() -> EnvoyProcess:
        addresses = {f"replica-{number}": start_replica().address for number in range(2)}
        envoy = start_envoy_process(tmp_path, arm_of("envoy", "round_robin"), addresses, tls)
        started.append(envoy)
        envoy.await_true(lambda: list(envoy.admin.endpoint_health().values()) == [True, True])
        return envoy

    yield start
    for envoy in started:
        envoy.stop()


def encrypted(address: str, tls: TlsFiles) -> ClientSettings:
    return replace(
        SETTINGS,
        target=address,
        service_config=None,
        tls=True,
        ca_certificates=read_ca_certificates(tls.authority),
    )


async def ten_each(clients: list[Client]) -> None:
    await connect(clients)
    for client in clients:
        await calls(client, 10)


def test_trusted_certificates_and_separate_connections(
    start_envoy: Callable[[], EnvoyProcess], tls: TlsFiles, tmp_path: Path
) -> None:
    admin = start_envoy().admin
    address = admin.listener_address()
    settings = encrypted(address, tls)
    rows, _ = run_clients(settings, 3, ten_each)
    assert {row["code"] for row in rows} == {"OK"}
    assert len({row["connection"] for row in rows}) == 3
    # gRPC resumes no session: the number of connections is the number of whole handshakes.
    assert admin.handshakes() == 3
    run_clients(replace(settings, key_prefix="again"), 3, ten_each)
    assert admin.handshakes() == 6
    stats = admin.get_json("/stats?format=json&filter=ssl%5C.session_reused$")["stats"]
    assert [stat["value"] for stat in stats] == [0]
    rows, _ = run_clients(replace(settings, tls=False, key_prefix="clear"), 2, ten_each)
    assert {row["code"] for row in rows} == {"OK"}
    assert admin.handshakes() == 6
    target = address.replace("127.0.0.1", "localhost")
    shared = replace(settings, target=target, share_connections=True, key_prefix="shared")
    rows, _ = run_clients(shared, 3, ten_each)
    assert {row["code"] for row in rows} == {"OK"}
    assert len({row["connection"] for row in rows}) == 3  # the harness refuses such an arm
    stranger = make_certificate(tmp_path / "stranger")
    for distrustful in (encrypted(address, stranger), replace(settings, ca_certificates=None)):
        rows, _ = run_clients(replace(distrustful, deadline_s=1), 1, lambda clients: calls(clients[0], 1))
        assert [row["code"] for row in rows] == ["UNAVAILABLE"]


def test_the_driver_over_tls(start_replica: StartReplica, tls: TlsFiles) -> None:
    port = (
        "--tls-listen",
        "127.0.0.1:0",
        "--tls-certificate",
        str(tls.certificate),
        "--tls-key",
        str(tls.key),
    )
    ready = start_replica(*port).ledger_path.with_name("ready-0.json")
    address = json.loads(ready.read_text())["tls_address"]
    done = driver("--tls", "--ca", str(tls.authority), "-n", "10", address)
    assert (done.returncode, done.stderr) == (0, "")
    assert table(done.stdout) == {"replica-0": 10}


@pytest.mark.parametrize("secure", [True, False])
def test_an_albs_cookies_are_renewed_with_every_answer(
    secure: bool, start_envoy: Callable[[], EnvoyProcess], tls: TlsFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    render = envoy_process.render
    monkeypatch.setattr(
        envoy_process, "render", lambda *given, **more: with_alb_cookies(render(*given, **more))
    )
    envoy = start_envoy()
    settings = replace(encrypted(envoy.admin.listener_address(), tls), cookie_jar=True, tls=secure)
    rows, _ = run_clients(settings, 1, lambda clients: calls(clients[0], 4))
    assert {row["code"] for row in rows} == {"OK"}

    envoy.await_true(lambda: envoy.files.access_log.read_bytes().count(b"\n") == 4)
    logged = scan_access_log(envoy.files.access_log).collect()
    names = list(ALB_COOKIES) if secure else ["AWSALB"]
    back = [None, *("; ".join(f"{name}={number}+/==" for name in names) for number in range(3))]
    assert logged["path"].to_list() == back
