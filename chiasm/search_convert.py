"""Between the contract's messages of search and the client's own types."""

import struct
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from chiasm.convert import generate_request, media_of, model_name, optional, route_of, seconds, usage_of, word
from chiasm.errors import ChiasmError, InvalidArgument, from_packed_status
from chiasm.images import image_source
from chiasm.options import Options, Task
from chiasm.search import (
    Citation,
    CitedAnswer,
    Collection,
    Condition,
    Document,
    DroppedCitation,
    FieldType,
    Filter,
    Hit,
    Indexed,
    IndexState,
    MetadataValue,
    Precision,
    SearchMode,
    SearchResult,
    WordMatch,
)
from chiasm.v1 import embedding_pb2, models_pb2, search_pb2


def collection_name(name: str) -> str:
    """`collections/NAME` for `NAME` or `collections/NAME`."""
    return name if name.startswith("collections/") else f"collections/{name}"


def create_request(
    name: str, *, model: str, revision: str, precision: Precision, pool_factor: int, fields: Mapping[str, FieldType]
) -> search_pb2.CreateCollectionRequest:
    """Raises InvalidArgument when a value does not fit."""
    try:
        return search_pb2.CreateCollectionRequest(
            collection=search_pb2.Collection(
                name=collection_name(name),
                model=model_name(model),
                revision=revision,
                precision=search_pb2.Precision.Value(f"PRECISION_{precision.name}"),
                pool_factor=pool_factor,
                fields=[
                    search_pb2.Field(name=field, type=search_pb2.FieldType.Value(f"FIELD_TYPE_{kind.name}"))
                    for field, kind in fields.items()
                ],
            )
        )
    except ValueError as error:
        raise InvalidArgument(str(error), reason="FIELD_INVALID") from error


def collection(message: search_pb2.Collection) -> Collection:
    """A collection."""
    return Collection(
        name=message.name,
        model=message.model,
        revision=message.revision,
        late_interaction=message.form == models_pb2.EMBEDDING_FORM_LATE_INTERACTION,
        precision=Precision(word(search_pb2.Precision, message.precision)),
        pool_factor=max(1, message.pool_factor),
        fields={field.name: FieldType(word(search_pb2.FieldType, field.type)) for field in message.fields},
        documents=message.document_count,
        entries=message.entry_count,
        index=_index_state(message.index) if message.HasField("index") else None,
        max_staleness_s=seconds(message.max_staleness),
        created=_datetime(message.create_time),
    )


def _index_state(message: search_pb2.IndexState) -> IndexState:
    return IndexState(
        indexed_entries=message.indexed_entries,
        unindexed_entries=message.unindexed_entries,
        recall=optional(message, "recall"),
        measured=_datetime(message.measure_time) if message.HasField("measure_time") else None,
    )


def index_start(name: str) -> search_pb2.IndexRequest:
    """The first request of a stream into a collection."""
    return search_pb2.IndexRequest(collection=collection_name(name))


def index_request(document: Document) -> search_pb2.IndexRequest:
    """A document on its way; reads its file. Raises InvalidArgument and OSError."""
    try:
        made = search_pb2.Document(
            id=document.id,
            caption=document.caption,
            metadata={name: _value(value) for name, value in document.metadata.items()},
        )
        if document.media is None:
            made.text = document.text
        else:
            made.media.CopyFrom(media_of(image_source(document.media)))
    except ValueError as error:
        raise InvalidArgument(str(error), reason="FIELD_INVALID") from error
    return search_pb2.IndexRequest(document=made)


def indexed(response: search_pb2.IndexResponse, index: int) -> Indexed:
    """What became of a document."""
    failed = response.WhichOneof("outcome") != "indexed"
    return Indexed(
        document_id=response.document_id,
        index=index,
        entries=response.indexed.entry_count,
        unchanged=response.indexed.unchanged,
        error=from_packed_status(response.error) if failed else None,
    )


def not_indexed(document: Document, index: int, error: OSError | ChiasmError) -> Indexed:
    """What became of a document that was not sent."""
    return Indexed(document.id, index, error=error)


