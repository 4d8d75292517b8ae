import datetime

from chiasm.v1 import generation_pb2 as _generation_pb2
from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ExplainRouteRequest(_message.Message):
    __slots__ = ("request",)
    REQUEST_FIELD_NUMBER: _ClassVar[int]
    request: _generation_pb2.GenerateRequest
    def __init__(self, request: _Optional[_Union[_generation_pb2.GenerateRequest, _Mapping]] = ...) -> None: ...

class ConsideredModel(_message.Message):
    __slots__ = ("model", "provider", "server", "place", "verdict", "expected_time_to_first_token", "expected_time", "guessed", "outstanding", "expected_cost_nanousd", "min_confidence")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    PROVIDER_FIELD_NUMBER: _ClassVar[int]
    SERVER_FIELD_NUMBER: _ClassVar[int]
    PLACE_FIELD_NUMBER: _ClassVar[int]
    VERDICT_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_TIME_TO_FIRST_TOKEN_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_TIME_FIELD_NUMBER: _ClassVar[int]
    GUESSED_FIELD_NUMBER: _ClassVar[int]
    OUTSTANDING_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_COST_NANOUSD_FIELD_NUMBER: _ClassVar[int]
    MIN_CONFIDENCE_FIELD_NUMBER: _ClassVar[int]
    model: str
    provider: str
    server: int
    place: int
    verdict: str
    expected_time_to_first_token: _duration_pb2.Duration
    expected_time: _duration_pb2.Duration
    guessed: bool
    outstanding: _duration_pb2.Duration
    expected_cost_nanousd: int
    min_confidence: float
    def __init__(self, model: _Optional[str] = ..., provider: _Optional[str] = ..., server: _Optional[int] = ..., place: _Optional[int] = ..., verdict: _Optional[str] = ..., expected_time_to_first_token: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., expected_time: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., guessed: _Optional[bool] = ..., outstanding: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., expected_cost_nanousd: _Optional[int] = ..., min_confidence: _Optional[float] = ...) -> None: ...

class ExplainRouteResponse(_message.Message):
    __slots__ = ("policy_revision", "considered", "refusal")
    POLICY_REVISION_FIELD_NUMBER: _ClassVar[int]
    CONSIDERED_FIELD_NUMBER: _ClassVar[int]
    REFUSAL_FIELD_NUMBER: _ClassVar[int]
    policy_revision: str
    considered: _containers.RepeatedCompositeFieldContainer[ConsideredModel]
    refusal: str
    def __init__(self, policy_revision: _Optional[str] = ..., considered: _Optional[_Iterable[_Union[ConsideredModel, _Mapping]]] = ..., refusal: _Optional[str] = ...) -> None: ...
