"""Between the contract's protos of search and this service's dataclasses."""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from math import isfinite

from google.protobuf.timestamp_pb2 import Timestamp

from chiasm.v1 import embedding_pb2, errors_pb2, media_pb2, models_pb2, search_pb2
from services.embedder.convert import media_from_proto, usage_to_proto
from services.embedder.embedding import Text
from services.embedder.explaining import Explanation, WordMatch
from services.embedder.index.entries import CollectionSpec, CollectionState, EntryKind, Hit
from services.embedder.index.fields import Field, FieldType, MetadataValue
from services.embedder.index.filters import Comparison, Condition, Filter
from services.embedder.indexing import Document, Outcome
from services.embedder.searching import Found, Mode, Question
from services.embedder.vectors.precision import Precision
from services.runtime.boundary import status_of
from services.runtime.durations import duration_of
from services.runtime.errors import InvalidArgument
from services.runtime.requests import MAX_TEXT_BYTES, check_enum, check_media, check_names, check_text

MAX_FIELDS, MAX_CLAUSES, MAX_CONDITIONS, MAX_VALUES, MAX_FILTER_VALUES = 64, 16, 16, 1_000, 4_000
MAX_LIMIT, DEFAULT_LIMIT, MAX_PICTURED = 1_000, 10, 100
MAX_ID_BYTES, MAX_STRING_BYTES, MAX_POOL_FACTOR = 512, 4_096, 16

_INDEX = "chiasm.v1.SearchService/Index"
_COLLECTION = re.compile(r"collections/([A-Za-z0-9_-]{1,64})")
_FIELD = re.compile(r"[a-z][A-Za-z0-9_]{0,63}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_PRECISIONS = {
    search_pb2.PRECISION_FLOAT32: Precision.FLOAT32,
    search_pb2.PRECISION_FLOAT16: Precision.FLOAT16,
    search_pb2.PRECISION_INT8: Precision.INT8,
    search_pb2.PRECISION_BINARY: Precision.BINARY,
}
_TYPES = {
    search_pb2.FIELD_TYPE_STRING: FieldType.STRING,
    search_pb2.FIELD_TYPE_INTEGER: FieldType.INTEGER,
    search_pb2.FIELD_TYPE_NUMBER: FieldType.NUMBER,
    search_pb2.FIELD_TYPE_BOOLEAN: FieldType.BOOLEAN,
    search_pb2.FIELD_TYPE_TIMESTAMP: FieldType.TIMESTAMP,
}
_COMPARISONS = {
    search_pb2.COMPARISON_IN: Comparison.IN,
    search_pb2.COMPARISON_NOT_IN: Comparison.NOT_IN,
    search_pb2.COMPARISON_LESS: Comparison.LESS,
    search_pb2.COMPARISON_AT_MOST: Comparison.AT_MOST,
    search_pb2.COMPARISON_GREATER: Comparison.GREATER,
    search_pb2.COMPARISON_AT_LEAST: Comparison.AT_LEAST,
}
_MODES = {
    search_pb2.SEARCH_MODE_UNSPECIFIED: Mode.MEANING,
    search_pb2.SEARCH_MODE_MEANING: Mode.MEANING,
    search_pb2.SEARCH_MODE_WORDS: Mode.WORDS,
    search_pb2.SEARCH_MODE_HYBRID: Mode.HYBRID,
}


def collection_name(name: str, field: str) -> str:
    """`NAME` of `collections/NAME`. Raises InvalidArgument naming `field`."""
    matched = _COLLECTION.fullmatch(name)
    if matched is None:
        raise InvalidArgument("a collection is named `collections/NAME`, of letters, digits, `_` or `-`", field=field)
    return matched[1]