def search_request(
    collection: str,
    text: str = "",
    image: bytes | str | None = None,
    *,
    image_weight: float | None = None,
    mode: SearchMode = SearchMode.MEANING,
    limit: int = 0,
    where: Filter = (),
    exact: bool = False,
    with_picture: bool = False,
    explain: bool = False,
    model: str = "",
    revision: str = "",
    request_id: str = "",
) -> search_pb2.SearchRequest:
    """The request for what is like a text, a picture, or both. Raises InvalidArgument when a value does not fit."""
    try:
        return search_pb2.SearchRequest(
            collection=collection_name(collection),
            text=text,
            image=None if image is None else media_of(image),
            image_weight=image_weight,
            mode=search_pb2.SearchMode.Value(f"SEARCH_MODE_{mode.name}"),
            limit=limit,
            filter=_filter(where) if where else None,
            exact=exact,
            with_picture=with_picture,
            explain=explain,
            model=model_name(model),
            revision=revision,
            request_id=request_id,
        )
    except ValueError as error:
        raise InvalidArgument(str(error), reason="FIELD_INVALID") from error


def ask_request(search: search_pb2.SearchRequest, question: str, options: Options) -> search_pb2.AskRequest:
    """The request for an answer from what `search` finds. Raises InvalidArgument when a value does not fit."""
    how = generate_request("", [], Task.OPEN, **options)
    return search_pb2.AskRequest(
        search=search,
        question=question,
        model=how.model,
        config=how.config,
        routing=how.routing,
        request_id=how.request_id,
    )


def search_result(response: search_pb2.SearchResponse) -> SearchResult:
    """What was found."""
    return SearchResult(
        hits=tuple(map(hit, response.hits)),
        model=response.model,
        revision=response.revision,
        usage=usage_of(response.usage),
        request_id=response.request_id,
    )


def cited_answer(response: search_pb2.AskResponse) -> CitedAnswer:
    """An answer from a collection."""
    return CitedAnswer(
        text=response.text,
        citations=tuple(Citation(each.number, hit(each.hit), each.quote) for each in response.citations),
        dropped=tuple(
            DroppedCitation(
                number=each.number,
                hit=hit(each.hit) if each.HasField("hit") else None,
                reason=word(search_pb2.DroppedReason, each.reason),
                detail=each.detail,
            )
            for each in response.dropped
        ),
        confidence=optional(response, "confidence"),
        usage=usage_of(response.usage),
        route=route_of(response.route),
        request_id=response.request_id,
    )


def hit(message: search_pb2.Hit) -> Hit:
    """Something found."""
    is_moment = message.WhichOneof("part") == "moment"
    return Hit(
        document_id=message.document_id,
        score=message.score,
        page=message.page if message.WhichOneof("part") == "page" else None,
        start_s=seconds(message.moment.start) if is_moment else None,
        end_s=seconds(message.moment.end) if is_moment else None,
        text=message.text,
        metadata={name: _metadata_value(value) for name, value in message.metadata.items()},
        picture=message.picture.data if message.HasField("picture") else None,
        width=message.size.width,
        height=message.size.height,
        words=tuple(WordMatch(match.word, match.score, _rows(match.heat)) for match in message.explanation.words),
    )


def _filter(where: Filter) -> search_pb2.Filter:
    clauses = [[clause] if isinstance(clause, Condition) else clause for clause in where]
    return search_pb2.Filter(
        clauses=[search_pb2.AnyOf(conditions=[_condition(condition) for condition in clause]) for clause in clauses]
    )


def _condition(condition: Condition) -> search_pb2.Condition:
    return search_pb2.Condition(
        field=condition.field,
        comparison=search_pb2.Comparison.Value(f"COMPARISON_{condition.comparison.name}"),
        values=[_value(value) for value in condition.values],
    )


def _value(value: MetadataValue) -> search_pb2.Value:
    match value:
        case bool():
            return search_pb2.Value(boolean_value=value)
        case int():
            return search_pb2.Value(integer_value=value)
        case float():
            return search_pb2.Value(number_value=value)
        case datetime():
            made = Timestamp()
            made.FromDatetime(value)
            return search_pb2.Value(timestamp_value=made)
        case str():
            return search_pb2.Value(string_value=value)
    raise ValueError(f"metadata is text, a number, a truth value or a datetime, not {value!r}")


def _metadata_value(value: search_pb2.Value) -> MetadataValue:
    kind: Any = value.WhichOneof("kind")
    return _datetime(value.timestamp_value) if kind == "timestamp_value" else getattr(value, kind or "string_value")


def _datetime(timestamp: Timestamp) -> datetime:
    return timestamp.ToDatetime(UTC)


def _rows(tensor: embedding_pb2.Tensor) -> tuple[Sequence[float], ...]:
    return tuple(struct.iter_unpack(f"<{tensor.shape[-1]}f", tensor.data)) if tensor.shape else ()
