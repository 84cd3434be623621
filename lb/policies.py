"""POLICIES: how a gRPC client picks a replica by itself, as gRPC service configs.

Source: the gRPC service config (`loadBalancingConfig`); what C-core 1.85 has of it was tried. A config
without a policy that C-core knows would leave the channel dead (INVALID_ARGUMENT on every call).
"""

import json
from dataclasses import dataclass


@dataclass(frozen=True)
class ClientPolicy:
    """One client-side policy: its service config entry and what it means."""

    load_balancing_config: dict[str, dict[str, object]]
    meaning: str

    def service_config(self) -> str:
        """The JSON for the channel argument `grpc.service_config`."""
        return json.dumps({"loadBalancingConfig": [self.load_balancing_config]})


POLICIES: dict[str, ClientPolicy] = {
    "pick_first": ClientPolicy(
        {"pick_first": {}},
        "connect to the first address that answers and send every call there (gRPC's default)",
    ),
    "round_robin": ClientPolicy(
        {"round_robin": {}},
        "connect to every address and take them in turn, call by call",
    ),
}
