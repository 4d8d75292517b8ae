from chiasm.v1 import generation_pb2 as _generation_pb2
from chiasm.v1 import usage_pb2 as _usage_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Modality(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    MODALITY_UNSPECIFIED: _ClassVar[Modality]
    MODALITY_IMAGE: _ClassVar[Modality]
    MODALITY_DOCUMENT: _ClassVar[Modality]
    MODALITY_VIDEO: _ClassVar[Modality]
    MODALITY_AUDIO: _ClassVar[Modality]

class EmbeddingForm(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    EMBEDDING_FORM_UNSPECIFIED: _ClassVar[EmbeddingForm]
    EMBEDDING_FORM_SINGLE_VECTOR: _ClassVar[EmbeddingForm]
    EMBEDDING_FORM_LATE_INTERACTION: _ClassVar[EmbeddingForm]
MODALITY_UNSPECIFIED: Modality
MODALITY_IMAGE: Modality
MODALITY_DOCUMENT: Modality
MODALITY_VIDEO: Modality
MODALITY_AUDIO: Modality
EMBEDDING_FORM_UNSPECIFIED: EmbeddingForm
EMBEDDING_FORM_SINGLE_VECTOR: EmbeddingForm
EMBEDDING_FORM_LATE_INTERACTION: EmbeddingForm

class ModelLimits(_message.Message):
    __slots__ = ("max_context_tokens", "max_output_tokens", "min_media", "max_media", "max_media_bytes", "max_image_pixels", "max_items")
    MAX_CONTEXT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    MAX_OUTPUT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    MIN_MEDIA_FIELD_NUMBER: _ClassVar[int]
    MAX_MEDIA_FIELD_NUMBER: _ClassVar[int]
    MAX_MEDIA_BYTES_FIELD_NUMBER: _ClassVar[int]
    MAX_IMAGE_PIXELS_FIELD_NUMBER: _ClassVar[int]
    MAX_ITEMS_FIELD_NUMBER: _ClassVar[int]
    max_context_tokens: int
    max_output_tokens: int
    min_media: int
    max_media: int
    max_media_bytes: int
    max_image_pixels: int
    max_items: int
    def __init__(self, max_context_tokens: _Optional[int] = ..., max_output_tokens: _Optional[int] = ..., min_media: _Optional[int] = ..., max_media: _Optional[int] = ..., max_media_bytes: _Optional[int] = ..., max_image_pixels: _Optional[int] = ..., max_items: _Optional[int] = ...) -> None: ...

class EmbeddingInfo(_message.Message):
    __slots__ = ("form", "dimensions", "logit_scale", "logit_bias")
    FORM_FIELD_NUMBER: _ClassVar[int]
    DIMENSIONS_FIELD_NUMBER: _ClassVar[int]
    LOGIT_SCALE_FIELD_NUMBER: _ClassVar[int]
    LOGIT_BIAS_FIELD_NUMBER: _ClassVar[int]
    form: EmbeddingForm
    dimensions: int
    logit_scale: float
    logit_bias: float
    def __init__(self, form: _Optional[_Union[EmbeddingForm, str]] = ..., dimensions: _Optional[int] = ..., logit_scale: _Optional[float] = ..., logit_bias: _Optional[float] = ...) -> None: ...

class ModelLoad(_message.Message):
    __slots__ = ("running", "waiting", "kv_cache_usage")
    RUNNING_FIELD_NUMBER: _ClassVar[int]
    WAITING_FIELD_NUMBER: _ClassVar[int]
    KV_CACHE_USAGE_FIELD_NUMBER: _ClassVar[int]
    running: int
    waiting: int
    kv_cache_usage: float
    def __init__(self, running: _Optional[int] = ..., waiting: _Optional[int] = ..., kv_cache_usage: _Optional[float] = ...) -> None: ...

class Model(_message.Message):
    __slots__ = ("name", "revision", "provider", "tasks", "modalities", "limits", "price", "load", "ready", "embedding")
    NAME_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    PROVIDER_FIELD_NUMBER: _ClassVar[int]
    TASKS_FIELD_NUMBER: _ClassVar[int]
    MODALITIES_FIELD_NUMBER: _ClassVar[int]
    LIMITS_FIELD_NUMBER: _ClassVar[int]
    PRICE_FIELD_NUMBER: _ClassVar[int]
    LOAD_FIELD_NUMBER: _ClassVar[int]
    READY_FIELD_NUMBER: _ClassVar[int]
    EMBEDDING_FIELD_NUMBER: _ClassVar[int]
    name: str
    revision: str
    provider: str
    tasks: _containers.RepeatedScalarFieldContainer[_generation_pb2.Task]
    modalities: _containers.RepeatedScalarFieldContainer[Modality]
    limits: ModelLimits
    price: _usage_pb2.Price
    load: ModelLoad
    ready: bool
    embedding: EmbeddingInfo
    def __init__(self, name: _Optional[str] = ..., revision: _Optional[str] = ..., provider: _Optional[str] = ..., tasks: _Optional[_Iterable[_Union[_generation_pb2.Task, str]]] = ..., modalities: _Optional[_Iterable[_Union[Modality, str]]] = ..., limits: _Optional[_Union[ModelLimits, _Mapping]] = ..., price: _Optional[_Union[_usage_pb2.Price, _Mapping]] = ..., load: _Optional[_Union[ModelLoad, _Mapping]] = ..., ready: _Optional[bool] = ..., embedding: _Optional[_Union[EmbeddingInfo, _Mapping]] = ...) -> None: ...

class ListModelsRequest(_message.Message):
    __slots__ = ("page_size", "page_token")
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListModelsResponse(_message.Message):
    __slots__ = ("models", "next_page_token")
    MODELS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    models: _containers.RepeatedCompositeFieldContainer[Model]
    next_page_token: str
    def __init__(self, models: _Optional[_Iterable[_Union[Model, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class GetModelRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class GetModelResponse(_message.Message):
    __slots__ = ("model",)
    MODEL_FIELD_NUMBER: _ClassVar[int]
    model: Model
    def __init__(self, model: _Optional[_Union[Model, _Mapping]] = ...) -> None: ...
