"""Opens and connects gRPC channels as the client settings say."""

import asyncio
import os
from contextlib import suppress
from typing import Any

import grpc

from lb.settings import ClientSettings
from lb.target import resolver_target, xds_bootstrap

COMPRESSION = {"gzip": grpc.Compression.Gzip, "deflate": grpc.Compression.Deflate}
CONNECT_TIMEOUT_S = 2.0
FIRST_BACKOFF_MS = 1000  # gRPC's default
IDLE_TIMEOUT_S = 0.2  # a channel that is idle for this long connects only when a call needs it
TRACE_BYTES = 256 * 1024
# gRPC reads it when the process begins to follow a control plane. A process can follow one at a time.
BOOTSTRAP = "GRPC_XDS_BOOTSTRAP_CONFIG"
READY, IDLE = grpc.ChannelConnectivity.READY, grpc.ChannelConnectivity.IDLE


def open_channel(settings: ClientSettings, library: Any = grpc.aio) -> Any:
    """Return a new channel with these settings, of grpc.aio, or of `grpc`: one that blocks.

    Call it for grpc.aio on the event loop that uses the channel.
    Raises ValueError for a target that gRPC cannot resolve.
    """
    target, arguments = resolver_target(settings.target), _arguments(settings)
    compression = COMPRESSION.get(settings.compression)
    if bootstrap := xds_bootstrap(settings.target):
        os.environ[BOOTSTRAP] = bootstrap
    if not settings.tls:
        return library.insecure_channel(target, options=arguments, compression=compression)
    trusted = None if settings.ca_certificates is None else settings.ca_certificates.encode("ascii")
    credentials = grpc.ssl_channel_credentials(trusted)
    return library.secure_channel(target, credentials, options=arguments, compression=compression)


def _arguments(settings: ClientSettings) -> list[tuple[str, object]]:
    arguments: list[tuple[str, object]] = [
        # By default channels with equal arguments share subchannels: ten clients would share one connection.
        ("grpc.use_local_subchannel_pool", int(not settings.share_connections)),
        # A web proxy from the environment would stand between client and replica.
        ("grpc.enable_http_proxy", 0),
        # load.channelz reads the policy from the trace. With gRPC's 4 kB a channel to 32 addresses drops it.
        ("grpc.max_channel_trace_event_memory_per_node", TRACE_BYTES),
    ]
    if settings.service_config is not None:
        arguments.append(("grpc.service_config", settings.service_config))
    if settings.dns_interval_ms is not None:
        arguments.append(("grpc.dns_min_time_between_resolutions_ms", round(settings.dns_interval_ms)))
    if settings.reconnect_backoff_ms is not None:
        longest_ms = round(settings.reconnect_backoff_ms)
        arguments += [
            ("grpc.initial_reconnect_backoff_ms", min(longest_ms, FIRST_BACKOFF_MS)),
            ("grpc.max_reconnect_backoff_ms", longest_ms),
        ]
    if settings.keepalive_ms is not None:
        arguments += [
            ("grpc.keepalive_time_ms", round(settings.keepalive_ms)),
            ("grpc.keepalive_permit_without_calls", 1),
            # By default gRPC stops after two pings without data between them; 0 removes that limit.
            ("grpc.http2.max_pings_without_data", 0),
        ]
    return arguments


async def connect(channel: grpc.aio.Channel, target: str) -> None:
    """Connect the channel, so that no call's latency includes the handshake.

    Returns after CONNECT_TIMEOUT_S without a connection: calls will then report the error. Returns after
    IDLE_TIMEOUT_S with a policy that connects only when a call picks an address (ring_hash). Where a control
    plane gives the addresses, the channel is idle until it knows them: that does not count.
    """
    started = xds_bootstrap(target) is None
    with suppress(TimeoutError):
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            while (state := channel.get_state(try_to_connect=True)) is not READY:
                async with asyncio.timeout(IDLE_TIMEOUT_S if started and state is IDLE else None):
                    await channel.wait_for_state_change(state)
                started = True
