"""Holds one arm's testbed open to play with: `python run_experiment.py up NAME`."""

import json
import tempfile
import time
from pathlib import Path

from harness.interrupt import one_interrupt
from harness.plan.cells import CellPlan, plan_cells
from harness.proxy.tls import TlsFiles, make_certificate
from harness.run.confirm import confirm_cell
from harness.spec.experiment import Experiment
from harness.testbed.base import LiveCell
from harness.testbed.local.testbed import LocalTestbed

CHECK_S = 0.2
PROTO = "services/video_service.proto"
TLS = "tls"  # folder of the certificate, in the temporary one


def hold_open(experiment: Experiment, arm: str) -> int:
    """Start the arm's replicas and proxy, print where they are, and wait for Ctrl-C; returns 0 then.

    Raises LabError when a part dies. Nothing is kept: ledgers and logs live in a temporary folder.
    """
    plan = next(plan for plan in plan_cells(experiment) if plan.arm_name == arm)
    with (
        one_interrupt(),
        tempfile.TemporaryDirectory(prefix="lb-lab-") as folder,
        LocalTestbed(Path(folder) / "logs", load=False, tls=make_certificate(Path(folder) / TLS)) as testbed,
    ):
        try:
            live = testbed.start_cell(experiment, plan, Path(folder), time.monotonic_ns())
            confirm_cell(experiment, plan, live)
            print(_guide(experiment, plan, live), flush=True)
            while True:
                testbed.check()
                time.sleep(CHECK_S)
        except KeyboardInterrupt:
            return 0


def _guide(experiment: Experiment, plan: CellPlan, live: LiveCell) -> str:
    name, first = next(iter(live.replicas.items()))
    target, tls_target = live.envoy_address or first, live.envoy_address or live.replicas_tls[name]
    video = (
        '{"id":"1", "title": "Sample Video", "author": "John Doe", "url": "https://example.com/sample.mp4"}'
    )
    service = "video_service.VideoService"
    lines = [f"{experiment.name}, arm {plan.arm_name}:"]
    if live.envoy is not None:
        lines += [f"  envoy      {live.envoy_address}   (TLS the same; admin http://{live.envoy.address})"]
    lines += [
        f"  {name:<10} {address}   (TLS {live.replicas_tls[name]})" for name, address in live.replicas.items()
    ]
    lines += [
        f"The TLS certificate's authority: {TlsFiles(live.folder / TLS).authority}",
        "Who answers?",
        f"  python -m lb.driver {_how_to_call(plan)}-n 100 {live.target}",
        "By hand, through reflection or with the proto, in clear text or through TLS:",
        f"  grpcurl -plaintext {target} list",
        f"  grpcurl -proto {PROTO} -plaintext -d '{video}' {target} {service}/AddVideo",
        f"  grpcurl -proto {PROTO} -plaintext {target} {service}/ListVideos",
        f"  grpcurl -proto {PROTO} -insecure -vv -d @ {tls_target} {service}/GetVideo",
        '    and type ids: {"id":"sample-1"}',
        "Ctrl-C stops everything.",
    ]
    return "\n".join(lines)


def _how_to_call(plan: CellPlan) -> str:
    """The driver's options that make it call as the arm's clients do."""
    arm = plan.arm
    words = []
    if arm.route == "direct":
        options = [f"--option {key}={json.dumps(value)}" for key, value in arm.options.items()]
        words = [f"--policy {arm.policy}", *options]
    words += ["--cookie-jar"] if plan.cookies else []
    words += [f"--connections {arm.connections}"] if isinstance(arm.connections, int) else []
    words += ["--wait-for-ready"] if arm.wait_for_ready else []
    return "".join(f"{word} " for word in words)
