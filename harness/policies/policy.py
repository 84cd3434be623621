"""Policy: everything that the lab knows of one way to pick a replica."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from lb.policies import PolicyOptions

# `source_address`: the client's address, from x-forwarded-for where there is one; `connection`: the address
# at the other end of the connection.
HashKey = Literal["header", "cookie", "source_address", "connection"]


class Locality(Protocol):
    """A part of the endpoints, as a zone, in what a control plane tells."""

    @property
    def replicas(self) -> int: ...  # how many of them, in order
    @property
    def weight(self) -> int: ...  # its share of the calls, over the sum of all weights


@dataclass(frozen=True)
class Traits:
    """What a policy with its options needs from the other parts of the lab, and how they recognise it."""

    hash_key: HashKey | None = None  # what it hashes of a request or a connection
    cookie: str | None = None  # the proxy answers with a cookie of this name, which clients must send back
    echo_header: str | None = None  # the proxy answers with this header, which clients must send back
    load_reports: bool = False  # every replica must send load reports (ORCA)
    weights: tuple[int, ...] = ()  # the endpoints' weights, replica-0's first; (): all are alike
    groups: Mapping[str, int] = field(default_factory=dict)  # target group -> number of replicas, in order
    localities: Mapping[str, Locality] = field(default_factory=dict)  # name -> its replicas and weight
    client_health_checks: bool = False  # the policy takes notice of the client's own health checks
    own_clients: bool = False  # the lab's own clients pick, over a channel to each replica
    probes: bool = False  # every replica must answer probes
    # Confirmed before measuring: gRPC's name of the policy that all clients' channels have in force, and
    # Envoy's load balancing policies and session filters in force.
    channel_policy: str = "pick_first"
    extensions: frozenset[str] = frozenset()

    @property
    def sets_cookie(self) -> bool:
        """Whether the proxy answers with a cookie."""
        return self.cookie is not None


@dataclass(frozen=True)
class AlbSettings:
    """How AWS's load balancer is told to do the same.

    attributes: names and values of the target group's attributes, or of the rule's fields. console: where
    they are in AWS's console, and what they are called there. command: the AWS CLI's, which sets them.
    """

    attributes: Mapping[str, str]
    console: str
    command: str


@dataclass(frozen=True)
class Policy:
    """One policy of one route."""

    meaning: str  # what it does
    alb: str  # what it is in ALB terms, and where it is not an ALB
    options: type[PolicyOptions]  # the model of its options
    traits: Callable[[Any], Traits]  # options -> what the other parts must know
    # The file below envoy/ that renders Envoy, or what a control plane tells; None: the client alone.
    template: str | None = None
    grpc_name: str | None = None  # its name in gRPC; None: gRPC does not carry it out
    # Options, number of replicas -> why they do not fit, or None.
    replicas_problem: Callable[[Any, int], str | None] = lambda _options, _replicas: None
    # Options -> the same on AWS's load balancer; None: it has nothing like it.
    alb_settings: Callable[[Any], AlbSettings | None] = lambda _options: None
    examples: tuple[Mapping[str, Any], ...] = ({},)  # options that documentation and tests show, each valid

    @property
    def source(self) -> str:
        """Where the policy is written down, in Markdown, seen from docs/."""
        if self.template is not None:
            return f"Configuration: [envoy/{self.template}](../envoy/{self.template})"
        if self.grpc_name is None:
            return "Picked by the lab's own clients: [lb/picking.py](../lb/picking.py)"
        return f"gRPC's name: `{self.grpc_name}`, in a service config: [lb/policies.py](../lb/policies.py)"

    def chosen(self, options: Mapping[str, object]) -> PolicyOptions:
        """Return the options as a model, with its defaults. Raises pydantic's ValidationError."""
        return self.options.model_validate(dict(options))


def balancing_extension(name: str) -> frozenset[str]:
    """Return the extensions of a policy that is one of Envoy's load balancing policies and nothing else."""
    return frozenset({f"envoy.load_balancing_policies.{name}"})
