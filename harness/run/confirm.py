"""What the clients of a cell are told, and whether the live parts agree with the plan before measuring."""

import json
import time
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc

from harness.errors import LabError, UserError
from harness.events.context import Endpoint
from harness.plan.cells import CellPlan
from harness.policies.registry import traits_of
from harness.proxy.admin import EnvoyAdmin, confirm_configuration, confirm_envoy, confirm_zone_aware
from harness.proxy.render import EnvoyFiles
from harness.spec.experiment import Arm, Experiment
from harness.spec.zones import is_zone_aware
from harness.testbed.base import LiveCell
from lb.policies import ClientRetries, service_config
from lb.settings import ClientSettings
from lb.subsets import settings_of_client
from lb.target import resolver_target
from load.order import CHANNELS_FILE
from services import lab_control_pb2 as lab
from services.lab_control_pb2_grpc import LabControlStub


def client_settings(plan: CellPlan, live: LiveCell, epoch_ns: int) -> ClientSettings:
    """Settings of the clients that call the parts of `live`; instants count from `epoch_ns`."""
    arm, work = plan.arm, plan.workload
    echo_header = traits_of(arm.route, arm.policy, arm.options).echo_header
    settings = ClientSettings(
        target=live.target,
        service_config=_service_config(arm),
        cookie_jar=plan.cookies,
        await_first_answer=arm.await_first_answer,
        messages_per_stream=work.messages_per_stream,
        deadline_s=work.deadline_ms / 1000,
        epoch_ns=epoch_ns,
        connections=arm.connections if isinstance(arm.connections, int) else 1,
        share_connections=arm.connections == "shared",
        session_lifetime_s=arm.session_lifetime_s,
        lifetimes_vary=arm.session_lifetimes == "exponential",
        echo_header=echo_header if arm.cookie_jar else None,
        own_source_address=arm.source_addresses == "own",
        compression=arm.compression,
        keepalive_ms=arm.keepalive_ms,
        message_gap_ms=work.message_gap_ms,
        await_each_answer=arm.await_each_answer,
        hedge_after_ms=arm.hedging.after_ms if arm.hedging else None,
        hedge_attempts=arm.hedging.attempts if arm.hedging else 2,
        pick=arm.policy if _clients_pick(arm) else "",
        pick_options=arm.options if _clients_pick(arm) else {},
        subset_size=arm.subsetting.size if arm.subsetting else 0,
        subset_by=arm.subsetting.by if arm.subsetting else "deterministic",
        dns_interval_ms=arm.dns_interval_ms,
        reconnect_backoff_ms=arm.reconnect_backoff_ms,
        payload_bytes=work.payload_bytes,
        key_prefix=live.key_prefix,
        tls=live.tls,
        ca_certificates=live.authority,
        trace_prefix=live.trace_prefix,
    )
    if live.service is None:
        return settings
    return replace(
        settings,
        service=live.service.path,
        service_streams=live.service.streams,
        service_requests=live.service.requests,
        replica_key=live.service.replica_key,
    )


def _clients_pick(arm: Arm) -> bool:
    return traits_of(arm.route, arm.policy, arm.options).own_clients


def _service_config(arm: Arm) -> str | None:
    """gRPC's own balancing on a direct route; behind a proxy only what was asked for besides.

    None where a control plane tells the clients.
    """
    if arm.route == "xds":
        return None
    retries = None
    if arm.retries is not None and arm.retries.by == "client":
        retries = ClientRetries(
            arm.retries.attempts, tuple(arm.retries.on), arm.retries.backoff_ms, arm.retries.budget_percent
        )
    if arm.route == "direct":
        return service_config(
            arm.policy,
            arm.options,
            health_check=arm.health_check,
            wait_for_ready=arm.wait_for_ready,
            retries=retries,
        )
    if retries is None and not arm.wait_for_ready and arm.node_policy is None:
        return None
    policy, options = arm.node_policy or ("pick_first", {})
    return service_config(policy, options, wait_for_ready=arm.wait_for_ready, retries=retries)


TIMEOUT_S = 5.0
POLL_S = 0.02
# No try uses a connection of an earlier one.
OPTIONS = [("grpc.enable_http_proxy", 0), ("grpc.use_local_subchannel_pool", 1)]