def fields_from_proto(fields: Sequence[search_pb2.Field]) -> tuple[Field, ...]:
    """Raises InvalidArgument naming the first field at fault."""
    if len(fields) > MAX_FIELDS:
        raise InvalidArgument(f"{len(fields)} fields; at most {MAX_FIELDS} are taken", field="collection.fields")
    for i, each in enumerate(fields):
        if not _FIELD.fullmatch(each.name):
            raise InvalidArgument(
                "a lower-case letter, then at most 63 letters, digits or `_`", field=f"collection.fields[{i}].name"
            )
        if each.type not in _TYPES:
            raise InvalidArgument("say what the field holds", field=f"collection.fields[{i}].type")
    if len({each.name for each in fields}) < len(fields):
        raise InvalidArgument("two fields have the same name", field="collection.fields")
    return tuple(Field(each.name, _TYPES[each.type]) for each in fields)


def precision_from_proto(precision: int, *, late_interaction: bool) -> Precision:
    """Raises InvalidArgument naming `collection.precision`."""
    check_enum(search_pb2.Precision, precision, "collection.precision")
    default = Precision.FLOAT16 if late_interaction else Precision.FLOAT32
    chosen = _PRECISIONS.get(precision, default)
    if not late_interaction and chosen in (Precision.INT8, Precision.BINARY):
        raise InvalidArgument(
            "the model gives an entry one vector, kept as float32 or float16", field="collection.precision"
        )
    return chosen


def pool_factor_from_proto(factor: int, *, late_interaction: bool) -> int:
    """Raises InvalidArgument naming `collection.pool_factor`."""
    if not 0 <= factor <= MAX_POOL_FACTOR:
        raise InvalidArgument(f"{factor} is not from 1 to {MAX_POOL_FACTOR}", field="collection.pool_factor")
    if factor > 1 and not late_interaction:
        raise InvalidArgument("the model gives an entry one vector alone", field="collection.pool_factor")
    return factor or 1


def collection_to_proto(
    spec: CollectionSpec, *, max_staleness_s: float, state: CollectionState | None = None
) -> search_pb2.Collection:
    late, single = models_pb2.EMBEDDING_FORM_LATE_INTERACTION, models_pb2.EMBEDDING_FORM_SINGLE_VECTOR
    collection = search_pb2.Collection(
        name=f"collections/{spec.name}",
        model=spec.model,
        revision=spec.revision,
        form=late if spec.late_interaction else single,
        precision=_of(_PRECISIONS, spec.precision),
        pool_factor=spec.pool_factor,
        fields=[search_pb2.Field(name=each.name, type=_of(_TYPES, each.type)) for each in spec.fields],
        max_staleness=duration_of(max_staleness_s),
        create_time=_timestamp(spec.created),
    )
    if state is not None:
        collection.document_count, collection.entry_count = state.documents, state.entries
        collection.index.CopyFrom(
            search_pb2.IndexState(
                indexed_entries=state.indexed,
                unindexed_entries=state.unindexed,
                recall=state.recall,
                measure_time=_timestamp(state.measured) if state.measured else None,
            )
        )
    return collection


def document_from_proto(document: search_pb2.Document, fields: Sequence[Field]) -> Document:
    """Raises InvalidArgument naming what is at fault."""
    check_id(document.id, "document.id")
    match document.WhichOneof("content"):
        case "text":
            check_text(document.text, "document.text", MAX_TEXT_BYTES)
            content = Text(document.text, "document.text")
        case "media":
            check_media(document.media, "document.media")
            content = media_from_proto(document.media, "document.media")
        case _:
            raise InvalidArgument(
                "set `text` or `media`", field="document", reason=errors_pb2.ERROR_REASON_FIELD_REQUIRED
            )
    check_text(document.caption, "document.caption", MAX_TEXT_BYTES)
    return Document(document.id, content, document.caption, _metadata(document.metadata, fields))


def check_id(document_id: str, field: str) -> None:
    """Raises InvalidArgument naming `field`."""
    if not 1 <= len(document_id.encode()) <= MAX_ID_BYTES or _CONTROL.search(document_id):
        raise InvalidArgument(f"1 to {MAX_ID_BYTES} bytes without control characters", field=field)


