"""Checks of an arm as a whole: policies that its route lacks, keys without effect, impossible streams.

A key without effect is refused and not ignored. Otherwise the report would show it as a difference between
arms.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel, ValidationError

from harness.errors import did_you_mean
from harness.policies.policy import Traits, balancing_extension
from harness.policies.registry import POLICIES_OF_ROUTE, options_of, replicas_problem, traits_of
from harness.spec.arm import (
    FACTORS,
    OPTIONS_PREFIX,
    RETRY_ON,
    Arm,
    Hedging,
    Retries,
    Subsetting,
    variants_of_arm,
)
from harness.spec.model import ExperimentModel
from harness.spec.problems import Problem, nested_problem, shown
from harness.spec.yaml_file import Where, dotted
from harness.spec.zones import is_zone_aware
from lb.policies import MIN_BACKOFF_MS
from lb.rows import STREAM_METHODS

STREAMS = frozenset(STREAM_METHODS)
# Envoy's balancing extensions that have zone-aware routing.
ZONE_AWARE = frozenset().union(*map(balancing_extension, ("round_robin", "least_request", "random")))
MAX_IDS = 1000  # services/video_service.py
MAX_LIST_GAP_MS = 60_000  # services/video_service.py


def arm_problems(experiment: ExperimentModel, name: str, arm: Arm) -> Iterator[Problem]:
    """Yield every problem of one arm of the file, with its swept values."""
    where = ("arms", name)
    if arm.sweep:
        swept = list(_sweep_problems(where, arm))
        yield from swept
        if swept:
            return
    if arm.policy not in POLICIES_OF_ROUTE[arm.route]:
        yield _unknown_policy((*where, "policy"), arm)
        return
    for variant in variants_of_arm(name, arm):
        yield from _variant_problems(experiment, where, variant.arm)


def _unknown_policy(path: Where, arm: Arm) -> Problem:
    known = list(POLICIES_OF_ROUTE[arm.route])
    choice = " or ".join(f"'{policy}'" for policy in known)
    wrong = f"route '{arm.route}' has no policy {shown(arm.policy)}; expected {choice}"
    return Problem((path,), f"{dotted(path)}: {wrong}{did_you_mean(arm.policy, known)}")


def _sweep_problems(where: Where, arm: Arm) -> Iterator[Problem]:
    ((factor, values),) = (arm.sweep or {}).items()
    path = (*where, "sweep", factor)
    if factor not in FACTORS and not factor.startswith(OPTIONS_PREFIX):
        hint = did_you_mean(factor, FACTORS) or f"; expected {', '.join(FACTORS)} or options.KEY"
        yield Problem((path,), f"{dotted(path)}: nothing that can be swept{hint}")
        return
    if _is_given(arm, factor):
        yield Problem((path,), f"{dotted(path)}: given twice, alone and in the sweep; leave one out")
    if len(values) < 2 or len(set(values)) < len(values):
        yield Problem((path,), f"{dotted(path)}: expected at least two values, no two alike")
        return
    try:
        variants_of_arm(str(where[-1]), arm)
    except ValidationError as error:
        # The refused value is the same whether it stands alone or in a sweep.
        problem = nested_problem(error, type(arm).model_json_schema(), where)
        yield Problem((path,), problem.message.replace(dotted((*where, factor)), dotted(path), 1))


def _is_given(arm: Arm, factor: str) -> bool:
    if factor.startswith(OPTIONS_PREFIX):
        return factor.removeprefix(OPTIONS_PREFIX) in arm.options
    # The experiment as run has every key. A key with its default counts as not given.
    return bool(getattr(arm, factor) != type(arm).model_fields[factor].default)


def _variant_problems(experiment: ExperimentModel, where: Where, arm: Arm) -> Iterator[Problem]:
    policy = (arm.route, arm.policy, arm.options)
    try:
        options_of(*policy)
    except ValidationError as error:
        model = POLICIES_OF_ROUTE[arm.route][arm.policy].options
        yield nested_problem(error, model.model_json_schema(), (*where, "options"))
        return
    wrong = replicas_problem(*policy, experiment.replicas.count)
    if wrong:
        path = (*where, "options")
        yield Problem((path, ("replicas", "count")), f"{dotted(path)}.{wrong}")
    traits = traits_of(*policy)
    for key, reason in _changes_nothing(experiment, arm, traits):
        path = (*where, key)
        value = _shown(getattr(arm, key))
        yield Problem((path,), f"{dotted(path)}: {value} changes nothing: {reason}; leave it out")
    if arm.subsetting is not None:
        yield from _subset_problems(experiment, where, arm, arm.subsetting)
    if arm.zones and arm.has_proxy:
        yield from _zone_problems(experiment, where, arm, traits)
    yield from _stream_problems(experiment, where, arm)
    yield from _server_problems(experiment, where, arm)
    if traits.own_clients:
        yield from _own_clients_problems(experiment, where, arm, probes=traits.probes)
    if arm.hedging is not None:
        yield from _hedging_problems(experiment, where, arm, arm.hedging)
    if arm.retries is not None:
        yield from _retry_problems((*where, "retries"), arm.retries, arm.route)
    if traits.load_reports and not _reports_load(experiment):
        path = (*where, "policy")
        wrong = "needs load reports, and not every replica sends them; expected replicas.orca: measured"
        yield Problem((path,), f"{dotted(path)}: '{arm.policy}' {wrong}")
    if arm.rate_per_s is not None and experiment.workload.rate_per_s is None:
        path = (*where, "rate_per_s")
        wrong = "the workload is a closed loop (think_time_ms); expected no rate"
        yield Problem((path,), f"{dotted(path)}: {wrong}")


def _subset_problems(
    experiment: ExperimentModel, where: Where, arm: Arm, subsetting: Subsetting
) -> Iterator[Problem]:
    """Yield the problems of subsets that are no smaller than the whole, or that the arm cannot have."""
    path, count = (*where, "subsetting"), experiment.replicas.count
    if subsetting.size >= count:
        wrong = f"{subsetting.size}: expected fewer than there are replicas, which is {count}"
        paths = ((*path, "size"), ("replicas", "count"))
        yield Problem(paths, f"{dotted(paths[0])}: {wrong}")
    if arm.discovery == "dns":
        yield Problem((path,), f"{dotted(path)}: a name server gives clients all addresses; leave one out")
    if arm.connections == "shared":
        yield Problem((path,), f"{dotted(path)}: clients with subsets share no connection; leave one out")
    if experiment.workload.locustfile is not None:
        yield Problem((path,), f"{dotted(path)}: users of a Locust file have no subsets; leave one out")


def _zone_problems(experiment: ExperimentModel, where: Where, arm: Arm, traits: Traits) -> Iterator[Problem]:
    """Yield the problems of zones that the replicas or the proxy's nodes do not fill."""
    path, count = (*where, "zones"), experiment.replicas.count
    if sum(arm.zones.values()) != count:
        wrong = f"{sum(arm.zones.values())} replicas in all; expected as many as there are, which is {count}"
        yield Problem((path, ("replicas", "count")), f"{dotted(path)}: {wrong}")
    nodes = (*where, "proxies")
    if arm.proxies < len(arm.zones):
        wrong = (
            f"{arm.proxies}: each of the {len(arm.zones)} zones has a node; expected {len(arm.zones)} or more"
        )
        yield Problem((nodes, path), f"{dotted(nodes)}: {wrong}")
    if is_zone_aware(arm) and (arm.route != "envoy" or not traits.extensions & ZONE_AWARE):
        cross = (*where, "cross_zone")
        wrong = f"Envoy routes so with policies {', '.join(_zone_aware_policies())} of route envoy alone"
        yield Problem((cross, (*where, "policy")), f"{dotted(cross)}: 'zone_aware': {wrong}")
        return
    if arm.cross_zone is not True and traits.groups:
        cross = (*where, "cross_zone")
        wrong = "a zone may have no replica of a target group; expected true"
        yield Problem((cross,), f"{dotted(cross)}: {wrong}")


