"""Clients that pick for themselves: two choices, and probing, held against the modules of real clients."""

import random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tests.simulator.kernels  # noqa: F401
from lb.policies import ProbingOptions
from lb.probing import RECENT, ProbePool
from services import latency_estimate
from simulator.probing import expected_latency_ns, keep, remove_one, take
from simulator.simulation import new_state, simulate
from simulator.state import NONE, RECENT_ATTEMPTS, RECENT_LOADS, State
from simulator.system import Policy, Probes
from tests.simulator.loads import MS, fleet, poisson
from tests.unit.thorough import examples

CALLS = 4_000
# An answer is used once, or once more than there are answers: whole numbers, so that nothing is drawn.
OPTIONS = [
    {"probes_per_request": 20, "removed_per_request": 0},
    {"probes_per_request": 1, "removed_per_request": 1},
    {"probes_per_request": 1, "removed_per_request": 1, "max_age_ms": 0.00002},
]


def probing(replicas: int, **own: Any) -> Policy:
    options = ProbingOptions(**own)
    probes = Probes(
        per_request=options.probes_per_request,
        removed_per_request=options.removed_per_request,
        kept=options.kept_of(replicas),
        max_age_ns=round(options.max_age_ms * MS),
        hot_quantile=options.hot_quantile,
        uses=options.uses_of_an_answer(replicas),
    )
    return Policy("client", "probing", probes=probes)


def state_of(replicas: int, **own: Any) -> State:
    return new_state(fleet(replicas, probing(replicas, **own)), poisson(3, 10, 1, clients=1))


ANSWERS = st.tuples(st.integers(0, 9), st.integers(0, 5), st.integers(0, 30))
STEPS = st.lists(
    st.one_of(ANSWERS, ANSWERS, st.sampled_from(["take", "take", "remove"])), min_size=20, max_size=80
)


@settings(max_examples=examples(200), deadline=None)
@given(
    steps=STEPS,
    replicas=st.sampled_from([1, 3, 6, 10]),
    pool_size=st.integers(1, 6),
    quantile=st.sampled_from([0, 0.3, 0.84, 1]),
    options=st.sampled_from(OPTIONS),
)
def test_a_pool_is_used_as_a_real_client_uses_it(
    steps: list[Any], replicas: int, pool_size: int, quantile: float, options: dict[str, float]
) -> None:
    """A step is an answer (replica, requests in flight, latency), a request, or a removal."""
    own: Any = {**options, "pool_size": pool_size, "hot_quantile": quantile}
    assert ProbingOptions(**own).uses_of_an_answer(replicas) % 1 == 0
    real = ProbePool(ProbingOptions(**own), replicas, random.Random(1))
    state = state_of(replicas, **own)
    for now_ns, step in enumerate(steps):
        state.world["now_ns"] = now_ns
        if step == "take":
            expected = real.take(range(replicas), now_ns)
            assert take(state, 0) == (NONE if expected is None else expected)
        elif step == "remove":
            real.remove_one()
            remove_one(state, 0)
        else:
            place, in_flight, latency_ns = step
            real.add(place % replicas, (in_flight, latency_ns), now_ns)
            keep(state, 0, place % replicas, in_flight, latency_ns)
        assert state.channels["kept"][0] == len(real)


@settings(max_examples=examples(200), deadline=None)
@given(
    answers=st.lists(st.tuples(st.integers(1, 12), st.integers(0, 1000)), max_size=150),
    load=st.integers(1, 15),
)
def test_a_replica_expects_the_latency_that_a_real_one_does(
    answers: list[tuple[int, int]], load: int
) -> None:
    real, state = latency_estimate.LatencyEstimate(), state_of(2)
    for number, (in_flight, latency_ns) in enumerate(answers):
        real.learn(in_flight, latency_ns)
        state.replicas["learnt_in_flight"][0, number % RECENT_ATTEMPTS] = in_flight
        state.replicas["learnt_ns"][0, number % RECENT_ATTEMPTS] = latency_ns
    state.replicas["learnt"][0] = len(answers)
    assert expected_latency_ns(state, 0, load) == real.of(load)


def test_as_much_is_remembered_as_by_real_parts() -> None:
    assert (RECENT_LOADS, RECENT_ATTEMPTS) == (RECENT, latency_estimate.RECENT)


@pytest.mark.parametrize("choices", [2, 3, 6])
def test_a_client_never_takes_one_of_its_busiest(choices: int) -> None:
    """Of c different replicas one is taken: so at least c have as many of the client's calls, or more."""
    calls = poisson(CALLS, 400, 20, clients=3)
    found = simulate(fleet(6, Policy("client", "least_request", choices=choices), 2), calls)
    under_way = np.zeros((3, 6), int)
    ends = [(int(at), 0, call) for call, at in enumerate(found.answered_ns)]
    for _, begins, call in sorted([*ends, *((int(at), 1, call) for call, at in enumerate(found.sent_ns))]):
        client, replica = calls.client[call], found.replica[call]
        if begins:
            own = under_way[client]
            assert (own >= own[replica]).sum() >= choices
        under_way[client, replica] += 1 if begins else -1
    assert under_way.sum() == 0
    assert (np.bincount(found.replica) > 0.8 * CALLS / 6).all()


def test_the_more_clients_the_less_two_choices_help() -> None:
    """68 % busy. One client joins the shortest of two queues; each of very many sees no calls but its own."""
    mean_ms = []
    for clients in (1, 4000):
        calls = poisson(40_000, 68 * 8, 0.0, clients=clients, work_ns=np.full(40_000, 10 * MS), seed=3)
        found = simulate(fleet(8, Policy("client", "least_request"), deadline_ns=10**12), calls)
        mean_ms.append(found.queue_ns[2000:].mean() / MS)
    # M/D/1 waits load / 2 / (1 - load) service times (Pollaczek-Khinchine): 0.68 / 2 / 0.32 x 10 ms.
    assert mean_ms[1] == pytest.approx(10.6, rel=0.15)
    assert mean_ms[0] < mean_ms[1] / 3


def test_probing_leaves_a_slow_replica_alone_and_two_choices_of_many_clients_do_not() -> None:
    """One of eight replicas is ten times slower. The others could serve nearly twice what comes."""
    calls = poisson(CALLS, 400, 0.0, clients=40, work_ns=np.full(CALLS, 10 * MS))
    slow = {}
    for name, policy in (("probing", probing(8)), ("two choices", Policy("client", "least_request"))):
        system = fleet(8, policy)
        one, *others = system.replicas
        replicas = (type(one)(one.address, 1, slow_factor=10.0), *others)
        found = simulate(type(system)(replicas, policy), calls)
        slow[name] = np.bincount(found.replica, minlength=8)[0] / CALLS
    # It serves 10 a second, 2.5 % of the calls. A client notices that only when calls of its own wait.
    assert slow["probing"] < 0.01
    assert slow["two choices"] > 0.025
