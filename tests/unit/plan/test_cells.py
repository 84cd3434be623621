"""The cells of a run and the order file that each load process gets."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.plan.cells import plan_cells, planned_in_window
from harness.spec.experiment import Arm, Experiment, load_experiment
from harness.spec.model import RepeatRange
from lb.settings import ClientSettings
from load.order import LoadOrder

BASE = load_experiment("sticky")
ARMS = ["sticky", "no_jar", "proxy", "client", "pick_first"]


def experiment(repeats: int = 3, seed: int = 1, arms: int = 5) -> Experiment:
    every = {
        "sticky": Arm(route="envoy", policy="sticky"),
        "no_jar": Arm(route="envoy", policy="sticky", cookie_jar=False),
        "proxy": Arm(route="envoy", policy="round_robin"),
        "client": Arm(route="direct", policy="round_robin"),
        "pick_first": Arm(route="direct", policy="pick_first"),
    }
    some = {name: every[name] for name in ARMS[:arms]}
    return BASE.model_copy(
        update={"arms": some, "repeats": RepeatRange(min=repeats, max=repeats), "seed": seed}
    )


@given(repeats=st.integers(1, 20), seed=st.integers(0, 2**31 - 1), arms=st.integers(1, 5))
@settings(deadline=None)
def test_each_repeat_has_every_arm_once_and_repeats_follow_one_another(
    repeats: int, seed: int, arms: int
) -> None:
    plans = plan_cells(experiment(repeats, seed, arms))
    assert Counter((plan.arm_name, plan.repeat) for plan in plans) == Counter(
        (name, repeat) for name in ARMS[:arms] for repeat in range(1, repeats + 1)
    )
    assert [plan.repeat for plan in plans] == sorted(plan.repeat for plan in plans)
    assert [plan.order for plan in plans] == list(range(len(plans)))


def test_the_seed_decides_the_order_of_the_arms() -> None:
    def orders(seed: int) -> list[str]:
        return [plan.arm_name for plan in plan_cells(experiment(repeats=10, seed=seed))]

    assert orders(1) == orders(1)
    assert orders(1) != orders(2)
    first_five, next_five = orders(1)[:5], orders(1)[5:10]
    assert first_five != next_five, "each repeat shuffles the arms"


def test_all_arms_of_a_repeat_get_the_same_arrivals() -> None:
    loads = {plan.repeat: set[str]() for plan in plan_cells(experiment())}
    for plan in plan_cells(experiment()):
        loads[plan.repeat].add(repr(plan.load))
    assert [len(same) for same in loads.values()] == [1, 1, 1]
    assert len(set.union(*loads.values())) == 3


def test_clients_keep_cookies_if_the_arm_has_a_jar_and_the_policy_sets_cookies() -> None:
    cookies = {plan.arm_name: plan.cookies for plan in plan_cells(experiment(repeats=1))}
    assert cookies == {
        "sticky": True,
        "no_jar": False,
        "proxy": False,
        "client": False,
        "pick_first": False,
    }


def test_a_closed_loop_has_no_planned_number_of_requests() -> None:
    plan = plan_cells(BASE)[0]
    assert planned_in_window(plan) > 0
    closed = replace(plan.load, rate_per_s=None, think_time_ms=5.0)
    assert planned_in_window(replace(plan, load=closed)) == 0


def test_an_arm_with_its_own_workload_has_its_own_load() -> None:
    few = Arm(route="envoy", policy="sticky", clients=3, rate_per_s=50.0, skew=0.0)
    base = BASE.model_copy(update={"arms": {"few": few, **BASE.arms}, "repeats": RepeatRange(min=1, max=1)})
    plans = {plan.arm_name: plan for plan in plan_cells(base)}
    assert (plans["few"].load.clients, plans["few"].load.rate_per_s, plans["few"].load.skew) == (3, 50.0, 0.0)
    assert plans["sticky"].load.clients == plans["round_robin"].load.clients == BASE.workload.clients
    assert planned_in_window(plans["few"]) < planned_in_window(plans["sticky"]) / 4


def test_a_sweep_has_a_cell_for_each_value() -> None:
    swept = Arm(route="envoy", policy="sticky", sweep={"clients": [4, 40]})
    base = BASE.model_copy(update={"arms": {"sticky": swept}, "repeats": RepeatRange(min=2, max=2)})
    cells = Counter((plan.arm_name, plan.load.clients) for plan in plan_cells(base))
    assert cells == {("sticky_4", 4): 2, ("sticky_40", 40): 2}


@pytest.mark.parametrize("web_port", [None, 8089])
@pytest.mark.parametrize("policy", [None, "round_robin"])
@pytest.mark.parametrize("secret_file", [None, Path("/a/secret")])
def test_an_order_file_reads_back_unchanged(
    web_port: int | None, policy: str | None, secret_file: Path | None, tmp_path: Path
) -> None:
    settings = ClientSettings("127.0.0.1:1,127.0.0.1:2", policy, True, False, 3, 0.25, 123456789)
    order = LoadOrder(
        plan_cells(BASE)[0].load, settings, 0.5, 2.0, tmp_path, web_port, secret_file=secret_file
    )
    order.write(tmp_path / "order.json")
    assert LoadOrder.read(tmp_path / "order.json") == order
