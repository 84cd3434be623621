"""The standalone proxy: the choice of its arm, the names of its replicas, and its error messages."""

from pathlib import Path

import pytest

from harness.errors import UserError
from harness.proxy.standalone import keep_names, main, proxy_plan, resolve
from harness.spec.experiment import load_experiment


def test_the_default_arm_is_the_first_with_a_proxy() -> None:
    experiment = load_experiment("pick_first")
    assert next(iter(experiment.variants)) != "proxy_round_robin"
    assert proxy_plan(experiment, None).arm_name == "proxy_round_robin"
    assert proxy_plan(load_experiment("sticky"), "round_robin").arm.policy == "round_robin"


@pytest.mark.parametrize(
    ("experiment", "arm", "message"),
    [
        ("sticky", "stick", "--arm: 'stick' is not known; expected one of sticky, round_robin, of sticky"),
        ("pick_first", "pick_first", "--arm: 'pick_first' is called without a proxy; expected one of"),
    ],
)
def test_an_unknown_arm_or_one_without_a_proxy_is_refused(experiment: str, arm: str, message: str) -> None:
    with pytest.raises(UserError) as refused:
        proxy_plan(load_experiment(experiment), arm)
    assert str(refused.value).startswith(message)


def test_replicas_keep_their_names_and_new_replicas_get_the_lowest_free_numbers() -> None:
    first = keep_names({}, ["10.0.0.3:1", "10.0.0.2:1", "10.0.0.2:1", "10.0.0.4:1"])
    assert first == {"replica-0": "10.0.0.2:1", "replica-1": "10.0.0.3:1", "replica-2": "10.0.0.4:1"}
    second = keep_names(first, ["10.0.0.4:1", "10.0.0.1:1", "10.0.0.3:1", "10.0.0.9:1"])
    assert list(second.items()) == [
        ("replica-0", "10.0.0.1:1"),
        ("replica-1", "10.0.0.3:1"),
        ("replica-2", "10.0.0.4:1"),
        ("replica-3", "10.0.0.9:1"),
    ]
    assert keep_names(second, []) == {}
    many = keep_names({}, [f"10.0.0.{number}:1" for number in range(12)])
    assert list(many)[-1] == "replica-11"


def test_a_numeric_address_resolves_to_itself() -> None:
    assert resolve([("127.0.0.1", 50051), ("[::1]", 50052)]) == ["127.0.0.1:50051", "::1:50052"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--experiment", "stiky", "--replicas", "a:1"],
            "error: no experiment is called 'stiky'; did you mean",
        ),
        (["--experiment", "sticky", "--replicas", "a"], "error: argument --replicas: 'a' is not HOST:PORT\n"),
        (
            ["--experiment", "sticky", "--replicas", "a:1", "--listen", "localhost:80"],
            "error: argument --listen: 'localhost:80': expected an IPv4 address, such as 0.0.0.0:8080\n",
        ),
        (["--experiment", "sticky"], "error: the following arguments are required: --replicas\n"),
    ],
)
def test_bad_options_are_refused_in_one_line(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        status = main(arguments)
    except SystemExit as end:
        status = int(str(end.code))
    err = capsys.readouterr().err
    assert status == 2
    assert err.startswith(message)
    assert err.count("\n") == 1


def test_an_experiment_without_a_proxy_is_refused(tmp_path: Path) -> None:
    text = Path("experiments/sticky.yaml").read_text().split("arms:")[0]
    path = tmp_path / "direct.yaml"
    path.write_text(text + "arms: {direct: {route: direct, policy: pick_first}}\n")
    with pytest.raises(UserError, match="direct has no arm with a proxy"):
        proxy_plan(load_experiment(str(path)), None)
