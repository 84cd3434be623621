"""How the clients of one arm call."""

from dataclasses import dataclass


@dataclass(frozen=True)
class ClientSettings:
    """How clients call: alike for all clients of an arm. Instants count from `epoch_ns` (monotonic)."""

    target: str
    policy: str | None
    cookie_jar: bool
    await_first_answer: bool
    messages_per_stream: int
    deadline_s: float
    epoch_ns: int
    key_prefix: str = "load"
