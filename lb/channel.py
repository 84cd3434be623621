"""One channel: where it goes, how it balances, and whether it keeps cookies."""

import ipaddress
import re

import grpc

from lb.cookies import CookieJar, cookie_interceptors

HOST = re.compile(r"[\w.-]+|\[[0-9A-Fa-f:.]+\]", re.ASCII)  # a name, or an IPv6 address in brackets


def open_channel(
    target: str, service_config: str | None = None, jar: CookieJar | None = None
) -> grpc.aio.Channel:
    """A grpc.aio channel with TCP connections of its own; to be opened on the event loop that uses it.

    `target`: "host:port" or several, comma separated; `service_config`: gRPC's, as JSON, None for gRPC's
    default; `jar`: where cookies are kept, None for none.
    """
    options: list[tuple[str, object]] = [
        # Channels with equal arguments would share subchannels: ten clients on one TCP connection.
        ("grpc.use_local_subchannel_pool", 1),
        # A proxy named in the environment is meant for the web, and would stand between client and replica.
        ("grpc.enable_http_proxy", 0),
    ]
    if service_config is not None:
        options.append(("grpc.service_config", service_config))
    interceptors = cookie_interceptors(jar) if jar is not None else None
    return grpc.aio.insecure_channel(resolver_target(target), options=options, interceptors=interceptors)


def resolver_target(target: str) -> str:
    """`target` in gRPC's naming: `ipv4:` for lists of addresses, `dns:///` for one host name.

    Raises ValueError for anything else: gRPC resolves no list of names.
    """
    parts = [part.strip() for part in target.split(",")]
    hosts = [_split(part) for part in parts]
    if all(_is_ipv4(host) for host in hosts):
        return "ipv4:" + ",".join(parts)
    if len(parts) == 1:
        return "dns:///" + parts[0]
    raise ValueError(f"{target!r}: several addresses must all be IPv4 (a.b.c.d:port)")


def _split(address: str) -> str:
    host, colon, port = address.rpartition(":")
    whole = colon and HOST.fullmatch(host) and port.isascii() and port.isdigit()
    if not whole or not 0 < int(port) < 65536:
        raise ValueError(f"{address!r} is not HOST:PORT")
    return host


def _is_ipv4(host: str) -> bool:
    try:
        ipaddress.IPv4Address(host)
    except ValueError:
        return False
    return True
