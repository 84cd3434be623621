"""`up` for other clients and programs: its port, its JSON object, the lines that keep a session."""

import json
import re
import signal
import socket
from pathlib import Path
from typing import Any

import grpc
import pytest
from lab_process import Lab, StartLab, experiment_file, free_port
from other_clients import path_with, served_by, shell
from tls_calls import make_all_four_calls

from services.video_service_pb2 import GetVideoRequest
from services.video_service_pb2_grpc import VideoServiceStub

BLUE_GREEN = {"blue": {"replicas": 1, "weight": 50}, "green": {"replicas": 1, "weight": 50}}
# Arm -> policy, options, the header that the second line sends, and how its value begins.
SESSIONS = {
    "sticky": ("sticky", {}, "cookie", "LABALB="),
    "by_header": ("sticky", {"by": "header"}, "x-lab-sticky", ""),
    "hashed": ("maglev", {"key": "cookie"}, "cookie", "LABHASH="),
    "grouped": ("target_groups", {"groups": BLUE_GREEN, "sticky_by": "cookie"}, "cookie", "LABTG="),
}
WITHOUT_SESSIONS = {
    "in_turn": {"route": "envoy", "policy": "round_robin"},
    "layer_4": {"route": "envoy-l4", "policy": "round_robin"},
    "direct": {"route": "direct", "policy": "ring_hash"},
}
ARMS = {
    **{
        arm: {"route": "envoy", "policy": policy, "options": options}
        for arm, (policy, options, *_) in SESSIONS.items()
    },
    **WITHOUT_SESSIONS,
    "by_name": {"route": "envoy", "policy": "ring_hash"},
}
ENDS_WITH = "Ctrl-C stops everything.\n"


@pytest.fixture
def experiment(tmp_path: Path) -> Path:
    return experiment_file(tmp_path, arms=ARMS, replicas={"count": 2})


@pytest.fixture
def one_replica(tmp_path: Path) -> Path:
    """An experiment in which a video that one call adds is found by the next."""
    arms = {name: ARMS[name] for name in ("sticky", "direct")}
    return experiment_file(tmp_path, arms=arms, replicas={"count": 1})


def guide(lab: Lab) -> str:
    """Return the text that `up` prints before it waits."""
    assert lab.process.stdout is not None
    lines = list(iter(lab.process.stdout.readline, ENDS_WITH))
    assert lab.process.poll() is None, lines
    return "".join(lines)


def json_of(lab: Lab) -> dict[str, Any]:
    assert lab.process.stdout is not None
    line = lab.process.stdout.readline()
    assert line, lab.end()
    return dict(json.loads(line))


def stop(lab: Lab) -> None:
    lab.process.send_signal(signal.SIGINT)
    status, out, err = lab.end(15)
    assert (status, out, err) == (0, "", "")


@pytest.mark.parametrize("arm", SESSIONS)
def test_the_printed_lines_keep_a_session(
    arm: str, start_lab: StartLab, experiment: Path, tmp_path: Path
) -> None:
    _, _, header, begin = SESSIONS[arm]
    lab = start_lab("up", experiment, "--arm", arm)
    text = guide(lab)
    (first,) = re.findall(r"^  (SESSION=.*)$", text, re.MULTILINE)
    (second,) = re.findall(rf'^  (grpcurl .* -H "{header}: \$SESSION" .*)$', text, re.MULTILINE)
    (server,) = re.findall(r"^  export SERVER=(\S+) TLS_SERVER=", text, re.MULTILINE)
    # What Envoy really answers with, asked without grpcurl.
    with grpc.insecure_channel(server) as channel:
        _, call = VideoServiceStub(channel).GetVideos.with_call(iter([GetVideoRequest(id="sample-1")]))
    answered = dict(call.initial_metadata())["set-cookie" if header == "cookie" else header]
    assert answered.startswith(begin)
    assert f"^{'set-cookie' if header == 'cookie' else header}: " in first
    assert begin in first
    path = path_with("grpcurl", tmp_path / "programs")
    output = shell("\n".join([first, 'echo "$SESSION"', *[second] * 5]), PATH=path)
    assert output.startswith(begin)
    assert output.splitlines()[0] != ""
    assert len(served_by(output)) == 1
    plain = second.replace(f'-H "{header}: $SESSION"', "")
    if arm != "grouped":  # whose first picks are drawn at random
        assert len(served_by(shell("\n".join([plain] * 20), PATH=path))) == 2
    stop(lab)


