"""The commands of docs/by-hand.md work with the addresses that `up` prints."""

import re
import signal
from pathlib import Path

import pytest
from lab_process import ROOT, StartLab, experiment_file
from other_clients import path_with, shell

PART = (ROOT / "docs" / "by-hand.md").read_text()
COMMANDS = PART.partition("```sh\n")[2].partition("```")[0].splitlines()
TYPED = COMMANDS[-1]  # what the reader types into the last command


@pytest.mark.parametrize("server", ["envoy", "replica-0"])
def test_the_commands_work(server: str, start_lab: StartLab, tmp_path: Path) -> None:
    path = path_with("grpcurl", tmp_path / "programs")
    lab = start_lab("up", experiment_file(tmp_path, replicas={"count": 1}))
    assert lab.process.stdout is not None
    text = "".join(iter(lab.process.stdout.readline, "Ctrl-C stops everything.\n"))
    if server == "envoy":
        (export,) = re.findall(r"^  (export SERVER=\S+ TLS_SERVER=\S+)$", text, re.MULTILINE)
    else:
        (addresses,) = re.findall(r"^  replica-0 +(\S+) +\(TLS (\S+)\)$", text, re.MULTILINE)
        export = "export SERVER={} TLS_SERVER={}".format(*addresses)
    assert COMMANDS[0].startswith("export SERVER=127.0.0.1:... TLS_SERVER=127.0.0.1:... ")
    *calls, last = COMMANDS[1:-1]
    output = shell("\n".join([export, *calls, f"{last} <<< '{TYPED}'"]), PATH=path)
    assert "video_service.VideoService\n" in output
    assert output.count('"id": "2"') == 2  # added, and listed
    assert output.count('"id": "sample-1"') == 2  # listed, and got by its id
    lab.process.send_signal(signal.SIGINT)
    assert lab.end(15)[0] == 0
