"""The part `workload` of an experiment file: who sends what, how fast and for how long."""

from pydantic import Field

from harness.fields import Calls, Clients, Deadline, Gap, Messages, Milliseconds, Model, Rate, Skew
from lb.settings import MAX_PAYLOAD_BYTES


class Workload(Model):
    """Who sends what, how fast and for how long. Exactly one of rate_per_s and think_time_ms is given."""

    clients: Clients = Field(description="number of clients, each with its own connection and cookie jar")
    rate_per_s: Rate | None = Field(
        default=None,
        description="requests per second of all clients together, sent at planned (Poisson) times "
        "whatever the answers do: open loop",
    )
    think_time_ms: Milliseconds | None = Field(
        default=None,
        description="milliseconds that a client waits after an answer before its next request: closed loop",
    )
    skew: Skew = Field(
        default=0.0,
        description="Zipf exponent of the clients' rates: client k sends in proportion to 1/k^skew; "
        "0 (default): all alike",
    )
    calls: Calls = Field(description="relative weights of the RPCs in the mix")
    messages_per_stream: Messages = Field(default=3, description="messages in one streaming call (default 3)")
    message_gap_ms: Gap = Field(
        default=0,
        description="pace of a stream: message k is planned k gaps after the stream's start "
        "(default 0: at once, a ping-pong's next as soon as the answer is there)",
    )
    payload_bytes: int = Field(
        default=0,
        ge=0,
        le=MAX_PAYLOAD_BYTES,
        description="text that an AddVideo carries besides (default 0)",
    )
    warm_up_s: float = Field(
        default=1.0,
        ge=0,
        le=600,
        allow_inf_nan=False,
        description="seconds of load before the measured window (default 1)",
    )
    duration_s: float = Field(
        gt=0, le=3600, allow_inf_nan=False, description="seconds that one cell is measured"
    )
    deadline_ms: Deadline = Field(default=10_000.0, description="deadline of one call (default 10000)")
