"""The address that a client says it has, where each client is to have one of its own."""


def source_address(client: int) -> str:
    """Return an address 10.x.y.z for the client. Only clients 2**24 - 2 apart get the same one."""
    number = client % (2**24 - 2) + 1
    return f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}"
