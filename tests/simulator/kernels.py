"""Compiles the simulator's kernels when tests are collected: that takes longer than a test may.

Import this in a test module that simulates. Of several processes one compiles, and the others wait for it.
"""

import fcntl
from dataclasses import replace

from simulator.compiled import cache_folder
from simulator.fast import Fleet, simulate_fast
from simulator.simulation import simulate
from simulator.system import Policy
from tests.simulator.loads import fleet, poisson

_FAST = Fleet(clients=2, replicas=2, requests=9, rate_per_s=9, mean_service_s=0.1, rule="least_request")

with (cache_folder() / "lock").open("w") as lock:
    fcntl.flock(lock, fcntl.LOCK_EX)
    simulate(fleet(2, Policy("proxy", "maglev", table_size=13)), poisson(3, 10, 1))
    simulate_fast(replace(_FAST, sticky=True))