def outcome_to_proto(outcome: Outcome) -> search_pb2.IndexResponse:
    response = search_pb2.IndexResponse(document_id=outcome.document_id, index=outcome.index)
    if outcome.error is not None:
        response.error.Pack(status_of(_INDEX, outcome.error))
    else:
        response.indexed.CopyFrom(search_pb2.IndexedDocument(entry_count=outcome.entries, unchanged=outcome.unchanged))
    return response


def question_from_proto(request: search_pb2.SearchRequest) -> Question:
    """Raises InvalidArgument naming the first field at fault."""
    check_names(request)
    check_enum(search_pb2.SearchMode, request.mode, "mode")
    mode = _MODES[request.mode]
    has_image = request.HasField("image")
    if has_image:
        check_media(request.image, "image")
    check_text(request.text, "text", MAX_TEXT_BYTES)
    if not request.text and not has_image:
        raise InvalidArgument(
            "ask by a text, by a picture, or by both", field="text", reason=errors_pb2.ERROR_REASON_FIELD_REQUIRED
        )
    if mode is not Mode.MEANING and not request.text:
        raise InvalidArgument("words are looked for by a text", field="text")
    if mode is Mode.WORDS and has_image:
        raise InvalidArgument("a picture has no words: ask by its meaning, or by both", field="image")
    weight = request.image_weight if request.HasField("image_weight") else 0.5
    if not 0 <= weight <= 1:
        raise InvalidArgument(f"{weight:g} is not from 0 to 1", field="image_weight")
    if not 0 <= request.limit <= MAX_LIMIT:
        raise InvalidArgument(f"{request.limit} is not from 1 to {MAX_LIMIT:,}", field="limit")
    limit = request.limit or DEFAULT_LIMIT
    if (request.explain or request.with_picture) and limit > MAX_PICTURED:
        raise InvalidArgument(f"with pictures or explained, at most {MAX_PICTURED} hits are given", field="limit")
    if request.explain and (has_image or mode is Mode.WORDS):
        raise InvalidArgument("explained is a query by the meaning of a text", field="explain")
    return Question(
        text=request.text,
        image=media_from_proto(request.image, "image") if has_image else None,
        image_weight=weight,
        mode=mode,
        limit=limit,
        filter=_filter(request.filter),
        exact=request.exact,
        with_picture=request.with_picture,
        explain=request.explain,
        model=request.model,
        revision=request.revision,
    )


def found_to_proto(found: Found, request_id: str) -> search_pb2.SearchResponse:
    """Blocks: a thousand hits of many fields take tenths of a second."""
    return search_pb2.SearchResponse(
        hits=[_hit(hit, found.explanations.get(i)) for i, hit in enumerate(found.hits)],
        model=found.model,
        revision=found.revision,
        usage=usage_to_proto(found),
        request_id=request_id,
    )


def _hit(hit: Hit, explanation: Explanation | None) -> search_pb2.Hit:
    proto = search_pb2.Hit(
        document_id=hit.document_id,
        score=hit.score,
        text=hit.text,
        metadata={name: _value_to_proto(value) for name, value in hit.metadata.items()},
    )
    if hit.kind is EntryKind.PAGE:
        proto.page = hit.page
    elif hit.kind is EntryKind.MOMENT:
        proto.moment.CopyFrom(search_pb2.Moment(start=duration_of(hit.start_s), end=duration_of(hit.end_s)))
    if hit.kind is not EntryKind.TEXT:
        proto.size.CopyFrom(media_pb2.Size(width=hit.width, height=hit.height))
    if hit.picture is not None:
        proto.picture.CopyFrom(media_pb2.Media(data=hit.picture, mime_type="image/jpeg"))
    if explanation is not None:
        proto.explanation.words.extend(map(_word, explanation))
    return proto


def _word(match: WordMatch) -> search_pb2.WordMatch:
    heat = embedding_pb2.Tensor(
        data=match.heat.astype("<f4", copy=False).tobytes(),
        dtype=embedding_pb2.DATA_TYPE_FLOAT32,
        shape=match.heat.shape,
    )
    return search_pb2.WordMatch(word=match.word, score=match.score, heat=heat)


