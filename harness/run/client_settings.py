"""What the clients of one cell are told: the arm's choices, as the load process understands them."""

from harness.plan.cells import CellPlan
from harness.policies.registry import traits_of
from harness.spec.experiment import Arm
from harness.testbed.base import LiveCell
from lb.policies import ClientRetries, service_config
from lb.settings import ClientSettings


def client_settings(plan: CellPlan, live: LiveCell, epoch_ns: int) -> ClientSettings:
    """Settings of the clients that call the parts of `live`; instants count from `epoch_ns`."""
    arm, work = plan.arm, plan.workload
    echo_header = traits_of(arm.route, arm.policy, arm.options).echo_header
    return ClientSettings(
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
        echo_header=echo_header if arm.cookie_jar else None,
        own_source_address=arm.source_addresses == "own",
        compression=arm.compression,
        keepalive_ms=arm.keepalive_ms,
        message_gap_ms=work.message_gap_ms,
        await_each_answer=arm.await_each_answer,
        dns_interval_ms=arm.dns_interval_ms,
        reconnect_backoff_ms=arm.reconnect_backoff_ms,
        payload_bytes=work.payload_bytes,
        key_prefix=live.key_prefix,
        tls=live.tls,
        ca_certificates=live.authority,
    )


def _service_config(arm: Arm) -> str | None:
    """gRPC's own balancing on a direct route; behind a proxy only what was asked for besides."""
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
    if retries is None and not arm.wait_for_ready:
        return None
    return service_config("pick_first", wait_for_ready=arm.wait_for_ready, retries=retries)
