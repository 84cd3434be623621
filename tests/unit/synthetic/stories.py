"""Experiments whose synthetic runs have something to show."""

from tests.unit.synthetic.synthetic_run import EXPERIMENT

_HEAD = EXPERIMENT.split("replicas:")[0]
_REPLICAS = "count: {count}, slots: 2, service_time_ms: {{distribution: exponential, mean: 10}}"
_GROUPS = "groups: {blue: {replicas: 3, weight: 80}, green: {replicas: 1, weight: 20}}"


def experiment(
    arms: dict[str, str],
    *,
    count: int = 4,
    replicas: str = "",
    clients: int = 12,
    calls: str = "AddVideo: 1",
    repeats: int = 1,
    expect: str = "[]",
    events: str = "[]",
    rate: str = "600",
) -> str:
    """An experiment file. arms: name -> its fields; replicas: more fields of theirs."""
    lines = "".join(f"  {name}: {{{fields}}}\n" for name, fields in arms.items())
    return (
        f"{_HEAD}replicas: {{{_REPLICAS.format(count=count)}{replicas}}}\n"
        f"workload: {{clients: {clients}, rate_per_s: {rate}, skew: 0.5, calls: {{{calls}}}, warm_up_s: 0.2, "
        f"duration_s: 1}}\narms:\n{lines}repeats: {repeats}\nexpect: {expect}\nevents: {events}\n"
    )


# Three arms with names as long as may be, many replicas, many clients.
CROWDED = experiment(
    {
        "a" * 40: "route: envoy, policy: sticky",
        "no_cookie_jar_but_with_awaited_first_ans": "route: envoy, policy: round_robin",
        "round_robin": "route: envoy-l4, policy: round_robin",
    },
    count=20,
    clients=40,
)

# One factor swept by two arms of three; sessions that are pinned, and some that are not.
SWEPT = experiment(
    {
        "sticky": "route: envoy, policy: sticky, sweep: {clients: [4, 12, 40]}",
        "round_robin": "route: envoy, policy: round_robin, sweep: {clients: [4, 12, 40]}",
        "direct": "route: direct, policy: round_robin",
    },
    repeats=2,
    expect="[{arm: sticky_4, metric: affinity.purity, at_least: 1}]",
)

# Caches, target groups and streams.
CACHED = experiment(
    {
        "sticky": "route: envoy, policy: sticky, session_lifetime_s: 0.2",
        "round_robin": "route: envoy, policy: round_robin, session_lifetime_s: 0.2",
        "groups": f"route: envoy, policy: target_groups, options: {{{_GROUPS}}}, session_lifetime_s: 0.2",
    },
    replicas=", cache: {sessions: 100, hit_factor: 0.3}",
    calls="AddVideo: 3, GetVideo: 1",
)

# Twelve arms with names of middling length; replicas that fail, one slow; half of the arms retry.
TWELVE = experiment(
    {
        f"settings_of_the_client_{number}": "route: envoy, policy: "
        + ("sticky" if number % 2 else "round_robin")
        + (", retries: {by: proxy, attempts: 3}" if number >= 6 else "")
        for number in range(12)
    },
    replicas=", fail_share: 0.1, different: {replica-2: {slow_factor: 5, fail_code: INTERNAL}}",
)

# One arm, one replica, one client.
LONELY = experiment({"only": "route: envoy, policy: round_robin"}, count=1, clients=1)

# One replica is killed and comes back. One arm has other events, and one arm has none.
KILLED = experiment(
    {
        "sticky": "route: envoy, policy: sticky",
        "round_robin": "route: envoy, policy: round_robin",
        "grows": "route: direct, policy: round_robin, events: [{at_s: 0.5, do: add}]",
        "calm": "route: envoy, policy: sticky, events: []",
    },
    clients=20,
    repeats=2,
    events="[{at_s: 0.3, do: kill, target: replica-1, for_s: 0.3}]",
)

# Every replica is replaced under load, behind two nodes in two zones.
ROLLED = experiment(
    {
        policy: f"route: envoy, policy: {policy}, proxies: 2, zones: {{a: 1, b: 3}}"
        for policy in ("sticky", "round_robin")
    },
    clients=30,
    events="[{at_s: 0.25, do: roll, target: all}, {at_s: 0.9, do: proxy_restart, node: envoy-1}]",
)

# Sixteen arms, many events.
STORMY = experiment(
    {
        f"settings_of_the_client_{number}": f"route: envoy, policy: {'sticky' if number % 2 else 'random'}"
        for number in range(16)
    },
    events="[{at_s: 0.2, do: kill, target: replica-1, for_s: 0.2}, {at_s: 0.22, do: slow, factor: 4, "
    "target: replica-2, for_s: 0.4}, {at_s: 0.5, do: pause, target: 0.5, for_s: 0.1}, {at_s: 0.7, do: add}]",
)

# A flash crowd: the planned rate jumps up and down, and the two arms have the same plan.
SPIKED = experiment(
    {"sticky": "route: envoy, policy: sticky", "round_robin": "route: envoy, policy: round_robin"},
    rate="{shape: spike, base_per_s: 100, peak_per_s: 400, at_s: 0.3, for_s: 0.3}",
)

BY_NAME = {"crowded": CROWDED, "swept": SWEPT, "cached": CACHED, "twelve": TWELVE, "lonely": LONELY}
BY_NAME |= {"killed": KILLED, "rolled": ROLLED, "stormy": STORMY}
