import datetime

from chiasm.v1 import embedding_pb2 as _embedding_pb2
from chiasm.v1 import generation_pb2 as _generation_pb2
from chiasm.v1 import media_pb2 as _media_pb2
from chiasm.v1 import models_pb2 as _models_pb2
from chiasm.v1 import usage_pb2 as _usage_pb2
from google.protobuf import any_pb2 as _any_pb2
from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class FieldType(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    FIELD_TYPE_UNSPECIFIED: _ClassVar[FieldType]
    FIELD_TYPE_STRING: _ClassVar[FieldType]
    FIELD_TYPE_INTEGER: _ClassVar[FieldType]
    FIELD_TYPE_NUMBER: _ClassVar[FieldType]
    FIELD_TYPE_BOOLEAN: _ClassVar[FieldType]
    FIELD_TYPE_TIMESTAMP: _ClassVar[FieldType]

class Comparison(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    COMPARISON_UNSPECIFIED: _ClassVar[Comparison]
    COMPARISON_IN: _ClassVar[Comparison]
    COMPARISON_NOT_IN: _ClassVar[Comparison]
    COMPARISON_LESS: _ClassVar[Comparison]
    COMPARISON_AT_MOST: _ClassVar[Comparison]
    COMPARISON_GREATER: _ClassVar[Comparison]
    COMPARISON_AT_LEAST: _ClassVar[Comparison]

class Precision(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PRECISION_UNSPECIFIED: _ClassVar[Precision]
    PRECISION_FLOAT32: _ClassVar[Precision]
    PRECISION_FLOAT16: _ClassVar[Precision]
    PRECISION_INT8: _ClassVar[Precision]
    PRECISION_BINARY: _ClassVar[Precision]

class SearchMode(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SEARCH_MODE_UNSPECIFIED: _ClassVar[SearchMode]
    SEARCH_MODE_MEANING: _ClassVar[SearchMode]
    SEARCH_MODE_WORDS: _ClassVar[SearchMode]
    SEARCH_MODE_HYBRID: _ClassVar[SearchMode]

class DroppedReason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    DROPPED_REASON_UNSPECIFIED: _ClassVar[DroppedReason]
    DROPPED_REASON_NO_SUCH_SOURCE: _ClassVar[DroppedReason]
    DROPPED_REASON_NOT_USED: _ClassVar[DroppedReason]
    DROPPED_REASON_NOT_SUPPORTING: _ClassVar[DroppedReason]
FIELD_TYPE_UNSPECIFIED: FieldType
FIELD_TYPE_STRING: FieldType
FIELD_TYPE_INTEGER: FieldType
FIELD_TYPE_NUMBER: FieldType
FIELD_TYPE_BOOLEAN: FieldType
FIELD_TYPE_TIMESTAMP: FieldType
COMPARISON_UNSPECIFIED: Comparison
COMPARISON_IN: Comparison
COMPARISON_NOT_IN: Comparison
COMPARISON_LESS: Comparison
COMPARISON_AT_MOST: Comparison
COMPARISON_GREATER: Comparison
COMPARISON_AT_LEAST: Comparison
PRECISION_UNSPECIFIED: Precision
PRECISION_FLOAT32: Precision
PRECISION_FLOAT16: Precision
PRECISION_INT8: Precision
PRECISION_BINARY: Precision
SEARCH_MODE_UNSPECIFIED: SearchMode
SEARCH_MODE_MEANING: SearchMode
SEARCH_MODE_WORDS: SearchMode
SEARCH_MODE_HYBRID: SearchMode
DROPPED_REASON_UNSPECIFIED: DroppedReason
DROPPED_REASON_NO_SUCH_SOURCE: DroppedReason
DROPPED_REASON_NOT_USED: DroppedReason
DROPPED_REASON_NOT_SUPPORTING: DroppedReason

class Field(_message.Message):
    __slots__ = ("name", "type")
    NAME_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    name: str
    type: FieldType
    def __init__(self, name: _Optional[str] = ..., type: _Optional[_Union[FieldType, str]] = ...) -> None: ...

class Value(_message.Message):
    __slots__ = ("string_value", "integer_value", "number_value", "boolean_value", "timestamp_value")
    STRING_VALUE_FIELD_NUMBER: _ClassVar[int]
    INTEGER_VALUE_FIELD_NUMBER: _ClassVar[int]
    NUMBER_VALUE_FIELD_NUMBER: _ClassVar[int]
    BOOLEAN_VALUE_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMP_VALUE_FIELD_NUMBER: _ClassVar[int]
    string_value: str
    integer_value: int
    number_value: float
    boolean_value: bool
    timestamp_value: _timestamp_pb2.Timestamp
    def __init__(self, string_value: _Optional[str] = ..., integer_value: _Optional[int] = ..., number_value: _Optional[float] = ..., boolean_value: _Optional[bool] = ..., timestamp_value: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class Condition(_message.Message):
    __slots__ = ("field", "comparison", "values")
    FIELD_FIELD_NUMBER: _ClassVar[int]
    COMPARISON_FIELD_NUMBER: _ClassVar[int]
    VALUES_FIELD_NUMBER: _ClassVar[int]
    field: str
    comparison: Comparison
    values: _containers.RepeatedCompositeFieldContainer[Value]
    def __init__(self, field: _Optional[str] = ..., comparison: _Optional[_Union[Comparison, str]] = ..., values: _Optional[_Iterable[_Union[Value, _Mapping]]] = ...) -> None: ...

class AnyOf(_message.Message):
    __slots__ = ("conditions",)
    CONDITIONS_FIELD_NUMBER: _ClassVar[int]
    conditions: _containers.RepeatedCompositeFieldContainer[Condition]
    def __init__(self, conditions: _Optional[_Iterable[_Union[Condition, _Mapping]]] = ...) -> None: ...

class Filter(_message.Message):
    __slots__ = ("clauses",)
    CLAUSES_FIELD_NUMBER: _ClassVar[int]
    clauses: _containers.RepeatedCompositeFieldContainer[AnyOf]
    def __init__(self, clauses: _Optional[_Iterable[_Union[AnyOf, _Mapping]]] = ...) -> None: ...

class IndexState(_message.Message):
    __slots__ = ("indexed_entries", "unindexed_entries", "recall", "measure_time")
    INDEXED_ENTRIES_FIELD_NUMBER: _ClassVar[int]
    UNINDEXED_ENTRIES_FIELD_NUMBER: _ClassVar[int]
    RECALL_FIELD_NUMBER: _ClassVar[int]
    MEASURE_TIME_FIELD_NUMBER: _ClassVar[int]
    indexed_entries: int
    unindexed_entries: int
    recall: float
    measure_time: _timestamp_pb2.Timestamp
    def __init__(self, indexed_entries: _Optional[int] = ..., unindexed_entries: _Optional[int] = ..., recall: _Optional[float] = ..., measure_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class Collection(_message.Message):
    __slots__ = ("name", "model", "revision", "form", "precision", "pool_factor", "fields", "document_count", "entry_count", "index", "max_staleness", "create_time")
    NAME_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    FORM_FIELD_NUMBER: _ClassVar[int]
    PRECISION_FIELD_NUMBER: _ClassVar[int]
    POOL_FACTOR_FIELD_NUMBER: _ClassVar[int]
    FIELDS_FIELD_NUMBER: _ClassVar[int]
    DOCUMENT_COUNT_FIELD_NUMBER: _ClassVar[int]
    ENTRY_COUNT_FIELD_NUMBER: _ClassVar[int]
    INDEX_FIELD_NUMBER: _ClassVar[int]
    MAX_STALENESS_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    name: str
    model: str
    revision: str
    form: _models_pb2.EmbeddingForm
    precision: Precision
    pool_factor: int
    fields: _containers.RepeatedCompositeFieldContainer[Field]
    document_count: int
    entry_count: int
    index: IndexState
    max_staleness: _duration_pb2.Duration
    create_time: _timestamp_pb2.Timestamp
    def __init__(self, name: _Optional[str] = ..., model: _Optional[str] = ..., revision: _Optional[str] = ..., form: _Optional[_Union[_models_pb2.EmbeddingForm, str]] = ..., precision: _Optional[_Union[Precision, str]] = ..., pool_factor: _Optional[int] = ..., fields: _Optional[_Iterable[_Union[Field, _Mapping]]] = ..., document_count: _Optional[int] = ..., entry_count: _Optional[int] = ..., index: _Optional[_Union[IndexState, _Mapping]] = ..., max_staleness: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class CreateCollectionRequest(_message.Message):
    __slots__ = ("collection",)
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    collection: Collection
    def __init__(self, collection: _Optional[_Union[Collection, _Mapping]] = ...) -> None: ...

class CreateCollectionResponse(_message.Message):
    __slots__ = ("collection",)
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    collection: Collection
    def __init__(self, collection: _Optional[_Union[Collection, _Mapping]] = ...) -> None: ...

class GetCollectionRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class GetCollectionResponse(_message.Message):
    __slots__ = ("collection",)
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    collection: Collection
    def __init__(self, collection: _Optional[_Union[Collection, _Mapping]] = ...) -> None: ...

class ListCollectionsRequest(_message.Message):
    __slots__ = ("page_size", "page_token")
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListCollectionsResponse(_message.Message):
    __slots__ = ("collections", "next_page_token")
    COLLECTIONS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    collections: _containers.RepeatedCompositeFieldContainer[Collection]
    next_page_token: str
    def __init__(self, collections: _Optional[_Iterable[_Union[Collection, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class DeleteCollectionRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class DeleteCollectionResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Document(_message.Message):
    __slots__ = ("id", "text", "media", "caption", "metadata")
    class MetadataEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: Value
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[Value, _Mapping]] = ...) -> None: ...
    ID_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    MEDIA_FIELD_NUMBER: _ClassVar[int]
    CAPTION_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    id: str
    text: str
    media: _media_pb2.Media
    caption: str
    metadata: _containers.MessageMap[str, Value]
    def __init__(self, id: _Optional[str] = ..., text: _Optional[str] = ..., media: _Optional[_Union[_media_pb2.Media, _Mapping]] = ..., caption: _Optional[str] = ..., metadata: _Optional[_Mapping[str, Value]] = ...) -> None: ...

class IndexRequest(_message.Message):
    __slots__ = ("collection", "document")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    DOCUMENT_FIELD_NUMBER: _ClassVar[int]
    collection: str
    document: Document
    def __init__(self, collection: _Optional[str] = ..., document: _Optional[_Union[Document, _Mapping]] = ...) -> None: ...

class IndexedDocument(_message.Message):
    __slots__ = ("entry_count", "unchanged")
    ENTRY_COUNT_FIELD_NUMBER: _ClassVar[int]
    UNCHANGED_FIELD_NUMBER: _ClassVar[int]
    entry_count: int
    unchanged: bool
    def __init__(self, entry_count: _Optional[int] = ..., unchanged: _Optional[bool] = ...) -> None: ...

class IndexResponse(_message.Message):
    __slots__ = ("document_id", "index", "indexed", "error")
    DOCUMENT_ID_FIELD_NUMBER: _ClassVar[int]
    INDEX_FIELD_NUMBER: _ClassVar[int]
    INDEXED_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    document_id: str
    index: int
    indexed: IndexedDocument
    error: _any_pb2.Any
    def __init__(self, document_id: _Optional[str] = ..., index: _Optional[int] = ..., indexed: _Optional[_Union[IndexedDocument, _Mapping]] = ..., error: _Optional[_Union[_any_pb2.Any, _Mapping]] = ...) -> None: ...

class DeleteDocumentsRequest(_message.Message):
    __slots__ = ("collection", "document_ids")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    DOCUMENT_IDS_FIELD_NUMBER: _ClassVar[int]
    collection: str
    document_ids: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, collection: _Optional[str] = ..., document_ids: _Optional[_Iterable[str]] = ...) -> None: ...

class DeleteDocumentsResponse(_message.Message):
    __slots__ = ("deleted_count",)
    DELETED_COUNT_FIELD_NUMBER: _ClassVar[int]
    deleted_count: int
    def __init__(self, deleted_count: _Optional[int] = ...) -> None: ...

class SearchRequest(_message.Message):
    __slots__ = ("collection", "text", "image", "image_weight", "mode", "limit", "filter", "exact", "with_picture", "explain", "model", "revision", "request_id")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    IMAGE_WEIGHT_FIELD_NUMBER: _ClassVar[int]
    MODE_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    EXACT_FIELD_NUMBER: _ClassVar[int]
    WITH_PICTURE_FIELD_NUMBER: _ClassVar[int]
    EXPLAIN_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    collection: str
    text: str
    image: _media_pb2.Media
    image_weight: float
    mode: SearchMode
    limit: int
    filter: Filter
    exact: bool
    with_picture: bool
    explain: bool
    model: str
    revision: str
    request_id: str
    def __init__(self, collection: _Optional[str] = ..., text: _Optional[str] = ..., image: _Optional[_Union[_media_pb2.Media, _Mapping]] = ..., image_weight: _Optional[float] = ..., mode: _Optional[_Union[SearchMode, str]] = ..., limit: _Optional[int] = ..., filter: _Optional[_Union[Filter, _Mapping]] = ..., exact: _Optional[bool] = ..., with_picture: _Optional[bool] = ..., explain: _Optional[bool] = ..., model: _Optional[str] = ..., revision: _Optional[str] = ..., request_id: _Optional[str] = ...) -> None: ...

class Moment(_message.Message):
    __slots__ = ("start", "end")
    START_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    start: _duration_pb2.Duration
    end: _duration_pb2.Duration
    def __init__(self, start: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., end: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class WordMatch(_message.Message):
    __slots__ = ("word", "score", "heat")
    WORD_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    HEAT_FIELD_NUMBER: _ClassVar[int]
    word: str
    score: float
    heat: _embedding_pb2.Tensor
    def __init__(self, word: _Optional[str] = ..., score: _Optional[float] = ..., heat: _Optional[_Union[_embedding_pb2.Tensor, _Mapping]] = ...) -> None: ...

class Explanation(_message.Message):
    __slots__ = ("words",)
    WORDS_FIELD_NUMBER: _ClassVar[int]
    words: _containers.RepeatedCompositeFieldContainer[WordMatch]
    def __init__(self, words: _Optional[_Iterable[_Union[WordMatch, _Mapping]]] = ...) -> None: ...

class Hit(_message.Message):
    __slots__ = ("document_id", "page", "moment", "score", "text", "metadata", "picture", "size", "explanation")
    class MetadataEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: Value
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[Value, _Mapping]] = ...) -> None: ...
    DOCUMENT_ID_FIELD_NUMBER: _ClassVar[int]
    PAGE_FIELD_NUMBER: _ClassVar[int]
    MOMENT_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    PICTURE_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    EXPLANATION_FIELD_NUMBER: _ClassVar[int]
    document_id: str
    page: int
    moment: Moment
    score: float
    text: str
    metadata: _containers.MessageMap[str, Value]
    picture: _media_pb2.Media
    size: _media_pb2.Size
    explanation: Explanation
    def __init__(self, document_id: _Optional[str] = ..., page: _Optional[int] = ..., moment: _Optional[_Union[Moment, _Mapping]] = ..., score: _Optional[float] = ..., text: _Optional[str] = ..., metadata: _Optional[_Mapping[str, Value]] = ..., picture: _Optional[_Union[_media_pb2.Media, _Mapping]] = ..., size: _Optional[_Union[_media_pb2.Size, _Mapping]] = ..., explanation: _Optional[_Union[Explanation, _Mapping]] = ...) -> None: ...

class SearchResponse(_message.Message):
    __slots__ = ("hits", "model", "revision", "usage", "request_id")
    HITS_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    USAGE_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    hits: _containers.RepeatedCompositeFieldContainer[Hit]
    model: str
    revision: str
    usage: _usage_pb2.Usage
    request_id: str
    def __init__(self, hits: _Optional[_Iterable[_Union[Hit, _Mapping]]] = ..., model: _Optional[str] = ..., revision: _Optional[str] = ..., usage: _Optional[_Union[_usage_pb2.Usage, _Mapping]] = ..., request_id: _Optional[str] = ...) -> None: ...

class AskRequest(_message.Message):
    __slots__ = ("search", "question", "model", "config", "routing", "request_id")
    SEARCH_FIELD_NUMBER: _ClassVar[int]
    QUESTION_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    CONFIG_FIELD_NUMBER: _ClassVar[int]
    ROUTING_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    search: SearchRequest
    question: str
    model: str
    config: _generation_pb2.GenerationConfig
    routing: _generation_pb2.Routing
    request_id: str
    def __init__(self, search: _Optional[_Union[SearchRequest, _Mapping]] = ..., question: _Optional[str] = ..., model: _Optional[str] = ..., config: _Optional[_Union[_generation_pb2.GenerationConfig, _Mapping]] = ..., routing: _Optional[_Union[_generation_pb2.Routing, _Mapping]] = ..., request_id: _Optional[str] = ...) -> None: ...

class Citation(_message.Message):
    __slots__ = ("number", "hit", "quote")
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    HIT_FIELD_NUMBER: _ClassVar[int]
    QUOTE_FIELD_NUMBER: _ClassVar[int]
    number: int
    hit: Hit
    quote: str
    def __init__(self, number: _Optional[int] = ..., hit: _Optional[_Union[Hit, _Mapping]] = ..., quote: _Optional[str] = ...) -> None: ...

class DroppedCitation(_message.Message):
    __slots__ = ("number", "hit", "reason", "detail")
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    HIT_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    number: int
    hit: Hit
    reason: DroppedReason
    detail: str
    def __init__(self, number: _Optional[int] = ..., hit: _Optional[_Union[Hit, _Mapping]] = ..., reason: _Optional[_Union[DroppedReason, str]] = ..., detail: _Optional[str] = ...) -> None: ...

class AskResponse(_message.Message):
    __slots__ = ("text", "citations", "dropped", "confidence", "usage", "route", "request_id")
    TEXT_FIELD_NUMBER: _ClassVar[int]
    CITATIONS_FIELD_NUMBER: _ClassVar[int]
    DROPPED_FIELD_NUMBER: _ClassVar[int]
    CONFIDENCE_FIELD_NUMBER: _ClassVar[int]
    USAGE_FIELD_NUMBER: _ClassVar[int]
    ROUTE_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    text: str
    citations: _containers.RepeatedCompositeFieldContainer[Citation]
    dropped: _containers.RepeatedCompositeFieldContainer[DroppedCitation]
    confidence: float
    usage: _usage_pb2.Usage
    route: _generation_pb2.Route
    request_id: str
    def __init__(self, text: _Optional[str] = ..., citations: _Optional[_Iterable[_Union[Citation, _Mapping]]] = ..., dropped: _Optional[_Iterable[_Union[DroppedCitation, _Mapping]]] = ..., confidence: _Optional[float] = ..., usage: _Optional[_Union[_usage_pb2.Usage, _Mapping]] = ..., route: _Optional[_Union[_generation_pb2.Route, _Mapping]] = ..., request_id: _Optional[str] = ...) -> None: ...
