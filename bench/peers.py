"""PEERS: the load generators that `python -m bench.generator` compares, each as a command that makes calls.

All make unary calls on CLIENTS connections, at a planned rate or, at rate 0, as fast as answers come. Then
each connection has one call at a time. Each adds videos with ids of its own, where it can vary an id at all.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import NamedTuple

from google.protobuf.descriptor_pb2 import FileDescriptorSet

from bench.capacity import nghttp2
from lb.plan import Load
from lb.settings import ClientSettings
from load.order import LoadOrder
from services import video_service_pb2 as pb

ROOT = Path(__file__).resolve().parent.parent
SENT_FILE = "sent.json"  # of stock Locust: the planned time of each call, and how late it was sent
TOOLS = ROOT / "build" / "load-generators"  # where Go puts what it builds
CLIENTS = 12
MAX_IN_FLIGHT = 600  # calls at once, of the peers that must know
DEADLINE_S = 10.0
SERVICE = "video_service.VideoService"
METHOD = f"{SERVICE}/AddVideo"
VIDEO = {"title": "Load", "author": "lb-lab", "url": "https://example.com/v.mp4", "duration": 1}


class Ask(NamedTuple):
    """What a peer is to do. `rate_per_s`: 0 for a closed loop. `run`: a name that no other run has.

    `folder`: an empty folder for its files.
    """

    target: str
    rate_per_s: int
    seconds: float
    run: str
    folder: Path

    @property
    def load(self) -> Load:
        """The same load as a plan of the lab."""
        rate_per_s, think_time_ms = (self.rate_per_s, None) if self.rate_per_s else (None, 0.0)
        return Load(CLIENTS, rate_per_s, think_time_ms, 0.0, {"AddVideo": 1}, 1, int(self.run.split("-")[-1]))


@dataclass(frozen=True)
class Peer:
    """One load generator. `plan`: how it keeps a rate. `argv`: its command, without the program.

    `program`: its name; `go`: what `go install` makes it from.
    """

    name: str
    plan: str
    argv: Callable[[Ask], list[str]]
    program: str = sys.executable
    go: str = ""
    folder: Path = ROOT  # where it runs

    def path(self) -> str | None:
        """Return the path of its program; None: it is not installed."""
        own = TOOLS / self.program
        return str(own) if own.exists() else shutil.which(self.program)


def build(peers: list[Peer]) -> None:
    """Build the missing peers that Go can build. Prints which fail."""
    for peer in peers:
        if peer.go and peer.path() is None and shutil.which("go"):
            print(f"go install {peer.go}", flush=True)
            environment = os.environ | {"GOBIN": str(TOOLS), "GOFLAGS": "-mod=mod"}
            if subprocess.run(["go", "install", peer.go], env=environment, check=False).returncode:
                print(f"{peer.name}: go cannot build it")


def _lab(ask: Ask, cookie_jar: bool = False) -> list[str]:
    settings = ClientSettings(ask.target, None, cookie_jar, True, 1, DEADLINE_S, 0, f"bench-{ask.run}")
    order = LoadOrder(ask.load, settings, 0.0, ask.seconds, ask.folder)
    order.write(ask.folder / "order.json")
    return ["-m", "load.main", str(ask.folder / "order.json")]


def _lab_with_cookies(ask: Ask) -> list[str]:
    return _lab(ask, cookie_jar=True)


def _with_plan(module: str, ask: Ask) -> list[str]:
    path = ask.folder / "load.json"
    path.write_text(json.dumps(asdict(ask.load)))
    return ["-m", module, ask.target, str(path), str(ask.seconds)]


def _stock(ask: Ask) -> list[str]:
    return [*_with_plan("bench.stock_locust", ask), str(ask.folder / SENT_FILE)]


def _bare(ask: Ask) -> list[str]:
    return _with_plan("bench.bare_aio", ask)


def _ghz(ask: Ask) -> list[str]:
    protoset = FileDescriptorSet()
    pb.DESCRIPTOR.CopyToProto(protoset.file.add())
    path = ask.folder / "video_service.protoset"
    path.write_bytes(protoset.SerializeToString())
    video = {"id": f"ghz-{ask.run}-{{{{.RequestNumber}}}}", **VIDEO}
    # With --async a call starts at its time although earlier ones are not answered.
    rate = ["--async", f"--rps={ask.rate_per_s}"] if ask.rate_per_s else []
    return [
        *("--insecure", f"--protoset={path}", f"--call={METHOD}", f"--data={json.dumps(video)}"),
        *('--metadata={"x-lab-session":"0.0"}', f"--connections={CLIENTS}", f"--duration={ask.seconds}s"),
        *(
            "--duration-stop=ignore",
            f"--timeout={DEADLINE_S:g}s",
            f"--concurrency={CLIENTS}",
            *rate,
            ask.target,
        ),
    ]


def _fortio(ask: Ask) -> list[str]:
    rate = ask.rate_per_s or 0
    return [
        *("load", "-grpc", f"-qps={rate}", f"-c={CLIENTS}", f"-t={ask.seconds}s", "-loglevel=Error"),
        *("-nocatchup", ask.target),
    ]


def _k6(ask: Ask) -> list[str]:
    proto = ROOT / "services"
    scenario: dict[str, object] = {"duration": f"{ask.seconds}s"}
    if ask.rate_per_s:
        scenario |= {"executor": "constant-arrival-rate", "rate": ask.rate_per_s, "timeUnit": "1s"}
        scenario |= {"preAllocatedVUs": CLIENTS * 4, "maxVUs": MAX_IN_FLIGHT}
    else:
        scenario |= {"executor": "constant-vus", "vus": CLIENTS}
    script = ask.folder / "load.js"
    script.write_text(f"""