def confirm_cell(experiment: Experiment, plan: CellPlan, live: LiveCell) -> None:
    """Ask every replica who it is and how it serves, and Envoy what is in force.

    Raises LabError naming the first difference from the plan; UserError where it is the user's replica.
    """
    for name, address in live.controls.items():
        if differs := _difference(experiment, plan, name, address):
            if live.started_by_lab:
                raise LabError(f"{name} at {address} {differs}; see {live.folder / 'logs' / f'{name}.log'}")
            raise UserError(f"--replica {address}: {name} {differs}; start it as the experiment has it")
    if not live.started_by_lab:
        # Replicas that are to be unlike the others are known by their names.
        missing = [name for name in experiment.replicas.different if name not in live.replicas]
        if missing:
            raise UserError(
                f"{missing[0]} is unlike the others in {experiment.name}, and no replica calls itself so; "
                f"there are: {', '.join(live.replicas)}"
            )
        return
    if plan.arm.has_proxy and len(live.admins) != plan.arm.proxies:
        found = f"{len(live.admins)} of {plan.arm.proxies} nodes run" if live.admins else "none runs"
        raise LabError(f"arm {plan.arm_name} was planned through Envoy, but {found}")
    for node, admin in live.admins.items():
        files = EnvoyFiles.of_cell(live.folder, plan.arm, node)
        try:
            confirm_envoy(admin, files.config, live.replicas, plan.arm, node)
            _confirm_zone_aware(plan, live, node)
        except LabError as error:
            raise LabError(str(error) if len(live.admins) == 1 else f"{node}: {error}") from error


def confirm_node(plan: CellPlan, live: LiveCell, node: str, endpoints: Mapping[str, Endpoint]) -> None:
    """Check a node of the proxy that has started while measuring, and store what is in force in it.

    Events may have made replicas unhealthy, so the node need not have all of them healthy. endpoints: replica
    -> its endpoint now. Raises LabError that names the first difference from the plan.
    """
    admin, addresses = live.admins[node], {name: one.address for name, one in endpoints.items()}
    config = EnvoyFiles.of_cell(live.folder, plan.arm, node).config
    try:
        confirm_configuration(admin, config, addresses, plan.arm, node)
        _confirm_zone_aware(plan, live, node)
    except LabError as error:
        raise LabError(f"{node}: {error}") from error
    snapshot_node(admin, live.folder / node, "before")


def _confirm_zone_aware(plan: CellPlan, live: LiveCell, node: str) -> None:
    if is_zone_aware(plan.arm):
        nodes = {name: live.proxies[name] for name in live.admins}
        confirm_zone_aware(live.admins[node], plan.arm, node, nodes)


def snapshot_nodes(live: LiveCell, when: str) -> None:
    """Store the view that each node of the proxy has of its clusters, before or after the load."""
    for node, admin in live.admins.items():
        snapshot_node(admin, live.folder / node, when)


def snapshot_node(admin: EnvoyAdmin, folder: Path, when: str) -> None:
    """Store an Envoy's view of its clusters, before or after its load, and its configuration."""
    (folder / f"clusters.{when}.json").write_text(admin.get("/clusters?format=json"))
    if when == "before":
        (folder / "config_dump.json").write_text(admin.get("/config_dump?include_eds"))


def _difference(experiment: Experiment, plan: CellPlan, name: str, address: str) -> str | None:
    """Return how the replica differs from the planned one, as the rest of a sentence; None if it does not."""
    settings = experiment.replicas.settings_of(name, plan.arm)
    try:
        identity = _identity(address, 0.0 if settings.outage is None else TIMEOUT_S)
    except grpc.RpcError as error:
        return f"does not answer: {error.code().name}"
    if (identity.name, identity.serving) != (name, True):
        return f"calls itself {identity.name}, serving: {identity.serving}"
    if not identity.settings_json:
        return "does not say its settings: it is of another version of the lab"
    differ = _first_difference(json.loads(settings.to_json()), json.loads(identity.settings_json))
    return f"is not the planned replica: {differ}" if differ else None


def _identity(address: str, patience_s: float) -> lab.Identity:
    """Ask a replica who it is, for `patience_s`, because it may be in an outage. Raises RpcError."""
    until_s = time.monotonic() + patience_s
    while True:
        # A channel of its own for each try: after a failure gRPC waits a second before it connects again.
        with grpc.insecure_channel(address, options=OPTIONS) as channel:
            stub = LabControlStub(channel)  # type: ignore[no-untyped-call]
            try:
                identity: lab.Identity = stub.GetIdentity(lab.GetIdentityRequest(), timeout=TIMEOUT_S)
            except grpc.RpcError:
                if time.monotonic() >= until_s:
                    raise
                time.sleep(POLL_S)
            else:
                return identity


