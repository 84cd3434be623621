"""`python run_experiment.py up NAME`: starts one arm's replicas and proxy, and keeps them running."""

import json
import tempfile
import time
from pathlib import Path

from harness.interrupt import one_interrupt
from harness.output.safe_text import say
from harness.plan.cells import CellPlan, plan_cells
from harness.plan.run_options import LoadOptions
from harness.proxy.tls import TlsFiles, make_certificate
from harness.run.confirm import confirm_cell
from harness.run.open_files import confirm_open_files
from harness.spec.experiment import Experiment
from harness.testbed.base import LiveCell
from harness.testbed.local.testbed import LocalTestbed

CHECK_S = 0.2
PROTO = "services/video_service.proto"
TLS = "tls"  # folder of the certificate, in the temporary folder


def keep_running(experiment: Experiment, arm: str) -> int:
    """Start the arm's replicas and proxy, print their addresses, and wait for Ctrl-C. Return 0 then.

    Ledgers and logs are in a temporary folder, which is deleted at the end. Raises LabError when a process
    dies.
    """
    plan = next(plan for plan in plan_cells(experiment) if plan.arm_name == arm)
    confirm_open_files([plan], experiment.replicas.count, LoadOptions())
    with (
        one_interrupt(),
        tempfile.TemporaryDirectory(prefix="lb-lab-") as folder,
        LocalTestbed(Path(folder) / "logs", load=False, tls=make_certificate(Path(folder) / TLS)) as testbed,
    ):
        try:
            live = testbed.start_cell(experiment, plan, Path(folder), time.monotonic_ns())
            confirm_cell(experiment, plan, live)
            say(_guide(experiment, plan, live))
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
        f"CA certificate for TLS: {TlsFiles(live.folder / TLS).authority}",
        "To see which replica answers:",
        f"  python -m lb.driver {_driver_options(plan)}-n 100 {live.target}",
        "Calls by hand, with server reflection or the proto file, in clear text or with TLS:",
        f"  grpcurl -plaintext {target} list",
        f"  grpcurl -proto {PROTO} -plaintext -d '{video}' {target} {service}/AddVideo",
        f"  grpcurl -proto {PROTO} -plaintext {target} {service}/ListVideos",
        f"  grpcurl -proto {PROTO} -insecure -vv -d @ {tls_target} {service}/GetVideo",
        '    and type ids: {"id":"sample-1"}',
        "Ctrl-C stops everything.",
    ]
    return "\n".join(lines)


def _driver_options(plan: CellPlan) -> str:
    """Return the options of lb.driver with which it calls as the arm's clients do."""
    arm = plan.arm
    words = []
    if arm.route == "direct":
        options = [f"--option {key}={json.dumps(value)}" for key, value in arm.options.items()]
        words = [f"--policy {arm.policy}", *options]
    words += ["--cookie-jar"] if plan.cookies else []
    words += [f"--connections {arm.connections}"] if isinstance(arm.connections, int) else []
    words += ["--wait-for-ready"] if arm.wait_for_ready else []
    return "".join(f"{word} " for word in words)