def _filter(proto: search_pb2.Filter) -> Filter:
    if len(proto.clauses) > MAX_CLAUSES:
        raise InvalidArgument(f"at most {MAX_CLAUSES} clauses are taken", field="filter.clauses")
    if sum(len(each.values) for clause in proto.clauses for each in clause.conditions) > MAX_FILTER_VALUES:
        raise InvalidArgument(f"at most {MAX_FILTER_VALUES:,} values are taken in all", field="filter.clauses")
    return tuple(_clause(clause, f"filter.clauses[{i}]") for i, clause in enumerate(proto.clauses))


def _clause(proto: search_pb2.AnyOf, field: str) -> tuple[Condition, ...]:
    if not 1 <= len(proto.conditions) <= MAX_CONDITIONS:
        raise InvalidArgument(f"1 to {MAX_CONDITIONS} conditions", field=f"{field}.conditions")
    return tuple(_condition(each, f"{field}.conditions[{i}]") for i, each in enumerate(proto.conditions))


def _condition(proto: search_pb2.Condition, field: str) -> Condition:
    if proto.comparison not in _COMPARISONS:
        raise InvalidArgument("say how the field is compared", field=f"{field}.comparison")
    if not 1 <= len(proto.values) <= MAX_VALUES:
        raise InvalidArgument(f"1 to {MAX_VALUES:,} values", field=f"{field}.values")
    values = tuple(_value(value, f"{field}.values[{i}]") for i, value in enumerate(proto.values))
    return Condition(proto.field, _COMPARISONS[proto.comparison], values)


def _metadata(metadata: Mapping[str, search_pb2.Value], fields: Sequence[Field]) -> dict[str, MetadataValue]:
    types = {each.name: each.type for each in fields}
    return {name: _typed(metadata[name], types.get(name), f"document.metadata[{name}]") for name in sorted(metadata)}


def _typed(proto: search_pb2.Value, type_: FieldType | None, field: str) -> MetadataValue:
    if type_ is None:
        raise InvalidArgument("the collection has no such field", field=field)
    value = _value(proto, field)
    if type_ is FieldType.NUMBER and proto.WhichOneof("kind") == "integer_value":
        return float(value)
    if proto.WhichOneof("kind") != f"{type_}_value":
        raise InvalidArgument(f"the field holds a {type_}", field=field)
    return value


def _value(proto: search_pb2.Value, field: str) -> MetadataValue:
    match proto.WhichOneof("kind"):
        case None:
            raise InvalidArgument("set a value", field=field, reason=errors_pb2.ERROR_REASON_FIELD_REQUIRED)
        case "string_value":
            if len(proto.string_value.encode()) > MAX_STRING_BYTES or "\0" in proto.string_value:
                raise InvalidArgument(f"at most {MAX_STRING_BYTES:,} bytes, without NUL characters", field=field)
            return proto.string_value
        case "number_value":
            if not isfinite(proto.number_value):
                raise InvalidArgument("the number is not finite", field=field)
            return proto.number_value
        case "timestamp_value":
            try:
                return proto.timestamp_value.ToDatetime(UTC)
            except (ValueError, OverflowError) as error:
                raise InvalidArgument("no moment of the years 1 to 9999", field=field) from error
        case kind:
            return getattr(proto, kind)


def _value_to_proto(value: MetadataValue) -> search_pb2.Value:
    match value:
        case bool():
            return search_pb2.Value(boolean_value=value)
        case int():
            return search_pb2.Value(integer_value=value)
        case float():
            return search_pb2.Value(number_value=value)
        case datetime():
            return search_pb2.Value(timestamp_value=_timestamp(value))
        case _:
            return search_pb2.Value(string_value=value)


def _timestamp(moment: datetime) -> Timestamp:
    timestamp = Timestamp()
    timestamp.FromDatetime(moment)
    return timestamp


def _of(table: Mapping[int, object], value: object) -> int:
    return next(proto for proto, ours in table.items() if ours is value)
