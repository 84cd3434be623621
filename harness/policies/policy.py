"""Policy: everything that the lab knows of one way to pick a replica."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, TypeVar

from lb.policies import PolicyOptions

# `source_address`: the client's address, from x-forwarded-for where there is one; `connection`: the address
# at the other end of the connection.
HashKey = Literal["header", "cookie", "source_address", "connection"]
Options = TypeVar("Options", bound=PolicyOptions)


@dataclass(frozen=True)
class Traits:
    """What a policy with its options needs from the other parts of the lab, and how they recognise it.

    What it needs:
    `hash_key`: what it hashes of a request or a connection; None: nothing.
    `sets_cookie`: the proxy answers with a cookie, which clients must send back.
    `echo_header`: the proxy answers with this header, which clients must send back; None: with none.
    `load_reports`: every replica must send load reports (ORCA).
    `weights`: the endpoints' weights, replica-0's first; (): all are alike.
    `groups`: target group -> its number of replicas, in order; {}: there are no groups.
    `client_health_checks`: the policy takes notice of the client's own health checks.

    How it is confirmed before measuring:
    `channel_policy`: gRPC's name of the policy that all clients' channels must have in force.
    `extensions`: Envoy's load balancing policies and session filters that must be in force, and no others.
    """

    hash_key: HashKey | None = None
    sets_cookie: bool = False
    echo_header: str | None = None
    load_reports: bool = False
    weights: tuple[int, ...] = ()
    groups: Mapping[str, int] = field(default_factory=dict)
    client_health_checks: bool = False
    channel_policy: str = "pick_first"
    extensions: frozenset[str] = frozenset()


def no_problem(_options: PolicyOptions, _replicas: int) -> None:
    """Return None: the policy's options fit any number of replicas."""


@dataclass(frozen=True)
class Policy(Generic[Options]):
    """One policy of one route.

    `meaning`: what it does; `alb`: what it is in ALB terms, and where it is not an ALB; `source`: where it is
    written down, in Markdown, seen from docs/; `options`: the model of its options; `traits`: options -> what
    the other parts must know; `template`: the file below envoy/ that renders it, None: there is no proxy;
    `replicas_problem`: options, number of replicas -> why they do not fit, or None; `examples`: options that
    documentation and tests show, each valid.
    """

    meaning: str
    alb: str
    source: str
    options: type[Options]
    traits: Callable[[Options], Traits]
    template: str | None = None
    replicas_problem: Callable[[Options, int], str | None] = no_problem
    examples: tuple[Mapping[str, Any], ...] = ({},)

    def chosen(self, options: Mapping[str, object]) -> Options:
        """Return the options as a model, with its defaults. Raises pydantic's ValidationError."""
        return self.options.model_validate(dict(options))


def behind_envoy(
    template: str,
    meaning: str,
    alb: str,
    options: type[Options],
    traits: Callable[[Options], Traits],
    replicas_problem: Callable[[Options, int], str | None] = no_problem,
    examples: tuple[Mapping[str, Any], ...] = ({},),
) -> Policy[Options]:
    """Return a policy that the proxy carries out, as envoy/policies/`template` renders it."""
    path = f"policies/{template}"
    source = f"Envoy's configuration: [envoy/{path}](../envoy/{path})"
    return Policy(meaning, alb, source, options, traits, path, replicas_problem, examples)
