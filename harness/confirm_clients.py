"""Do the clients balance as planned? What gRPC says of its own channels, compared with the arm."""

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

from harness.cells import CellPlan
from harness.errors import LabError
from lb.policies import POLICIES
from load.order import CHANNELS_FILE


def confirm_clients(plan: CellPlan, folder: Path) -> None:
    """Compare what the load processes read back from gRPC (after connecting, before the first call).

    Connections are a process's own, and so are the numbers of its subchannels.
    Raises LabError naming the first client whose policy or connections are not the planned ones.
    """
    arm, log = plan.arm, folder / "logs" / "load.log"
    policy = POLICIES[arm.policy if arm.route == "direct" else "pick_first"].grpc_name
    seen_by: dict[str, set[int]] = defaultdict(set)
    for client in _read(folder / CHANNELS_FILE):
        seen = seen_by[client.get("worker", "")]
        name, subchannels = f"client {client['client']}", set(client["subchannels"])
        if client["policy"] not in (policy, ""):  # "": not connected yet, which its calls will show
            raise LabError(f"{name} balances by {client['policy']}, planned: {policy}; see {log}")
        if arm.connections != "shared" and seen & subchannels:
            raise LabError(f"{name} shares connections with another client, planned: its own; see {log}")
        if arm.connections == "shared" and seen and subchannels and not seen & subchannels:
            raise LabError(f"{name} has connections of its own, planned: shared ones; see {log}")
        seen |= subchannels


def _read(path: Path) -> list[dict[str, Any]]:
    return list(json.loads(path.read_text()))
