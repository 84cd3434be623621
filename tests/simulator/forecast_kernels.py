"""Compiles the planner's kernels when tests are collected: see tests/simulator/kernels.py."""

import fcntl

from harness.plan.fleet_forecast import RULES, FleetForecast, simulate
from harness.plan.question import FleetQuestion
from simulator.compiled import cache_folder

with (cache_folder() / "lock").open("w") as lock:
    fcntl.flock(lock, fcntl.LOCK_EX)
    forecast = FleetForecast(FleetQuestion(2, 10, 0, 2, 40, seconds=1))
    for rule in RULES:
        simulate(forecast.question, rule, forecast.draws[0])
