"""Targets of calls: HOST:PORT as users write them, and in gRPC's name syntax."""

import ipaddress
import json
import re

HOST = re.compile(r"[\w.-]+|\[[0-9A-Fa-f:.]+\]", re.ASCII)  # a name, or an IPv6 address in brackets
DNS = "dns://"  # start of a target that names its name server: dns://NAME_SERVER:PORT/NAME:PORT
XDS = "xds://"  # start of a target that names its control plane: xds://CONTROL_PLANE:PORT/NAME


def resolver_target(target: str) -> str:
    """Return `target` in gRPC's name syntax: `ipv4:` for a list of addresses, `dns:///` for one host name.

    dns://NAME_SERVER:PORT/NAME:PORT is returned unchanged: gRPC asks that name server for the addresses.
    xds://CONTROL_PLANE:PORT/NAME becomes xds:///NAME: gRPC asks the control plane of `xds_bootstrap`.
    Raises ValueError for anything else. gRPC cannot resolve a list of names.
    """
    if target.startswith(XDS):
        split_address(_control_plane(target))
        if not (name := target.removeprefix(XDS).partition("/")[2]):
            raise ValueError(f"{target!r} is not {XDS}HOST:PORT/NAME")
        return f"xds:///{name}"
    if target.startswith(DNS):
        name_server, _, name = target.removeprefix(DNS).partition("/")
        for address in filter(None, (name_server, name or target)):
            split_address(address)
        return target
    parts = [part.strip() for part in target.split(",")]
    hosts = [split_address(part)[0] for part in parts]
    if all(_is_ipv4(host) for host in hosts):
        return "ipv4:" + ",".join(parts)
    if len(parts) == 1:
        return "dns:///" + parts[0]
    raise ValueError(f"{target!r}: several addresses must all be IPv4 (a.b.c.d:port)")


def xds_bootstrap(target: str) -> str | None:
    """Return how gRPC finds the control plane of `target`, as the JSON of its bootstrap; None: there is none.

    Source: gRFC A27. The lab's control plane speaks clear text.
    """
    if not target.startswith(XDS):
        return None
    server = {
        "server_uri": _control_plane(target),
        "channel_creds": [{"type": "insecure"}],
        "server_features": ["xds_v3"],
    }
    return json.dumps({"xds_servers": [server], "node": {"id": "lb-lab"}})


def _control_plane(target: str) -> str:
    return target.removeprefix(XDS).partition("/")[0]


def split_address(address: str) -> tuple[str, int]:
    """Return host and port of HOST:PORT. Raises ValueError for anything else."""
    host, colon, port = address.rpartition(":")
    whole = colon and HOST.fullmatch(host) and port.isascii() and port.isdigit()
    if not whole or not 0 < int(port) < 65536:
        raise ValueError(f"{address!r} is not HOST:PORT")
    return host, int(port)


def _is_ipv4(host: str) -> bool:
    try:
        ipaddress.IPv4Address(host)
    except ValueError:
        return False
    return True
