"""`python -m simulator.compile_now`: compiles the simulator, unless another process is at it.

It takes about 30 s of one core.
"""

import fcntl

import numpy as np

from simulator.compiled import cache_folder
from simulator.simulation import simulate
from simulator.system import Calls, Policy, Replica, System


def simulate_three_calls(policy: Policy) -> None:
    """Simulate three calls on one replica: that compiles every kernel of a simulation, or loads it."""
    number = np.arange(3, dtype=np.int64)
    calls = Calls(
        *(number, number, number),
        measured=np.ones(3, bool),
        planned_ns=number,
        work_ns=number,
        key=number.astype(np.uint64),
    )
    simulate(System((Replica("127.0.0.1:1", slots=1),), policy), calls)


def main() -> None:
    """Compile every kernel of a simulation and keep the machine code."""
    with (cache_folder() / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        simulate_three_calls(Policy("proxy", "maglev", table_size=13))


if __name__ == "__main__":
    main()