@pytest.mark.parametrize("arm", WITHOUT_SESSIONS)
def test_an_arm_without_sessions_prints_no_such_lines(
    arm: str, start_lab: StartLab, experiment: Path
) -> None:
    lab = start_lab("up", experiment, "--arm", arm)
    text = guide(lab)
    assert "SESSION" not in text
    assert " -H " not in text
    stop(lab)


def test_a_session_that_the_call_names_itself(start_lab: StartLab, experiment: Path, tmp_path: Path) -> None:
    lab = start_lab("up", experiment, "--arm", "by_name")
    (line,) = re.findall(r"^  (grpcurl .* -H 'x-lab-session: me' .*)$", guide(lab), re.MULTILINE)
    path = path_with("grpcurl", tmp_path / "programs")
    assert len(served_by(shell("\n".join([line] * 5), PATH=path))) == 1
    stop(lab)


def test_the_json_object_has_all_addresses_and_not_the_admin_interface(
    start_lab: StartLab, one_replica: Path
) -> None:
    lab = start_lab("up", one_replica, "--arm", "sticky", "--json")
    found = json_of(lab)
    authority = Path(found.pop("ca_certificate"))
    admin = (authority.parents[1] / "envoy" / "admin-address.txt").read_text().strip()
    assert admin.rpartition(":")[2] not in json.dumps(found)
    envoy = found["envoy"]["address"]
    assert found == {
        **{"experiment": "small", "arm": "sticky", "route": "envoy", "policy": "sticky", "target": envoy},
        **{"envoy": {"address": envoy, "tls_address": envoy}, "replicas": found["replicas"]},
        **{"cookie": "LABALB", "echo_header": None},
    }
    assert list(found["replicas"]) == ["replica-0"]
    for number, server in enumerate([found["envoy"], *found["replicas"].values()]):
        make_all_four_calls(server["address"], None, f"clear-{number}")
        make_all_four_calls(server["tls_address"], authority, f"tls-{number}")
    stop(lab)


def test_the_json_object_of_a_direct_arm_has_no_proxy(start_lab: StartLab, experiment: Path) -> None:
    lab = start_lab("up", experiment, "--arm", "direct", "--json")
    found = json_of(lab)
    assert (found["envoy"], found["cookie"]) == (None, None)
    assert found["target"] == ",".join(server["address"] for server in found["replicas"].values())
    stop(lab)


def test_the_proxy_has_the_given_port_again_and_again(start_lab: StartLab, one_replica: Path) -> None:
    port = free_port()
    for _ in range(2):
        lab = start_lab("up", one_replica, "--port", port, "--json")
        assert json_of(lab)["target"] == f"127.0.0.1:{port}"
        make_all_four_calls(f"127.0.0.1:{port}", None, "port")
        stop(lab)


def test_a_port_that_another_envoy_has_is_bad_usage(start_lab: StartLab, one_replica: Path) -> None:
    port = free_port()
    holder = start_lab("up", one_replica, "--port", port, "--json")
    assert json_of(holder)["target"] == f"127.0.0.1:{port}"
    status, out, err = start_lab("up", one_replica, "--port", port).end(15)
    assert (status, out) == (2, "")
    assert err == (
        f"error: --port: cannot listen on 127.0.0.1:{port}: Address already in use; "
        "give another port, or leave --port out\n"
    )
    make_all_four_calls(f"127.0.0.1:{port}", None, "still-there")
    stop(holder)


def test_a_port_that_another_program_has_is_bad_usage(start_lab: StartLab, one_replica: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
        status, out, err = start_lab("up", one_replica, "--port", port).end(15)
    assert (status, out) == (2, "")
    assert err.startswith(f"error: --port: cannot listen on 127.0.0.1:{port}: Address already in use; ")
    assert err.count("\n") == 1


def test_a_port_for_an_arm_without_a_proxy_is_bad_usage(start_lab: StartLab, one_replica: Path) -> None:
    status, out, err = start_lab("up", one_replica, "--arm", "direct", "--port", 8080).end(15)
    assert (status, out) == (2, "")
    assert err == "error: --port: the arm direct of small has no proxy; leave --port out\n"
