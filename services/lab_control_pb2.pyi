from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class GetIdentityRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Identity(_message.Message):
    __slots__ = ("name", "pid", "serving", "behaviour", "calls_started", "calls_done", "max_connection_age_ms", "server", "settings_json", "ledger_end")
    NAME_FIELD_NUMBER: _ClassVar[int]
    PID_FIELD_NUMBER: _ClassVar[int]
    SERVING_FIELD_NUMBER: _ClassVar[int]
    BEHAVIOUR_FIELD_NUMBER: _ClassVar[int]
    CALLS_STARTED_FIELD_NUMBER: _ClassVar[int]
    CALLS_DONE_FIELD_NUMBER: _ClassVar[int]
    MAX_CONNECTION_AGE_MS_FIELD_NUMBER: _ClassVar[int]
    SERVER_FIELD_NUMBER: _ClassVar[int]
    SETTINGS_JSON_FIELD_NUMBER: _ClassVar[int]
    LEDGER_END_FIELD_NUMBER: _ClassVar[int]
    name: str
    pid: int
    serving: bool
    behaviour: Behaviour
    calls_started: int
    calls_done: int
    max_connection_age_ms: int
    server: str
    settings_json: str
    ledger_end: int
    def __init__(self, name: _Optional[str] = ..., pid: _Optional[int] = ..., serving: _Optional[bool] = ..., behaviour: _Optional[_Union[Behaviour, _Mapping]] = ..., calls_started: _Optional[int] = ..., calls_done: _Optional[int] = ..., max_connection_age_ms: _Optional[int] = ..., server: _Optional[str] = ..., settings_json: _Optional[str] = ..., ledger_end: _Optional[int] = ...) -> None: ...

class Behaviour(_message.Message):
    __slots__ = ("slots", "distribution", "mean_ms", "slow_factor", "fail_share", "fail_code", "burn_cpu", "slow_share", "cache_sessions", "cache_hit_factor", "orca", "outage_every_s", "outage_for_ms", "fail_after_headers", "fail_after_work")
    SLOTS_FIELD_NUMBER: _ClassVar[int]
    DISTRIBUTION_FIELD_NUMBER: _ClassVar[int]
    MEAN_MS_FIELD_NUMBER: _ClassVar[int]
    SLOW_FACTOR_FIELD_NUMBER: _ClassVar[int]
    FAIL_SHARE_FIELD_NUMBER: _ClassVar[int]
    FAIL_CODE_FIELD_NUMBER: _ClassVar[int]
    BURN_CPU_FIELD_NUMBER: _ClassVar[int]
    SLOW_SHARE_FIELD_NUMBER: _ClassVar[int]
    CACHE_SESSIONS_FIELD_NUMBER: _ClassVar[int]
    CACHE_HIT_FACTOR_FIELD_NUMBER: _ClassVar[int]
    ORCA_FIELD_NUMBER: _ClassVar[int]
    OUTAGE_EVERY_S_FIELD_NUMBER: _ClassVar[int]
    OUTAGE_FOR_MS_FIELD_NUMBER: _ClassVar[int]
    FAIL_AFTER_HEADERS_FIELD_NUMBER: _ClassVar[int]
    FAIL_AFTER_WORK_FIELD_NUMBER: _ClassVar[int]
    slots: int
    distribution: str
    mean_ms: float
    slow_factor: float
    fail_share: float
    fail_code: str
    burn_cpu: bool
    slow_share: float
    cache_sessions: int
    cache_hit_factor: float
    orca: str
    outage_every_s: float
    outage_for_ms: float
    fail_after_headers: bool
    fail_after_work: bool
    def __init__(self, slots: _Optional[int] = ..., distribution: _Optional[str] = ..., mean_ms: _Optional[float] = ..., slow_factor: _Optional[float] = ..., fail_share: _Optional[float] = ..., fail_code: _Optional[str] = ..., burn_cpu: _Optional[bool] = ..., slow_share: _Optional[float] = ..., cache_sessions: _Optional[int] = ..., cache_hit_factor: _Optional[float] = ..., orca: _Optional[str] = ..., outage_every_s: _Optional[float] = ..., outage_for_ms: _Optional[float] = ..., fail_after_headers: _Optional[bool] = ..., fail_after_work: _Optional[bool] = ...) -> None: ...

class SetServingRequest(_message.Message):
    __slots__ = ("serving",)
    SERVING_FIELD_NUMBER: _ClassVar[int]
    serving: bool
    def __init__(self, serving: _Optional[bool] = ...) -> None: ...

class SetServingReply(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetLedgerRequest(_message.Message):
    __slots__ = ("after",)
    AFTER_FIELD_NUMBER: _ClassVar[int]
    after: int
    def __init__(self, after: _Optional[int] = ...) -> None: ...

class LedgerRow(_message.Message):
    __slots__ = ("request_id", "method", "peer", "arrived_ns", "done_ns", "queue_ns", "service_ns", "in_flight", "messages", "code")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    METHOD_FIELD_NUMBER: _ClassVar[int]
    PEER_FIELD_NUMBER: _ClassVar[int]
    ARRIVED_NS_FIELD_NUMBER: _ClassVar[int]
    DONE_NS_FIELD_NUMBER: _ClassVar[int]
    QUEUE_NS_FIELD_NUMBER: _ClassVar[int]
    SERVICE_NS_FIELD_NUMBER: _ClassVar[int]
    IN_FLIGHT_FIELD_NUMBER: _ClassVar[int]
    MESSAGES_FIELD_NUMBER: _ClassVar[int]
    CODE_FIELD_NUMBER: _ClassVar[int]
    request_id: int
    method: str
    peer: str
    arrived_ns: int
    done_ns: int
    queue_ns: int
    service_ns: int
    in_flight: int
    messages: int
    code: str
    def __init__(self, request_id: _Optional[int] = ..., method: _Optional[str] = ..., peer: _Optional[str] = ..., arrived_ns: _Optional[int] = ..., done_ns: _Optional[int] = ..., queue_ns: _Optional[int] = ..., service_ns: _Optional[int] = ..., in_flight: _Optional[int] = ..., messages: _Optional[int] = ..., code: _Optional[str] = ...) -> None: ...

class ProbeRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ProbeReply(_message.Message):
    __slots__ = ("in_flight", "latency_ns")
    IN_FLIGHT_FIELD_NUMBER: _ClassVar[int]
    LATENCY_NS_FIELD_NUMBER: _ClassVar[int]
    in_flight: int
    latency_ns: int
    def __init__(self, in_flight: _Optional[int] = ..., latency_ns: _Optional[int] = ...) -> None: ...
