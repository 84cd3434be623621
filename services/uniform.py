"""Numbers that belong to names: the same everywhere, and as good as random."""

from hashlib import sha256

BITS = 52  # one less than a float has: (n + 1/2) / 2**52 is exact, and never 0 or 1
SCALE = 2.0**-BITS


def uniform(name: str) -> float:
    """Return the number in (0, 1) that belongs to a name: the same everywhere, and as good as random.

    Numbers of different names are independent: SHA-256 is a pseudorandom function as far as anybody knows.
    """
    return (int.from_bytes(sha256(name.encode()).digest()[:8], "big") >> 64 - BITS) * SCALE + SCALE / 2