def _zone_aware_policies() -> list[str]:
    """Return the policies of route envoy whose balancing in Envoy can be zone-aware, one cluster each."""
    all_traits = {
        name: policy.traits(policy.chosen(policy.examples[0]))
        for name, policy in POLICIES_OF_ROUTE["envoy"].items()
    }
    return [
        name for name, traits in all_traits.items() if traits.extensions & ZONE_AWARE and not traits.groups
    ]


def _hedging_problems(
    experiment: ExperimentModel, where: Where, arm: Arm, hedging: Hedging
) -> Iterator[Problem]:
    """Yield what of the arm does not go with clients that pick the replicas of both attempts themselves."""
    path = (*where, "hedging")
    work, count = experiment.workload_of(arm), experiment.replicas.count
    wrongs = {
        "clients pick the replicas themselves; expected route 'direct' and policy 'round_robin'": (
            (arm.route, arm.policy) != ("direct", "round_robin")
        ),
        "it goes with a fixed list of addresses alone; leave discovery and subsetting out": (
            arm.discovery != "addresses" or arm.subsetting is not None
        ),
        "clients have one connection to each replica; leave connections out": arm.connections != "own",
        "a failed attempt is followed by the next one; leave retries out": arm.retries is not None,
        "streams are not hedged; expected calls: {AddVideo: 1}": list(work.calls) != ["AddVideo"],
        "users of a Locust file make their calls themselves": work.locustfile is not None,
        "calls of your own service are not hedged": experiment.service is not None,
    }
    for wrong, found in wrongs.items():
        if found:
            yield Problem((path,), f"{dotted(path)}: {wrong}")
            return
    if hedging.attempts > count:
        own = (*path, "attempts")
        wrong = f"{hedging.attempts}: each goes to another replica; expected at most {count}"
        yield Problem((own, ("replicas", "count")), f"{dotted(own)}: {wrong}")


