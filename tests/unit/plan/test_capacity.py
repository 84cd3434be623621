"""What replicas can serve, and how much of it the plan asks of them."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.plan.capacity import LAWS, alike_replicas, capacity_per_s, needed_cores, utilisation_of
from harness.spec.experiment import Experiment, Workload, load_experiment
from services.service_time import is_dear
from services.settings import DearRequests, ServiceTime, WorkSettings
from tests.unit.synthetic import stories

ADD = Workload(clients=1, rate_per_s=1, calls={"AddVideo": 1}, warm_up_s=0, duration_s=1)
MIXED = ADD.model_copy(update={"calls": {"AddVideo": 3, "GetVideo": 1}, "messages_per_stream": 5})

Load = Callable[..., Experiment]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    def loaded(arms: dict[str, str] | None = None, **more: object) -> Experiment:
        text = stories.experiment(arms or {"a": "route: envoy, policy: sticky"}, **more)  # type: ignore[arg-type]
        (tmp_path / "one.yaml").write_text(text)
        return load_experiment(str(tmp_path / "one.yaml"))

    return loaded


DEAR_CLIENTS = {"by": "client", "share": 0.05, "factor": 50.0}


def times(**more: object) -> dict[str, object]:
    return {"service_time_ms": {"distribution": "constant", "mean": 10.0, **more}}


def work(**settings: object) -> WorkSettings:
    times = {"distribution": "constant", "mean": 10.0}
    return WorkSettings.model_validate({"slots": 2, "service_time_ms": times, **settings})


@pytest.mark.parametrize(
    ("settings", "workload", "per_s"),
    [
        ({}, ADD, 200),
        ({"slots": 3}, ADD, 300),
        ({"slow_factor": 10}, ADD, 20),
        ({"slow_factor": 10, "slow_share": 0.5}, ADD, 2000 / 55),
        ({"slow_factor": 0.5}, ADD, 400),
        ({"fail_share": 0.5}, ADD, 400),  # those take no slot
        ({"fail_share": 1.0}, ADD, None),
        ({}, MIXED, 100),  # 3 x 1 + 5 service times for four calls
        ({"service_time_ms": {"distribution": "constant", "mean": 0.0}}, ADD, None),
        (times(methods={"GetVideo": 2.0}), MIXED, 200),  # 3 x 10 ms + 5 x 2 ms for four calls
        (times(methods={"AddVideo": 40.0}), ADD, 50),
        (times(dear={"share": 0.05, "factor": 50.0}), ADD, 200),
        # Of 20 clients one is dear. 200/s is for clients that send alike; see the next test for others.
        (times(dear=DEAR_CLIENTS), ADD.model_copy(update={"clients": 20}), 200),
    ],
)
def test_capacity_by_hand(settings: dict[str, object], workload: Workload, per_s: float | None) -> None:
    assert capacity_per_s(work(**settings), workload) == (None if per_s is None else pytest.approx(per_s))


@pytest.mark.parametrize("skew", [0, 1])
@pytest.mark.parametrize("loop", [{"rate_per_s": 100}, {"rate_per_s": None, "think_time_ms": 5.0}])
def test_the_calls_of_dear_clients_count_with_their_share_of_the_calls(
    skew: float, loop: dict[str, object]
) -> None:
    workload = ADD.model_copy(update={"clients": 8, "skew": skew, **loop})
    settings = work(**times(dear={"by": "client", "share": 0.25, "factor": 9.0}))
    dear = [client for client in range(8) if is_dear(client, 0.25)]
    assert len(dear) == 2
    sent = [1 / (client + 1) ** (skew if workload.rate_per_s else 0) for client in range(8)]
    share = sum(sent[client] for client in dear) / sum(sent)
    cheap_ms = 10 / 3  # 10 = 0.75 x + 0.25 * 9 x
    assert capacity_per_s(settings, workload) == pytest.approx(2000 / (cheap_ms * (1 + share * 8)))


def test_the_client_with_the_most_work_is_a_dear_one(load: Load) -> None:
    experiment = load()
    dear = DearRequests(by="client", share=0.25, factor=9)
    service_time = ServiceTime(distribution="constant", mean=10, dear=dear)
    replicas = experiment.replicas.model_copy(update={"service_time_ms": service_time})
    experiment = experiment.model_copy(update={"replicas": replicas})
    workload = experiment.workload.model_copy(update={"skew": 0})
    (group,) = alike_replicas(replicas, workload)
    used = utilisation_of(group, experiment, workload)
    assert used is not None
    assert used.evenly == pytest.approx(0.75)
    assert used.busiest_client == pytest.approx(3 / 12 * 3)  # one of 12 clients, at three times the mean


@given(
    st.integers(1, 100),
    st.floats(0.1, 100),
    st.floats(0, 1),
    st.floats(0, 0.99),
    st.integers(2, 5),
)
def test_capacity_grows_with_the_slots_alone(
    slots: int, factor: float, slow: float, fail: float, times: int
) -> None:
    settings = {"slow_factor": factor, "slow_share": slow, "fail_share": fail}
    one, more = (capacity_per_s(work(slots=n, **settings), ADD) for n in (slots, slots * times))
    assert one is not None
    assert more == pytest.approx(times * one)


def test_replicas_that_differ_are_groups_the_weakest_first(load: Load) -> None:
    experiment = load(replicas=", different: {replica-2: {slow_factor: 10}, replica-0: {slots: 8}}")
    groups = alike_replicas(experiment.replicas, experiment.workload)
    assert [(list(group.names), group.capacity_per_s) for group in groups] == [
        (["replica-2"], pytest.approx(20)),
        (["replica-1", "replica-3"], pytest.approx(200)),
        (["replica-0"], pytest.approx(800)),
    ]


def test_utilisation_by_hand(load: Load) -> None:
    """600 calls/s of 12 clients whose rates fall with 1 / sqrt(k), on four replicas of 200/s."""
    experiment = load()
    (group,) = alike_replicas(experiment.replicas, experiment.workload)
    used = utilisation_of(group, experiment, experiment.workload)
    assert used is not None
    assert used.evenly == pytest.approx(0.75)
    assert used.everything == pytest.approx(3)
    assert used.busiest_client == pytest.approx(3 / sum(k**-0.5 for k in range(1, 13)))


def test_a_closed_loop_plans_no_utilisation(load: Load) -> None:
    experiment = load()
    closed = experiment.workload.model_copy(update={"rate_per_s": None, "think_time_ms": 5.0})
    (group,) = alike_replicas(experiment.replicas, closed)
    assert utilisation_of(group, experiment, closed) is None


def test_the_laws_are_those_of_the_page_that_explains_them() -> None:
    """`make capacity` measures them anew."""
    page = (Path(__file__).resolve().parents[3] / "docs" / "capacity.md").read_text()
    for name, law in LAWS.items():
        (row,) = re.findall(
            rf"^\| {re.escape(name)}, in a cell \| [^|]* \|(.*?)\|(.*?)\|(.*?)\|", page, re.MULTILINE
        )
        assert tuple(map(float, row)) == (law.idle_cores, law.call_us, law.client_us)


@given(st.integers(1, 200), st.integers(1, 2000), st.floats(0, 5000), st.booleans())
def test_more_of_anything_takes_more_cores(replicas: int, clients: int, rate: float, proxied: bool) -> None:
    cores = needed_cores(replicas, clients, rate, proxied)
    assert needed_cores(replicas + 1, clients, rate, proxied) > cores
    assert needed_cores(replicas, clients + 1, rate, proxied) > cores
    assert needed_cores(replicas, clients, rate + 1, proxied) > cores
