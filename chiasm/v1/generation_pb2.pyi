import datetime

from chiasm.v1 import media_pb2 as _media_pb2
from chiasm.v1 import usage_pb2 as _usage_pb2
from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Task(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    TASK_UNSPECIFIED: _ClassVar[Task]
    TASK_OPEN: _ClassVar[Task]
    TASK_CAPTION: _ClassVar[Task]
    TASK_ANSWER: _ClassVar[Task]
    TASK_READ_TEXT: _ClassVar[Task]
    TASK_DETECT: _ClassVar[Task]
    TASK_SEGMENT: _ClassVar[Task]

class Role(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ROLE_UNSPECIFIED: _ClassVar[Role]
    ROLE_USER: _ClassVar[Role]
    ROLE_MODEL: _ClassVar[Role]
    ROLE_SYSTEM: _ClassVar[Role]

class FinishReason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    FINISH_REASON_UNSPECIFIED: _ClassVar[FinishReason]
    FINISH_REASON_STOP: _ClassVar[FinishReason]
    FINISH_REASON_MAX_TOKENS: _ClassVar[FinishReason]
    FINISH_REASON_BLOCKED: _ClassVar[FinishReason]
    FINISH_REASON_OTHER: _ClassVar[FinishReason]

class SupersededReason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SUPERSEDED_REASON_UNSPECIFIED: _ClassVar[SupersededReason]
    SUPERSEDED_REASON_BROKEN: _ClassVar[SupersededReason]
    SUPERSEDED_REASON_SLOW: _ClassVar[SupersededReason]
    SUPERSEDED_REASON_UNSURE: _ClassVar[SupersededReason]
    SUPERSEDED_REASON_NO_ANSWER: _ClassVar[SupersededReason]

class CacheControl(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    CACHE_CONTROL_UNSPECIFIED: _ClassVar[CacheControl]
    CACHE_CONTROL_NO_STORE: _ClassVar[CacheControl]
    CACHE_CONTROL_REFRESH: _ClassVar[CacheControl]

class Priority(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PRIORITY_UNSPECIFIED: _ClassVar[Priority]
    PRIORITY_LOW: _ClassVar[Priority]
    PRIORITY_NORMAL: _ClassVar[Priority]
    PRIORITY_HIGH: _ClassVar[Priority]

class ThinkingLevel(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    THINKING_LEVEL_UNSPECIFIED: _ClassVar[ThinkingLevel]
    THINKING_LEVEL_MINIMAL: _ClassVar[ThinkingLevel]
    THINKING_LEVEL_LOW: _ClassVar[ThinkingLevel]
    THINKING_LEVEL_MEDIUM: _ClassVar[ThinkingLevel]
    THINKING_LEVEL_HIGH: _ClassVar[ThinkingLevel]

class MediaResolution(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    MEDIA_RESOLUTION_UNSPECIFIED: _ClassVar[MediaResolution]
    MEDIA_RESOLUTION_LOW: _ClassVar[MediaResolution]
    MEDIA_RESOLUTION_MEDIUM: _ClassVar[MediaResolution]
    MEDIA_RESOLUTION_HIGH: _ClassVar[MediaResolution]
TASK_UNSPECIFIED: Task
TASK_OPEN: Task
TASK_CAPTION: Task
TASK_ANSWER: Task
TASK_READ_TEXT: Task
TASK_DETECT: Task
TASK_SEGMENT: Task
ROLE_UNSPECIFIED: Role
ROLE_USER: Role
ROLE_MODEL: Role
ROLE_SYSTEM: Role
FINISH_REASON_UNSPECIFIED: FinishReason
FINISH_REASON_STOP: FinishReason
FINISH_REASON_MAX_TOKENS: FinishReason
FINISH_REASON_BLOCKED: FinishReason
FINISH_REASON_OTHER: FinishReason
SUPERSEDED_REASON_UNSPECIFIED: SupersededReason
SUPERSEDED_REASON_BROKEN: SupersededReason
SUPERSEDED_REASON_SLOW: SupersededReason
SUPERSEDED_REASON_UNSURE: SupersededReason
SUPERSEDED_REASON_NO_ANSWER: SupersededReason
CACHE_CONTROL_UNSPECIFIED: CacheControl
CACHE_CONTROL_NO_STORE: CacheControl
CACHE_CONTROL_REFRESH: CacheControl
PRIORITY_UNSPECIFIED: Priority
PRIORITY_LOW: Priority
PRIORITY_NORMAL: Priority
PRIORITY_HIGH: Priority
THINKING_LEVEL_UNSPECIFIED: ThinkingLevel
THINKING_LEVEL_MINIMAL: ThinkingLevel
THINKING_LEVEL_LOW: ThinkingLevel
THINKING_LEVEL_MEDIUM: ThinkingLevel
THINKING_LEVEL_HIGH: ThinkingLevel
MEDIA_RESOLUTION_UNSPECIFIED: MediaResolution
MEDIA_RESOLUTION_LOW: MediaResolution
MEDIA_RESOLUTION_MEDIUM: MediaResolution
MEDIA_RESOLUTION_HIGH: MediaResolution

class Part(_message.Message):
    __slots__ = ("text", "media")
    TEXT_FIELD_NUMBER: _ClassVar[int]
    MEDIA_FIELD_NUMBER: _ClassVar[int]
    text: str
    media: _media_pb2.Media
    def __init__(self, text: _Optional[str] = ..., media: _Optional[_Union[_media_pb2.Media, _Mapping]] = ...) -> None: ...

class Message(_message.Message):
    __slots__ = ("role", "parts")
    ROLE_FIELD_NUMBER: _ClassVar[int]
    PARTS_FIELD_NUMBER: _ClassVar[int]
    role: Role
    parts: _containers.RepeatedCompositeFieldContainer[Part]
    def __init__(self, role: _Optional[_Union[Role, str]] = ..., parts: _Optional[_Iterable[_Union[Part, _Mapping]]] = ...) -> None: ...

class GenerationConfig(_message.Message):
    __slots__ = ("max_tokens", "temperature", "top_p", "top_k", "seed", "stop", "json_schema", "thinking_level", "media_resolution")
    MAX_TOKENS_FIELD_NUMBER: _ClassVar[int]
    TEMPERATURE_FIELD_NUMBER: _ClassVar[int]
    TOP_P_FIELD_NUMBER: _ClassVar[int]
    TOP_K_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    STOP_FIELD_NUMBER: _ClassVar[int]
    JSON_SCHEMA_FIELD_NUMBER: _ClassVar[int]
    THINKING_LEVEL_FIELD_NUMBER: _ClassVar[int]
    MEDIA_RESOLUTION_FIELD_NUMBER: _ClassVar[int]
    max_tokens: int
    temperature: float
    top_p: float
    top_k: int
    seed: int
    stop: _containers.RepeatedScalarFieldContainer[str]
    json_schema: str
    thinking_level: ThinkingLevel
    media_resolution: MediaResolution
    def __init__(self, max_tokens: _Optional[int] = ..., temperature: _Optional[float] = ..., top_p: _Optional[float] = ..., top_k: _Optional[int] = ..., seed: _Optional[int] = ..., stop: _Optional[_Iterable[str]] = ..., json_schema: _Optional[str] = ..., thinking_level: _Optional[_Union[ThinkingLevel, str]] = ..., media_resolution: _Optional[_Union[MediaResolution, str]] = ...) -> None: ...

class Routing(_message.Message):
    __slots__ = ("allow_fallback", "min_confidence", "max_cost_nanousd", "cache_control", "priority")
    ALLOW_FALLBACK_FIELD_NUMBER: _ClassVar[int]
    MIN_CONFIDENCE_FIELD_NUMBER: _ClassVar[int]
    MAX_COST_NANOUSD_FIELD_NUMBER: _ClassVar[int]
    CACHE_CONTROL_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    allow_fallback: bool
    min_confidence: float
    max_cost_nanousd: int
    cache_control: CacheControl
    priority: Priority
    def __init__(self, allow_fallback: _Optional[bool] = ..., min_confidence: _Optional[float] = ..., max_cost_nanousd: _Optional[int] = ..., cache_control: _Optional[_Union[CacheControl, str]] = ..., priority: _Optional[_Union[Priority, str]] = ...) -> None: ...

class GenerateRequest(_message.Message):
    __slots__ = ("model", "task", "messages", "config", "routing", "request_id")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    TASK_FIELD_NUMBER: _ClassVar[int]
    MESSAGES_FIELD_NUMBER: _ClassVar[int]
    CONFIG_FIELD_NUMBER: _ClassVar[int]
    ROUTING_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    model: str
    task: Task
    messages: _containers.RepeatedCompositeFieldContainer[Message]
    config: GenerationConfig
    routing: Routing
    request_id: str
    def __init__(self, model: _Optional[str] = ..., task: _Optional[_Union[Task, str]] = ..., messages: _Optional[_Iterable[_Union[Message, _Mapping]]] = ..., config: _Optional[_Union[GenerationConfig, _Mapping]] = ..., routing: _Optional[_Union[Routing, _Mapping]] = ..., request_id: _Optional[str] = ...) -> None: ...

class Attempt(_message.Message):
    __slots__ = ("model", "revision", "status", "time_to_first_token", "duration", "usage")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    TIME_TO_FIRST_TOKEN_FIELD_NUMBER: _ClassVar[int]
    DURATION_FIELD_NUMBER: _ClassVar[int]
    USAGE_FIELD_NUMBER: _ClassVar[int]
    model: str
    revision: str
    status: str
    time_to_first_token: _duration_pb2.Duration
    duration: _duration_pb2.Duration
    usage: _usage_pb2.Usage
    def __init__(self, model: _Optional[str] = ..., revision: _Optional[str] = ..., status: _Optional[str] = ..., time_to_first_token: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., duration: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., usage: _Optional[_Union[_usage_pb2.Usage, _Mapping]] = ...) -> None: ...

class Route(_message.Message):
    __slots__ = ("attempts", "time_to_first_token", "duration")
    ATTEMPTS_FIELD_NUMBER: _ClassVar[int]
    TIME_TO_FIRST_TOKEN_FIELD_NUMBER: _ClassVar[int]
    DURATION_FIELD_NUMBER: _ClassVar[int]
    attempts: _containers.RepeatedCompositeFieldContainer[Attempt]
    time_to_first_token: _duration_pb2.Duration
    duration: _duration_pb2.Duration
    def __init__(self, attempts: _Optional[_Iterable[_Union[Attempt, _Mapping]]] = ..., time_to_first_token: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., duration: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class Token(_message.Message):
    __slots__ = ("id", "logprob")
    ID_FIELD_NUMBER: _ClassVar[int]
    LOGPROB_FIELD_NUMBER: _ClassVar[int]
    id: int
    logprob: float
    def __init__(self, id: _Optional[int] = ..., logprob: _Optional[float] = ...) -> None: ...

class Finished(_message.Message):
    __slots__ = ("finish_reason", "finish_detail", "usage", "confidence", "route", "detections")
    FINISH_REASON_FIELD_NUMBER: _ClassVar[int]
    FINISH_DETAIL_FIELD_NUMBER: _ClassVar[int]
    USAGE_FIELD_NUMBER: _ClassVar[int]
    CONFIDENCE_FIELD_NUMBER: _ClassVar[int]
    ROUTE_FIELD_NUMBER: _ClassVar[int]
    DETECTIONS_FIELD_NUMBER: _ClassVar[int]
    finish_reason: FinishReason
    finish_detail: str
    usage: _usage_pb2.Usage
    confidence: float
    route: Route
    detections: _containers.RepeatedCompositeFieldContainer[_media_pb2.Detection]
    def __init__(self, finish_reason: _Optional[_Union[FinishReason, str]] = ..., finish_detail: _Optional[str] = ..., usage: _Optional[_Union[_usage_pb2.Usage, _Mapping]] = ..., confidence: _Optional[float] = ..., route: _Optional[_Union[Route, _Mapping]] = ..., detections: _Optional[_Iterable[_Union[_media_pb2.Detection, _Mapping]]] = ...) -> None: ...

class GenerateResponse(_message.Message):
    __slots__ = ("text", "finished", "model", "request_id")
    TEXT_FIELD_NUMBER: _ClassVar[int]
    FINISHED_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    text: str
    finished: Finished
    model: str
    request_id: str
    def __init__(self, text: _Optional[str] = ..., finished: _Optional[_Union[Finished, _Mapping]] = ..., model: _Optional[str] = ..., request_id: _Optional[str] = ...) -> None: ...

class Started(_message.Message):
    __slots__ = ("model", "attempt", "request_id")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    model: str
    attempt: int
    request_id: str
    def __init__(self, model: _Optional[str] = ..., attempt: _Optional[int] = ..., request_id: _Optional[str] = ...) -> None: ...

class Delta(_message.Message):
    __slots__ = ("text", "tokens")
    TEXT_FIELD_NUMBER: _ClassVar[int]
    TOKENS_FIELD_NUMBER: _ClassVar[int]
    text: str
    tokens: _containers.RepeatedCompositeFieldContainer[Token]
    def __init__(self, text: _Optional[str] = ..., tokens: _Optional[_Iterable[_Union[Token, _Mapping]]] = ...) -> None: ...

class Superseded(_message.Message):
    __slots__ = ("attempt", "reason", "next_model")
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    NEXT_MODEL_FIELD_NUMBER: _ClassVar[int]
    attempt: int
    reason: SupersededReason
    next_model: str
    def __init__(self, attempt: _Optional[int] = ..., reason: _Optional[_Union[SupersededReason, str]] = ..., next_model: _Optional[str] = ...) -> None: ...

class StreamGenerateResponse(_message.Message):
    __slots__ = ("started", "delta", "superseded", "finished")
    STARTED_FIELD_NUMBER: _ClassVar[int]
    DELTA_FIELD_NUMBER: _ClassVar[int]
    SUPERSEDED_FIELD_NUMBER: _ClassVar[int]
    FINISHED_FIELD_NUMBER: _ClassVar[int]
    started: Started
    delta: Delta
    superseded: Superseded
    finished: Finished
    def __init__(self, started: _Optional[_Union[Started, _Mapping]] = ..., delta: _Optional[_Union[Delta, _Mapping]] = ..., superseded: _Optional[_Union[Superseded, _Mapping]] = ..., finished: _Optional[_Union[Finished, _Mapping]] = ...) -> None: ...
