"""A replica's second port, with TLS and the same services."""

import json
from pathlib import Path

import pytest
from replica_process import ROOT, Server, StartReplica
from test_replica_process import run_replica
from tls_calls import make_all_four_calls, refused

from harness.proxy.tls import TlsFiles, make_certificate


@pytest.fixture
def files(tmp_path: Path) -> TlsFiles:
    return make_certificate(tmp_path / "tls")


@pytest.fixture
def server(start_replica: StartReplica, files: TlsFiles) -> Server:
    return start_replica(*options(files))


def options(files: TlsFiles) -> list[str]:
    return [
        *("--tls-listen", "127.0.0.1:0"),
        *("--tls-certificate", str(files.certificate), "--tls-key", str(files.key)),
    ]


def tls_address(server: Server) -> str:
    ready = server.ledger_path.with_name("ready-0.json")
    return str(json.loads(ready.read_text())["tls_address"])


def test_both_ports_are_one_server(server: Server, files: TlsFiles) -> None:
    make_all_four_calls(tls_address(server), files.authority, "secret")
    make_all_four_calls(server.address, None, "clear")
    assert len(server.ledger()) == 8
    assert tls_address(server) != server.address


def test_each_port_refuses_the_other_kind(server: Server, files: TlsFiles, tmp_path: Path) -> None:
    refused(tls_address(server), None)
    refused(server.address, files.authority)
    stranger = make_certificate(tmp_path / "stranger")
    assert "CERTIFICATE_VERIFY_FAILED" in refused(tls_address(server), stranger.authority)
    assert server.ledger() == []


@pytest.mark.parametrize(
    ("given", "missing"),
    [
        (["--tls-listen", "127.0.0.1:0"], "--tls-certificate, --tls-key"),
        (["--tls-certificate", "c.pem", "--tls-key", "k.pem"], "--tls-listen"),
    ],
)
def test_all_three_options_or_none(given: list[str], missing: str) -> None:
    ended = run_replica(*given)
    assert ended.returncode == 2
    expected = "expected all of --tls-listen, --tls-certificate, --tls-key, or none"
    assert ended.stderr == f"replica: {missing} missing: {expected}\n"


def test_files_that_cannot_serve_are_one_clear_line(files: TlsFiles, tmp_path: Path) -> None:
    strange = make_certificate(tmp_path / "strange")
    unlike = "are not a certificate and its private key in PEM"
    swaps = {
        tmp_path / "none.pem": f"cannot read {tmp_path / 'none.pem'}: No such file or directory",
        ROOT / "README.md": f"{files.certificate} and {ROOT / 'README.md'} {unlike}",
        strange.key: f"{files.certificate} and {strange.key} {unlike}",
    }
    for key, message in swaps.items():
        ended = run_replica("--listen", "127.0.0.1:0", *options(files)[:-1], str(key))
        assert ended.returncode == 1
        assert ended.stderr.startswith(f"replica-0: {message}")
        assert ended.stderr.count("\n") == 1


def test_a_taken_tls_port_is_one_clear_line(server: Server, files: TlsFiles) -> None:
    taken = tls_address(server)
    ended = run_replica("--listen", "127.0.0.1:0", "--tls-listen", taken, *options(files)[2:])
    assert ended.returncode == 1
    assert ended.stderr == f"replica-0: cannot listen on {taken}: [Errno 98] Address already in use\n"
