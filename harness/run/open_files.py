"""How many files each process of a run has open at most, and whether this system allows as many.

A connection is an open file, too. Where they run out, all calls fail with UNAVAILABLE and nobody says why.
"""

import resource
from collections.abc import Sequence

from harness.errors import UserError
from harness.events.schedule import new_nodes, new_replicas
from harness.plan.cells import CellPlan
from harness.plan.run_options import LoadOptions
from harness.policies.registry import traits_of
from lb.plan import split_clients

# Open files of a process without connections (/proc/PID/fd), and some that are open for a moment only.
SPARE = 16
HARNESS, LOAD, LOAD_WORKER, REPLICA, ENVOY = 10 + SPARE, 19 + SPARE, 28 + SPARE, 21 + SPARE, 26 + SPARE
PER_PART = 3  # of the harness: the reserved port of a replica or Envoy, a call to it, its log
PER_PROXY_WORKER = 6  # of Envoy: pipes and timers of a thread


def open_files_needed(plan: CellPlan, replicas: int, load: LoadOptions, testbed: str) -> dict[str, int]:
    """Return process -> how many files it has open at most in the cell. `replicas`: at the start of the cell.

    Only processes that have the limit of this process. Containers have limits of their own, and so has
    what is not the lab's; a simulated cell has no processes.

    harness: 26 + 3 x (replicas + the proxy's nodes). load: 35 + its connections; several load processes: 44 +
    those of the clients of one. A client has a connection for each of its channels, to one address: Envoy's,
    or the one that pick_first takes; other policies of direct clients connect to every replica, and clients
    that spread over a proxy's nodes to every node. replica: 37 + for each node a connection of each thread of
    Envoy and one of its health checks, or all that clients make. envoy: 36 + 6 for each thread + the clients'
    connections + one to each replica from each thread and for health checks; in layer 4 one for each of the
    clients' connections instead.
    """
    arm = plan.arm
    replicas += new_replicas(plan.events)
    nodes = arm.proxies + new_nodes(one.event for one in plan.events)
    needed = {"the harness": HARNESS + PER_PART * (replicas + nodes)}
    if testbed in ("docker", "simulated"):
        return needed
    channels = _channels(plan, load)
    to_all = not arm.has_proxy and _policy(plan) != "pick_first"
    addresses = replicas if to_all else nodes if arm.proxy_use == "spread" else 1
    several = load.processes + load.expect_workers > 1
    needed["the load"] = (LOAD_WORKER if several else LOAD) + max(channels) * addresses
    if testbed == "external":
        return needed
    accepted = sum(channels)
    if not arm.has_proxy:
        return needed | {"a replica": REPLICA + accepted}
    threads = arm.proxy_workers
    upstream = accepted if arm.route == "envoy-l4" else threads * replicas
    per_replica = accepted if arm.route == "envoy-l4" else threads
    return needed | {
        "a replica": REPLICA + nodes * (per_replica + 1),
        "Envoy": ENVOY + PER_PROXY_WORKER * threads + accepted + upstream + replicas,
    }


def _channels(plan: CellPlan, load: LoadOptions) -> list[int]:
    """Return how many channels with connections of their own each load process opens."""
    if plan.arm.connections == "shared":
        return [1]
    shares = split_clients(plan.load, load.processes + load.expect_workers)
    each = plan.arm.connections if isinstance(plan.arm.connections, int) else 1
    return [len(share) * each for share in shares]


def _policy(plan: CellPlan) -> str:
    return traits_of(plan.arm.route, plan.arm.policy, plan.arm.options).channel_policy


def confirm_open_files(
    plans: Sequence[CellPlan], replicas: int, load: LoadOptions, testbed: str = "local"
) -> None:
    """Raise UserError if a process would need more open files than this system allows.

    Raises the soft limit of this process to the hard one where it needs that. The fork servers do the same
    for all other processes.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed: dict[str, tuple[int, str]] = {}
    for plan in plans:
        for process, files in open_files_needed(plan, replicas, load, testbed).items():
            needed[process] = max(needed.get(process, (0, "")), (files, plan.arm_name))
    process, (files, arm) = max(needed.items(), key=lambda item: item[1])
    if hard != resource.RLIM_INFINITY and files > hard:
        raise UserError(
            f"a process may have {hard} open files here (ulimit -Hn), and {process} needs {files} in arm "
            f"{arm}: every connection is one; raise the limit, or take fewer clients (--clients) or replicas "
            "(--replicas)"
        )
    if soft != resource.RLIM_INFINITY and needed["the harness"][0] > soft:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