def _own_clients_problems(
    experiment: ExperimentModel, where: Where, arm: Arm, *, probes: bool
) -> Iterator[Problem]:
    """Yield what of the arm does not go with clients that pick the replica of each call themselves."""
    path = (*where, "policy")
    wrongs = {
        "goes with a fixed list of addresses alone; leave discovery and subsetting out": (
            arm.discovery != "addresses" or arm.subsetting is not None
        ),
        "has one connection of each client to each replica; leave connections out": arm.connections != "own",
        "is of the lab's own clients, and users of a Locust file make their calls themselves": (
            experiment.workload_of(arm).locustfile is not None
        ),
        "needs replicas that answer probes, which your own service does not": (
            probes and experiment.service is not None
        ),
        "needs replicas that answer probes beside their calls; expected server: asyncio": (
            probes and arm.server != "asyncio"
        ),
    }
    for wrong, found in wrongs.items():
        if found:
            yield Problem((path,), f"{dotted(path)}: '{arm.policy}' {wrong}")
            return


def _retry_problems(where: Where, retries: Retries, route: str) -> Iterator[Problem]:
    """Yield the problems of retries that gRPC or Envoy cannot make."""
    if route == "xds" and retries.budget_percent is not None:
        path = (*where, "budget_percent")
        wrong = "a control plane cannot give clients a budget; leave it out"
        yield Problem((path,), f"{dotted(path)}: {wrong}")
    if retries.by == "client" and retries.backoff_ms < MIN_BACKOFF_MS:
        path = (*where, "backoff_ms")
        wrong = f"shorter waits make gRPC lose calls; expected {MIN_BACKOFF_MS} or more"
        yield Problem((path,), f"{dotted(path)}: {retries.backoff_ms:g}: {wrong}")
    can_time_out = retries.by == "proxy" and "UNAVAILABLE" in retries.on
    if retries.attempt_timeout_ms is not None and not can_time_out:
        path = (*where, "attempt_timeout_ms")
        wrong = "works only with by: proxy and on: [UNAVAILABLE]"
        yield Problem((path,), f"{dotted(path)}: {wrong}")
    for index, code in enumerate(retries.on):
        if (retries.by == "proxy" or route == "xds") and code not in RETRY_ON:
            who = "gRPC with a control plane" if route == "xds" else "Envoy"
            wrong = f"{who} does not retry after {code}; expected {' or '.join(RETRY_ON)}"
            yield Problem(((*where, "on", index),), f"{dotted((*where, 'on', index))}: {wrong}")


def _stream_problems(experiment: ExperimentModel, where: Where, arm: Arm) -> Iterator[Problem]:
    """Yield the problems of streams that are longer than their deadline, or than a replica accepts."""
    work = experiment.workload_of(arm)
    calls = STREAMS & set(work.calls)
    lasts_ms = (work.messages_per_stream - 1) * work.message_gap_ms
    gap, messages = (_path_in_force(where, arm, key) for key in ("message_gap_ms", "messages_per_stream"))
    if calls and lasts_ms >= work.deadline_ms:
        wrong = (
            f"{work.messages_per_stream} messages take {lasts_ms} ms, the deadline is {work.deadline_ms:g} ms"
        )
        yield Problem(
            (gap, messages), f"{dotted(gap)}: {wrong}; expected streams shorter than their deadline"
        )
    if "GetVideos" in calls and work.messages_per_stream > MAX_IDS:
        wrong = f"GetVideos takes at most {MAX_IDS} messages, not {work.messages_per_stream}"
        yield Problem((messages,), f"{dotted(messages)}: {wrong}")
    if "ListVideos" in calls and work.message_gap_ms > MAX_LIST_GAP_MS:
        wrong = f"ListVideos waits at most {MAX_LIST_GAP_MS} ms between messages, not {work.message_gap_ms}"
        yield Problem((gap,), f"{dotted(gap)}: {wrong}")


def _path_in_force(where: Where, arm: Arm, key: str) -> Where:
    """Return the path of the value that is in force in the arm: in the arm, or in `workload`."""
    return ("workload", key) if getattr(arm, key) is None else (*where, key)


