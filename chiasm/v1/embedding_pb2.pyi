from chiasm.v1 import media_pb2 as _media_pb2
from chiasm.v1 import usage_pb2 as _usage_pb2
from google.protobuf import any_pb2 as _any_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class TextPurpose(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    TEXT_PURPOSE_UNSPECIFIED: _ClassVar[TextPurpose]
    TEXT_PURPOSE_QUERY: _ClassVar[TextPurpose]
    TEXT_PURPOSE_DOCUMENT: _ClassVar[TextPurpose]

class DataType(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    DATA_TYPE_UNSPECIFIED: _ClassVar[DataType]
    DATA_TYPE_FLOAT32: _ClassVar[DataType]
    DATA_TYPE_FLOAT16: _ClassVar[DataType]
    DATA_TYPE_INT8: _ClassVar[DataType]
    DATA_TYPE_BINARY: _ClassVar[DataType]
TEXT_PURPOSE_UNSPECIFIED: TextPurpose
TEXT_PURPOSE_QUERY: TextPurpose
TEXT_PURPOSE_DOCUMENT: TextPurpose
DATA_TYPE_UNSPECIFIED: DataType
DATA_TYPE_FLOAT32: DataType
DATA_TYPE_FLOAT16: DataType
DATA_TYPE_INT8: DataType
DATA_TYPE_BINARY: DataType

class Tensor(_message.Message):
    __slots__ = ("data", "dtype", "shape", "scales")
    DATA_FIELD_NUMBER: _ClassVar[int]
    DTYPE_FIELD_NUMBER: _ClassVar[int]
    SHAPE_FIELD_NUMBER: _ClassVar[int]
    SCALES_FIELD_NUMBER: _ClassVar[int]
    data: bytes
    dtype: DataType
    shape: _containers.RepeatedScalarFieldContainer[int]
    scales: bytes
    def __init__(self, data: _Optional[bytes] = ..., dtype: _Optional[_Union[DataType, str]] = ..., shape: _Optional[_Iterable[int]] = ..., scales: _Optional[bytes] = ...) -> None: ...

class EmbedItem(_message.Message):
    __slots__ = ("text", "media")
    TEXT_FIELD_NUMBER: _ClassVar[int]
    MEDIA_FIELD_NUMBER: _ClassVar[int]
    text: str
    media: _media_pb2.Media
    def __init__(self, text: _Optional[str] = ..., media: _Optional[_Union[_media_pb2.Media, _Mapping]] = ...) -> None: ...

class VectorOptions(_message.Message):
    __slots__ = ("dtype", "pool_factor")
    DTYPE_FIELD_NUMBER: _ClassVar[int]
    POOL_FACTOR_FIELD_NUMBER: _ClassVar[int]
    dtype: DataType
    pool_factor: int
    def __init__(self, dtype: _Optional[_Union[DataType, str]] = ..., pool_factor: _Optional[int] = ...) -> None: ...

class EmbedRequest(_message.Message):
    __slots__ = ("model", "items", "text_purpose", "request_id", "vectors")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    TEXT_PURPOSE_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    VECTORS_FIELD_NUMBER: _ClassVar[int]
    model: str
    items: _containers.RepeatedCompositeFieldContainer[EmbedItem]
    text_purpose: TextPurpose
    request_id: str
    vectors: VectorOptions
    def __init__(self, model: _Optional[str] = ..., items: _Optional[_Iterable[_Union[EmbedItem, _Mapping]]] = ..., text_purpose: _Optional[_Union[TextPurpose, str]] = ..., request_id: _Optional[str] = ..., vectors: _Optional[_Union[VectorOptions, _Mapping]] = ...) -> None: ...

class Embedding(_message.Message):
    __slots__ = ("tensor",)
    TENSOR_FIELD_NUMBER: _ClassVar[int]
    tensor: Tensor
    def __init__(self, tensor: _Optional[_Union[Tensor, _Mapping]] = ...) -> None: ...

class EmbedResponse(_message.Message):
    __slots__ = ("embeddings", "model", "revision", "usage", "request_id")
    EMBEDDINGS_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    USAGE_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    embeddings: _containers.RepeatedCompositeFieldContainer[Embedding]
    model: str
    revision: str
    usage: _usage_pb2.Usage
    request_id: str
    def __init__(self, embeddings: _Optional[_Iterable[_Union[Embedding, _Mapping]]] = ..., model: _Optional[str] = ..., revision: _Optional[str] = ..., usage: _Optional[_Union[_usage_pb2.Usage, _Mapping]] = ..., request_id: _Optional[str] = ...) -> None: ...

class EmbedStreamRequest(_message.Message):
    __slots__ = ("model", "text_purpose", "vectors", "request_id", "item")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    TEXT_PURPOSE_FIELD_NUMBER: _ClassVar[int]
    VECTORS_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    ITEM_FIELD_NUMBER: _ClassVar[int]
    model: str
    text_purpose: TextPurpose
    vectors: VectorOptions
    request_id: str
    item: EmbedItem
    def __init__(self, model: _Optional[str] = ..., text_purpose: _Optional[_Union[TextPurpose, str]] = ..., vectors: _Optional[_Union[VectorOptions, _Mapping]] = ..., request_id: _Optional[str] = ..., item: _Optional[_Union[EmbedItem, _Mapping]] = ...) -> None: ...

class EmbedStreamResponse(_message.Message):
    __slots__ = ("index", "embedding", "error", "model", "revision", "request_id", "usage")
    INDEX_FIELD_NUMBER: _ClassVar[int]
    EMBEDDING_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    USAGE_FIELD_NUMBER: _ClassVar[int]
    index: int
    embedding: Embedding
    error: _any_pb2.Any
    model: str
    revision: str
    request_id: str
    usage: _usage_pb2.Usage
    def __init__(self, index: _Optional[int] = ..., embedding: _Optional[_Union[Embedding, _Mapping]] = ..., error: _Optional[_Union[_any_pb2.Any, _Mapping]] = ..., model: _Optional[str] = ..., revision: _Optional[str] = ..., request_id: _Optional[str] = ..., usage: _Optional[_Union[_usage_pb2.Usage, _Mapping]] = ...) -> None: ...
