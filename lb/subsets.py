"""Subsets: to which of the replicas a client connects, if it connects to some of them only.

Source: "Site Reliability Engineering" (O'Reilly 2016), chapter 20, "Load Balancing in the Datacenter":
"A Subset Selection Algorithm: Random Subsetting" and "Deterministic Subsetting".
"""

import random
from collections.abc import Sequence
from dataclasses import replace

from lb.settings import ClientSettings, SubsetBy


def subset_of(addresses: Sequence[str], client: int, size: int, by: SubsetBy, draw: str) -> list[str]:
    """Return the addresses of a client's subset, (size,). `draw`: what is drawn follows from it.

    Deterministic: clients are dealt out in rounds of len(addresses) // size. Each round shuffles the
    addresses and cuts them into subsets, one for each of its clients. So an address serves one client of each
    round. In a round, addresses that fill no whole subset serve nobody.
    Raises ValueError unless 1 <= size <= len(addresses).
    """
    if not 1 <= size <= len(addresses):
        raise ValueError(f"a subset of {size} is not possible, expected 1 to {len(addresses)} replicas")
    if by == "random":
        return random.Random(f"subset/{draw}/client {client}").sample(list(addresses), size)
    turn, place = divmod(client, len(addresses) // size)
    shuffled = list(addresses)
    random.Random(f"subset/{draw}/round {turn}").shuffle(shuffled)
    return shuffled[place * size : (place + 1) * size]


def settings_of_client(settings: ClientSettings, client: int) -> ClientSettings:
    """Return the settings of one client, whose target is its subset; unchanged without subsets."""
    if not settings.subset_size:
        return settings
    addresses = settings.target.split(",")
    own = subset_of(addresses, client, settings.subset_size, settings.subset_by, settings.draw)
    return replace(settings, target=",".join(own))