def _changes_nothing(experiment: ExperimentModel, arm: Arm, traits: Traits) -> Iterator[tuple[str, str]]:
    """Yield (key, reason) for each key of the arm that is set and has no effect."""
    through = f"route '{arm.route}' with policy '{arm.policy}'"
    if not arm.cookie_jar and not traits.sets_cookie:
        yield "cookie_jar", f"{through} sets no cookie"
    for key in ("proxy_workers", "proxies"):
        if getattr(arm, key) != 1 and not arm.has_proxy:
            yield key, f"route '{arm.route}' has no proxy"
    if arm.tls is not None and not arm.has_proxy:
        yield "tls", f"route '{arm.route}' has no proxy"
    elif arm.tls is not None and arm.connections == "shared":
        yield "connections", "gRPC clients share no connection over TLS"
    if arm.zones and not arm.has_proxy:
        yield "zones", f"route '{arm.route}' has no proxy, whose nodes would be in zones"
    elif len(arm.zones) == 1:
        yield "zones", "one zone holds everything; expected two or more"
    elif arm.cross_zone is not True and not arm.zones:
        yield "cross_zone", "the arm has no zones"
    if arm.proxy_use != "stay" and arm.proxies == 1:
        yield "proxy_use", "the proxy has one node; expected proxies: 2 or more"
    if arm.source_addresses == "own" and traits.hash_key != "source_address":
        yield "source_addresses", f"{through} does not hash it (route 'envoy' with key: source_address does)"
    if arm.health_check and arm.has_proxy:
        yield "health_check", "the client sees only the proxy, which has health checks of its own"
    elif arm.health_check and arm.route == "xds":
        yield "health_check", "a control plane cannot ask clients for them; it drops endpoints itself"
    elif arm.health_check and not traits.client_health_checks:
        yield "health_check", f"{arm.policy} ignores health checks"
    if arm.retries is not None and arm.retries.by == "proxy" and arm.route != "envoy":
        yield "retries", "only the proxy of route 'envoy' sees single calls; expected by: client"
    if arm.wait_for_ready and arm.route == "xds":
        yield "wait_for_ready", "it belongs to a service config, which the control plane replaces"
    yield from _proxy_keys_without_proxy(arm)
    if arm.subsetting is not None and arm.route != "direct":
        yield "subsetting", "only the clients of route 'direct' know all addresses"
    if arm.discovery == "dns" and arm.has_proxy:
        yield "discovery", "the clients call the proxy, not the replicas"
    elif arm.discovery == "dns" and arm.route == "xds":
        yield "discovery", "the control plane names the replicas"
    if arm.dns_interval_ms is not None and arm.discovery != "dns" and arm.node_policy is None:
        yield "dns_interval_ms", "the clients do not use a name server; expected discovery: dns"
    if arm.session_lifetimes != "constant" and arm.session_lifetime_s is None:
        yield "session_lifetimes", "sessions do not end; expected session_lifetime_s, their mean"
    if arm.await_each_answer and experiment.workload.rate_per_s is None:
        yield "await_each_answer", "clients with think_time_ms wait for each answer anyway"
    calls = experiment.workload_of(arm).calls
    for key in ("messages_per_stream", "message_gap_ms"):
        if getattr(arm, key) is not None and not STREAMS & set(calls):
            yield key, f"there are no streaming calls among {', '.join(calls)}"


def _proxy_keys_without_proxy(arm: Arm) -> Iterator[tuple[str, str]]:
    keys = ("proxy_health_check", "panic_threshold_percent", "idle_timeout_s")
    for key in keys if not arm.has_proxy else ():
        if getattr(arm, key) is not None:
            yield key, f"route '{arm.route}' has no proxy"
    of_calls = ("outlier_detection", "circuit_breaker", "adaptive_concurrency", "admission_control")
    for key in of_calls if arm.route != "envoy" else ():
        if getattr(arm, key) is not None:
            yield key, "only the proxy of route 'envoy' sees single calls"


def _server_problems(experiment: ExperimentModel, where: Where, arm: Arm) -> Iterator[Problem]:
    """Yield the problems of settings that the arm's server lacks, and of health checks that an NLB lacks."""
    check = arm.proxy_health_check
    if check is not None and arm.route == "envoy-l4" and check.kind in ("grpc", "code_12"):
        path = (*where, "proxy_health_check", "kind")
        wrong = f"'{check.kind}': route 'envoy-l4' does not see calls; expected 'tcp' or 'none'"
        yield Problem((path,), f"{dotted(path)}: {wrong}")
    if arm.server == "asyncio":
        return
    path = (*where, "server")
    for name in experiment.replicas.names:
        try:
            experiment.replicas.settings_of(name, arm)
        except ValidationError as error:
            yield Problem((path,), f"{dotted(path)}: {error.errors()[0]['ctx']['error']}")
            return


def _reports_load(experiment: ExperimentModel) -> bool:
    replicas = experiment.replicas
    return all(replicas.work_of(name).orca is not None for name in replicas.names)


def _shown(value: Any) -> str:
    return "this" if isinstance(value, BaseModel) else shown(value)
