"""One channel: where it goes, how it balances, what it shares, compresses and keeps alive."""

import asyncio
from contextlib import suppress

import grpc

from lb.settings import ClientSettings
from lb.target import resolver_target

COMPRESSION = {"gzip": grpc.Compression.Gzip, "deflate": grpc.Compression.Deflate}
CONNECT_TIMEOUT_S = 2.0
FIRST_BACKOFF_MS = 1000  # gRPC's own
LAZY_AFTER_S = 0.2
TRACE_BYTES = 256 * 1024
READY, IDLE = grpc.ChannelConnectivity.READY, grpc.ChannelConnectivity.IDLE


def open_channel(settings: ClientSettings) -> grpc.aio.Channel:
    """A grpc.aio channel as `settings` say; to be opened on the event loop that uses it.

    Raises ValueError for a target that gRPC cannot resolve.
    """
    target, arguments = resolver_target(settings.target), _arguments(settings)
    compression = COMPRESSION.get(settings.compression)
    if not settings.tls:
        return grpc.aio.insecure_channel(target, options=arguments, compression=compression)
    authority = None if settings.authority is None else settings.authority.encode("ascii")
    trusted = grpc.ssl_channel_credentials(authority)
    return grpc.aio.secure_channel(target, trusted, options=arguments, compression=compression)


def _arguments(settings: ClientSettings) -> list[tuple[str, object]]:
    arguments: list[tuple[str, object]] = [
        # Channels with equal arguments share subchannels, ten clients one TCP connection, unless told not to.
        ("grpc.use_local_subchannel_pool", int(not settings.share_connections)),
        # A proxy named in the environment is meant for the web, and would stand between client and replica.
        ("grpc.enable_http_proxy", 0),
        # With gRPC's own 4 kB a channel to 32 addresses forgets which policy it has: load.channelz asks.
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
            # gRPC sends two pings without data between them and then falls silent; 0 lifts that.
            ("grpc.http2.max_pings_without_data", 0),
        ]
    return arguments


async def connect(channel: grpc.aio.Channel) -> None:
    """Connect before the first call is due, so that no call's latency holds the handshake.

    Gives up after CONNECT_TIMEOUT_S: whether anybody answers is for the calls to find out. Returns sooner
    where the policy connects only when a call picks an address (ring_hash).
    """
    with suppress(TimeoutError):
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            while (state := channel.get_state(try_to_connect=True)) is not READY:
                async with asyncio.timeout(LAZY_AFTER_S if state is IDLE else None):
                    await channel.wait_for_state_change(state)