def _first_difference(planned: dict[str, Any], live: dict[str, Any], place: str = "") -> str | None:
    """Return the first setting in which two documents differ, with both values; None: they are alike."""
    for key in planned | live:
        one, other = planned.get(key), live.get(key)
        if isinstance(one, dict) and isinstance(other, dict):
            if differ := _first_difference(one, other, f"{place}{key}."):
                return differ
        elif one != other:
            return f"{place}{key} planned {json.dumps(one)}, live {json.dumps(other)}"
    return None


def _channel_policy(arm: Arm) -> str:
    return traits_of(arm.route, arm.policy, arm.options).channel_policy


def confirm_clients(plan: CellPlan, live: LiveCell) -> None:
    """Compare what the load processes read back from gRPC after connecting, before the first call.

    Each process numbers its own subchannels. Raises LabError naming the first client whose policy or
    connections are not the planned ones.
    """
    arm, folder = plan.arm, live.folder
    log = folder / "logs" / "load.log"
    policy = arm.node_policy[0] if arm.node_policy else _channel_policy(arm)
    seen_by: dict[str, set[int]] = defaultdict(set)
    clients = json.loads((folder / CHANNELS_FILE).read_text())
    if arm.route == "xds":
        from harness.proxy.xds import XdsFiles, confirm_xds

        confirm_xds(arm, XdsFiles(folder / "xds"), [one["xds"] for one in clients if one["xds"]])
    if any(client["subchannels"] for client in clients):  # users of a Locust file may connect later
        _confirm_encryption(arm, live)
    if arm.subsetting is not None:
        _confirm_subsets(plan, live, clients)
    if _clients_pick(arm):
        _confirm_channels(live, clients)
    for client in clients:
        seen = seen_by[client.get("worker", "")]
        name, subchannels = f"client {client['client']}", set(client["subchannels"])
        if client["policy"] not in (policy, ""):  # "": not connected yet, which its calls will show
            raise LabError(f"{name} balances by {client['policy']}, planned: {policy}; see {log}")
        if arm.connections != "shared" and seen & subchannels:
            raise LabError(f"{name} shares connections with another client, planned: its own; see {log}")
        if arm.connections == "shared" and seen and subchannels and not seen & subchannels:
            raise LabError(f"{name} has connections of its own, planned: shared ones; see {log}")
        seen |= subchannels


def _confirm_encryption(arm: Arm, live: LiveCell) -> None:
    """Check that the clients of the lab's proxy use TLS, or that they do not, by the handshakes so far."""
    made = sum(admin.handshakes() for admin in live.admins.values())
    if live.admins and (made > 0) != (arm.tls is not None):
        planned = "clear text" if arm.tls is None else f"TLS ({arm.tls})"
        raise LabError(f"clients have made {made} TLS handshakes with Envoy, planned: {planned}")


def _confirm_subsets(plan: CellPlan, live: LiveCell, clients: Sequence[dict[str, Any]]) -> None:
    """Compare the addresses to which the clients' channels connect with the planned subsets.

    All together: gRPC does not number the channels in the order in which clients opened them.
    """
    settings = replace(client_settings(plan, live, 0), draw=plan.load.draw)
    planned = Counter(resolver_target(settings_of_client(settings, one["client"]).target) for one in clients)
    found = Counter(target for one in clients for target in one["targets"])
    if missing := planned - found:
        other = next(iter(found - planned), "nothing else")
        where = live.folder / "logs" / "load.log"
        raise LabError(
            f"no client connects to the subset {next(iter(missing))}, but one to {other}; see {where}"
        )


def _confirm_channels(live: LiveCell, clients: Sequence[dict[str, Any]]) -> None:
    """Check that clients have as many channels as there are replicas, and that these lead to all of them.

    All together, as in `_confirm_subsets`. Clients that pick replicas themselves need one channel for each.
    """
    planned = {resolver_target(address) for address in live.target.split(",")}
    found = {target for one in clients for target in one["targets"]}
    where = live.folder / "logs" / "load.log"
    if found != planned:
        other = ", ".join(sorted(found ^ planned))
        raise LabError(f"clients have channels to all replicas, was planned; not so: {other}; see {where}")
    for one in clients:
        if one["channels"] != len(planned):
            raise LabError(
                f"client {one['client']} has {one['channels']} channels, planned: {len(planned)}; see {where}"
            )
