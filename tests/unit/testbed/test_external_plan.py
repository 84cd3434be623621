"""The plan of an external run: the arms that it keeps, and its notes about the others."""

from pathlib import Path
from typing import Any

import pytest

from harness.errors import UserError
from harness.plan.run_options import ExternalOptions
from harness.proxy.tls import make_certificate
from harness.spec.experiment import experiment_yaml, load_experiment
from harness.spec.heads import experiment_names
from harness.testbed.external.plan import ExternalPlan, plan_external

FOUR = tuple(f"10.0.0.{number}:50051" for number in range(1, 5))
ALB = "lb.example.com:443"


def planned(name: str, **options: Any) -> ExternalPlan:
    return plan_external(load_experiment(name), ExternalOptions(**options))


def arms(name: str, **options: Any) -> list[str]:
    return list(planned(name, **options).experiment.variants)


def refused(name: str, **options: Any) -> str:
    with pytest.raises(UserError) as raised:
        planned(name, **options)
    message = str(raised.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        ("sticky", {"target": ALB, "arm": "round_robin"}, ["round_robin"]),
        ("no_cookie_jar", {"target": ALB}, ["with_jar", "without_jar", "impatient"]),
        ("round_robin", {"target": ALB}, ["proxy"]),
        ("round_robin", {"target": ALB, "replicas": FOUR}, ["proxy", "client"]),
        ("round_robin", {"replicas": FOUR}, ["client"]),
        ("connection_sharing", {"target": ALB, "arm": "l7_own"}, ["l7_shared", "l7_own"]),
        ("connection_sharing", {"target": ALB, "arm": "l7_own", "tls": True}, ["l7_own"]),
        ("sticky_by_accident", {"target": ALB, "arm": "one_address"}, ["one_address", "own_addresses"]),
        ("few_vs_many", {"target": ALB, "arm": "round_robin"}, ["round_robin"]),
        ("proxy_workers", {"target": ALB, "arm": "workers_4"}, ["workers_4"]),
    ],
)
def test_the_plan_keeps_the_arms_that_need_the_same_load_balancer(
    name: str, options: dict[str, Any], expected: list[str]
) -> None:
    assert arms(name, **options) == expected


def test_a_sweep_over_a_client_setting_stays_one_arm() -> None:
    plan = planned("few_vs_many", target=ALB, arm="equal")
    assert list(plan.experiment.arms) == ["equal", "skewed"]
    assert len(plan.experiment.variants) == 8
    assert {variant.factor for variant in plan.experiment.variants.values()} == {"clients"}


def test_the_manifest_names_the_omitted_arms_and_expectations() -> None:
    plan = planned("sticky", target=ALB, arm="sticky", tls=True)
    experiment = load_experiment("sticky")
    omitted = [one for one in experiment.expect if "round_robin" in (one.arm, one.of)]
    assert omitted
    assert len(plan.manifest["not_judged"]) == len(omitted)
    assert [one for one in experiment.expect if one not in omitted] == plan.experiment.expect
    assert plan.manifest["notes"] == [
        "round_robin was not run: the load balancer has another policy",
        f"the policy sticky of {ALB} was not confirmed: the proxy is not the lab's",
        "replicas are known only from their answers, and their settings were not confirmed: "
        "no --replica was named",
    ]
    assert plan.manifest["testbed_options"] == ["--target", ALB, "--arm", "sticky", "--tls"]


def test_every_plan_is_an_experiment_that_can_be_read_again(tmp_path: Path) -> None:
    plans = 0
    for name in experiment_names():
        whole = load_experiment(name)
        replicas = tuple(f"10.0.0.{number}:1" for number in range(1, whole.replicas.count + 1))
        for arm in whole.variants:
            options = ExternalOptions(target=ALB, replicas=replicas, arm=arm)
            try:
                plan = plan_external(whole, options)
            except UserError:
                continue
            path = tmp_path / f"{name}.yaml"
            path.write_text(experiment_yaml(plan.experiment))
            assert load_experiment(str(path)).variants == plan.experiment.variants
            assert arm in plan.experiment.variants
            plans += 1
    assert plans > 40


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        (
            "sticky",
            {"target": ALB},
            "--arm: sticky has several policies behind a load balancer; name the one that --target has: "
            "sticky, round_robin",
        ),
        ("sticky", {"target": ALB, "arm": "stickie"}, "has no arm 'stickie'; did you mean 'sticky'?"),
        ("sticky", {"target": ALB, "arm": "x"}, "has no arm 'x'; expected one of sticky, round_robin"),
        ("round_robin", {"target": ALB, "arm": "client"}, "'client' is called directly, with --replica"),
        (
            "proxy_workers",
            {"target": ALB, "arm": "workers"},
            "arm 'workers' has several settings of the load balancer; name the one",
        ),
        ("frozen_replica", {"target": ALB}, "its events (pause) change replicas or proxy"),
        ("round_robin", {"target": "lb.example.com"}, "--target: 'lb.example.com' is not HOST:PORT"),
        ("round_robin", {"target": "a:1,b:2"}, "several addresses must all be IPv4"),
        ("round_robin", {"replicas": ("10.0.0.1",)}, "--replica: '10.0.0.1' is not HOST:PORT"),
        ("round_robin", {"replicas": FOUR[:1] * 2}, "--replica: 10.0.0.1:50051 is named twice"),
        (
            "round_robin",
            {"replicas": FOUR[:3]},
            "3 named, and round_robin has 4 replicas; name all, or run it",
        ),
        (
            "round_robin",
            {"replicas": FOUR, "tls": True},
            "--tls: describes --target; give both, or neither",
        ),
        ("round_robin", {"replicas": FOUR, "arm": "x"}, "--arm: describes --target; give both, or neither"),
        ("round_robin", {"target": ALB, "ca": Path("ca.pem")}, "--ca: has no effect without --tls"),
        ("round_robin", {"target": ALB, "tls": True, "ca": Path("no.pem")}, "--ca: no.pem: cannot be read"),
    ],
)
def test_wrong_options_are_refused(name: str, options: dict[str, Any], message: str) -> None:
    assert message in refused(name, **options)


def test_a_target_or_replicas_that_no_arm_uses_are_refused(tmp_path: Path) -> None:
    experiment = load_experiment("round_robin")
    direct = experiment.model_copy(update={"arms": {"client": experiment.arms["client"]}, "expect": []})
    with pytest.raises(
        UserError, match="--target: all arms of round_robin are called directly; leave it out"
    ):
        plan_external(direct, ExternalOptions(target=ALB))
    with pytest.raises(UserError, match=r"none of its arms can be run \(proxy: no --target was named\)"):
        proxied = experiment.model_copy(update={"arms": {"proxy": experiment.arms["proxy"]}, "expect": []})
        plan_external(proxied, ExternalOptions(replicas=FOUR))


def test_a_file_of_ca_certificates_is_accepted_and_a_key_is_refused(tmp_path: Path) -> None:
    files = make_certificate(tmp_path / "tls")
    plan = planned("round_robin", target=ALB, tls=True, ca=files.authority)
    assert plan.manifest["testbed_options"] == ["--target", ALB, "--ca", str(files.authority), "--tls"]
    assert "expected a PEM file" in refused("round_robin", target=ALB, tls=True, ca=files.key)
