"""What `up` prints: addresses and the lines to call them by hand, as text or as one JSON object."""

import json
from pathlib import Path
from typing import Any

from harness.plan.cells import CellPlan
from harness.policies.policy import Traits
from harness.policies.registry import traits_of
from harness.spec.experiment import Experiment
from harness.testbed.base import LiveCell

PROTO = "services/video_service.proto"
SERVICE = "video_service.VideoService"
VIDEO = '{"id":"1", "title": "Sample Video", "author": "John Doe", "url": "https://example.com/sample.mp4"}'
ONE_ID = '{"id": "sample-1"}'  # every replica has this video


def json_text(experiment: Experiment, plan: CellPlan, live: LiveCell, authority: Path) -> str:
    """Return one JSON object in one line, for programs. Keys: docs/clients.md.

    Envoy's admin interface is not in it: no client needs it, and it can stop Envoy.
    """
    traits = _traits(plan)
    envoy = {"address": live.envoy_address, "tls_address": live.envoy_address} if live.envoy_address else None
    found: dict[str, Any] = {
        **{"experiment": experiment.name, "arm": plan.arm_name},
        **{"route": plan.arm.route, "policy": plan.arm.policy, "target": live.target, "envoy": envoy},
        "replicas": {
            name: {"address": address, "tls_address": live.replicas_tls[name]}
            for name, address in live.replicas.items()
        },
        **{"cookie": traits.cookie, "echo_header": traits.echo_header, "ca_certificate": str(authority)},
    }
    return json.dumps(found)


def guide(experiment: Experiment, plan: CellPlan, live: LiveCell, authority: Path) -> str:
    """Return the text for people. Its last line begins with "Ctrl-C"."""
    name, first = next(iter(live.replicas.items()))
    target, tls_target = live.envoy_address or first, live.envoy_address or live.replicas_tls[name]
    lines = [f"{experiment.name}, arm {plan.arm_name}:"]
    lines += [
        f"  {node:<10} {live.proxies[node]}   (TLS the same; admin http://{admin.address})"
        for node, admin in live.admins.items()
    ]
    lines += [
        f"  {name:<10} {address}   (TLS {live.replicas_tls[name]})" for name, address in live.replicas.items()
    ]
    lines += [
        f"CA certificate for TLS: {authority}",
        "To see which replica answers:",
        f"  python -m lb.driver {_driver_options(plan)}-n 100 {live.target}",
        "Calls by hand, with server reflection or the proto file, in clear text or with TLS:",
        f"  grpcurl -plaintext {target} list",
        f"  grpcurl -proto {PROTO} -plaintext -d '{VIDEO}' {target} {SERVICE}/AddVideo",
        f"  grpcurl -proto {PROTO} -plaintext {target} {SERVICE}/ListVideos",
        f"  grpcurl -proto {PROTO} -insecure -vv -d @ {tls_target} {SERVICE}/GetVideo",
        f"    and type ids: {ONE_ID}",
        *(session_lines(_traits(plan), target) if plan.arm.route == "envoy" else []),
        "For the commands of docs/by-hand.md and docs/clients.md:",
        f"  export SERVER={target} TLS_SERVER={tls_target}",
        "Ctrl-C stops everything.",
    ]
    return "\n".join(lines)


def session_lines(traits: Traits, target: str) -> list[str]:
    """Return lines for a shell that get what names a session, and send it back with grpcurl.

    An empty list: the policy knows no sessions, or only those of a connection or an address.
    """
    # With the proto file one call is one request: without it, a request for reflection goes before each.
    call = f"grpcurl -plaintext -proto {PROTO} -d '{ONE_ID}'"
    method = f"{target} {SERVICE}/GetVideos"
    if traits.cookie:
        what, header, value = "cookies", "cookie", rf"s/^set-cookie: \({traits.cookie}=[^;]*\).*/\1/p"
    elif traits.echo_header:
        what, header, value = "headers", traits.echo_header, f"s/^{traits.echo_header}: //p"
    elif traits.hash_key == "header":
        return ["A call names its session itself:", f"  {call} -H 'x-lab-session: me' {method}"]
    else:
        return []
    return [
        f"grpcurl keeps no {what}. These lines get the {header} and send it back: one replica answers.",
        f"  SESSION=$({call} -v {method} | sed -n '{value}')",
        f'  {call} -H "{header}: $SESSION" {method}',
    ]


def _traits(plan: CellPlan) -> Traits:
    return traits_of(plan.arm.route, plan.arm.policy, plan.arm.options)


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
