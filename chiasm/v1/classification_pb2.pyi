from chiasm.v1 import media_pb2 as _media_pb2
from chiasm.v1 import usage_pb2 as _usage_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class LabelMode(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    LABEL_MODE_UNSPECIFIED: _ClassVar[LabelMode]
    LABEL_MODE_INDEPENDENT: _ClassVar[LabelMode]
    LABEL_MODE_EXCLUSIVE: _ClassVar[LabelMode]
LABEL_MODE_UNSPECIFIED: LabelMode
LABEL_MODE_INDEPENDENT: LabelMode
LABEL_MODE_EXCLUSIVE: LabelMode

class ClassifyRequest(_message.Message):
    __slots__ = ("model", "image", "labels", "template", "mode", "request_id")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    TEMPLATE_FIELD_NUMBER: _ClassVar[int]
    MODE_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    model: str
    image: _media_pb2.Media
    labels: _containers.RepeatedScalarFieldContainer[str]
    template: str
    mode: LabelMode
    request_id: str
    def __init__(self, model: _Optional[str] = ..., image: _Optional[_Union[_media_pb2.Media, _Mapping]] = ..., labels: _Optional[_Iterable[str]] = ..., template: _Optional[str] = ..., mode: _Optional[_Union[LabelMode, str]] = ..., request_id: _Optional[str] = ...) -> None: ...

class LabelScore(_message.Message):
    __slots__ = ("label", "probability", "similarity")
    LABEL_FIELD_NUMBER: _ClassVar[int]
    PROBABILITY_FIELD_NUMBER: _ClassVar[int]
    SIMILARITY_FIELD_NUMBER: _ClassVar[int]
    label: str
    probability: float
    similarity: float
    def __init__(self, label: _Optional[str] = ..., probability: _Optional[float] = ..., similarity: _Optional[float] = ...) -> None: ...

class ClassifyResponse(_message.Message):
    __slots__ = ("scores", "model", "revision", "mode", "usage", "request_id")
    SCORES_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    MODE_FIELD_NUMBER: _ClassVar[int]
    USAGE_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    scores: _containers.RepeatedCompositeFieldContainer[LabelScore]
    model: str
    revision: str
    mode: LabelMode
    usage: _usage_pb2.Usage
    request_id: str
    def __init__(self, scores: _Optional[_Iterable[_Union[LabelScore, _Mapping]]] = ..., model: _Optional[str] = ..., revision: _Optional[str] = ..., mode: _Optional[_Union[LabelMode, str]] = ..., usage: _Optional[_Union[_usage_pb2.Usage, _Mapping]] = ..., request_id: _Optional[str] = ...) -> None: ...