import grpc from "k6/net/grpc";
const client = new grpc.Client();
client.load([{json.dumps(str(proto))}], "video_service.proto");
export const options = {{ scenarios: {{ load: {json.dumps(scenario)} }} }};
let calls = 0;
export default () => {{
  if (calls === 0) client.connect({json.dumps(ask.target)}, {{ plaintext: true }});
  const id = `k6-{ask.run}-${{__VU}}-${{calls++}}`;
  client.invoke("{METHOD}", {{ ...{json.dumps(VIDEO)}, id }});
}};
""")
    return ["run", "--quiet", "--no-usage-report", "--no-summary", str(script)]


def _h2load(ask: Ask) -> list[str]:
    # It sends the same bytes each time, and a replica adds a video only once. So it asks for a video.
    body = ask.folder / "request"
    body.write_bytes(nghttp2.on_the_wire(pb.GetVideoRequest(id="sample-0")))
    pace = [f"--rps={ask.rate_per_s / CLIENTS}", f"-m{nghttp2.MAX_IN_FLIGHT}"] if ask.rate_per_s else ["-m1"]
    headers = [f"--header={header}" for header in nghttp2.HEADERS]
    url = f"http://{ask.target}/video_service.VideoService/GetVideos"
    return [f"-c{CLIENTS}", f"-D{round(ask.seconds * 1000)}ms", *pace, *headers, f"--data={body}", url]


LAB = Peer("lab", "Poisson arrivals, open loop; records every call", _lab)
GHZ = Peer("ghz", "even gaps, open loop (--async)", _ghz, "ghz", "github.com/bojand/ghz/cmd/ghz@v0.120.0")
STOCK = Peer("stock Locust", "the lab's plan, open loop: a gevent greenlet a call; no records", _stock)
PEERS = [
    LAB,
    Peer("lab, cookie jar", "the same with a cookie jar", _lab_with_cookies),
    Peer("grpc.aio alone", "the lab's plan, open loop; no records, no Locust, no answer read", _bare),
    STOCK,
    GHZ,
    Peer(
        *("fortio", "even gaps; a connection's next call waits for its answer; health checks", _fortio),
        *("fortio", "fortio.org/fortio@v1.69.5"),
    ),
    Peer("k6", "even gaps, open loop (constant-arrival-rate)", _k6, "k6", "go.k6.io/k6@v1.0.0"),
    Peer("h2load", "even gaps; no gRPC: it sends the same GetVideos and reads no answer", _h2load, "h2load"),
]


def lab_in(folder: Path) -> Peer:
    """Return the lab's load process as it is in another checkout of the project."""
    return replace(LAB, name="lab before", plan=f"the lab in {folder.name}", folder=folder)
