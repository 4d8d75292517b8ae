"""Between the contract's protos of batches and this service's dataclasses."""

import base64
import time
from collections.abc import Sequence
from dataclasses import replace

from google.protobuf.timestamp_pb2 import Timestamp

from chiasm.v1 import batch_pb2, generation_pb2, usage_pb2
from services.gemini_proxy import convert
from services.gemini_proxy.answering import End, Report
from services.gemini_proxy.attempt import Result
from services.gemini_proxy.batch_store import KEPT_S, Asked, Record, State, packed
from services.gemini_proxy.failures import AttemptFailed, Kind, to_error
from services.gemini_proxy.finishing import finish_of, read_form
from services.gemini_proxy.media_facts import MediaFacts
from services.gemini_proxy.provider import Chunk
from services.gemini_proxy.question import File, Priority, Question, Settings, Task, Turn
from services.gemini_proxy.tasks import Detection, MalformedAnswer, unfenced
from services.gemini_proxy.usage import Modality, TokenUsage
from services.runtime.errors import Cancelled, ChiasmError, DeadlineExceeded, InvalidArgument, to_status

MAX_ANSWER_BYTES = 2**20
"""Of one answer that is kept."""

_STATES = {
    State.PENDING: batch_pb2.BATCH_STATE_PENDING,
    State.RUNNING: batch_pb2.BATCH_STATE_RUNNING,
    State.SUCCEEDED: batch_pb2.BATCH_STATE_SUCCEEDED,
    State.CANCELLED: batch_pb2.BATCH_STATE_CANCELLED,
    State.EXPIRED: batch_pb2.BATCH_STATE_EXPIRED,
    State.FAILED: batch_pb2.BATCH_STATE_FAILED,
}


def batch_to_proto(record: Record) -> batch_pb2.Batch:
    batch = batch_pb2.Batch(
        name=f"batches/{record.id}",
        model=f"models/{record.model}",
        state=_STATES[record.state],
        request_count=record.count,
        start_time=_timestamp(record.started_at),
        request_id=record.request_id,
    )
    if record.state.ended:
        batch.succeeded_count = record.succeeded
        batch.failed_count = record.count - record.succeeded
        batch.usage.CopyFrom(usage_pb2.Usage(**(record.usage or {})))
        batch.end_time.CopyFrom(_timestamp(record.ended_at))
        batch.expire_time.CopyFrom(_timestamp(record.ended_at + KEPT_S))
    return batch


def sum_usages(usages: Sequence[tuple[TokenUsage, int]]) -> dict[str, int]:
    """Usages and their costs together, by the names of the contract's `Usage`."""
    each = [convert.usage_to_proto(usage, cost) for usage, cost in usages]
    names = [descriptor.name for descriptor in usage_pb2.Usage.DESCRIPTOR.fields]
    return {name: sum(getattr(usage, name) for usage in each) for name in names}


def packed_answer(index: int, record: Record, asked: Asked, answer: Chunk, cost_nanousd: int) -> tuple[str, bool]:
    """The answer to request `index` as it is kept, and whether it is one and not a status."""
    try:
        response = _response(record, asked, answer, cost_nanousd)
    except AttemptFailed as failure:
        return packed_error(index, record, failure, State.SUCCEEDED), False
    return packed(batch_pb2.BatchResult(index=index, response=response).SerializeToString()), True


def packed_error(index: int, record: Record, failure: AttemptFailed, state: State) -> str:
    """Why there is no answer to request `index`, in a batch that ended as `state`, as it is kept."""
    result = batch_pb2.BatchResult(index=index)
    result.error.Pack(to_status(_error(index, record, failure, state)))
    return packed(result.SerializeToString())


def _error(index: int, record: Record, failure: AttemptFailed, state: State) -> ChiasmError:
    if failure.kind is Kind.BROKEN and state is State.CANCELLED:
        return Cancelled("the batch was cancelled before this request was answered")
    if failure.kind is Kind.BROKEN and state is State.EXPIRED:
        return DeadlineExceeded("the provider did not answer the batch in its time")
    error = to_error(failure, model=record.model, delivered=False)
    error.field = f"requests[{index}]" if error.field else None
    return error


def _response(record: Record, asked: Asked, answer: Chunk, cost_nanousd: int) -> generation_pb2.GenerateResponse:
    """Raises AttemptFailed where the answer is none, or not of the form asked for."""
    if not answer.finish:
        raise AttemptFailed(Kind.CUT, "the answer ended without its end")
    if len(answer.text.encode()) > MAX_ANSWER_BYTES:
        raise AttemptFailed(Kind.MALFORMED, f"it has more than {MAX_ANSWER_BYTES:,} bytes")
    settings = Settings(max_tokens=asked.max_tokens, json_schema=asked.json_schema)
    if _has_form(asked) and answer.finish == "STOP":
        answer = replace(answer, text=unfenced(answer.text))
    usage, seconds = answer.usage or TokenUsage(), time.time() - record.started_at
    result = Result(answer.model, usage, cost_nanousd, None, None, seconds)
    reason, detail = finish_of(answer.finish, answer.finish_message, answer.text, result, settings)
    detections = _detections(record, asked, answer, settings)
    end = End(reason, detail, detections, (Report(record.model, "OK", result),))
    event = convert.event_to_proto(end, arrived_s=seconds, first_token_s=None)
    return generation_pb2.GenerateResponse(
        text=answer.text, finished=event.finished, model=f"models/{record.model}", request_id=asked.request_id
    )


def _has_form(asked: Asked) -> bool:
    return Task(asked.task) is Task.DETECT or bool(asked.json_schema)


def _detections(record: Record, asked: Asked, answer: Chunk, settings: Settings) -> tuple[Detection, ...]:
    if answer.finish != "STOP" or not _has_form(asked):
        return ()
    # What `read_form` looks at: the picture's size and the schema.
    picture = File(b"", MediaFacts("", Modality.IMAGE, asked.width, asked.height), "")
    question = Question(
        record.model,
        Task(asked.task),
        (),
        (Turn(False, (picture,)),),
        settings,
        record.tenant,
        asked.request_id,
        Priority.LOW,
    )
    try:
        return read_form(question, answer.text)
    except MalformedAnswer as error:
        raise AttemptFailed(Kind.UNFIT, str(error)) from error


def id_of(name: str) -> str:
    """The id of a batch's name. Raises InvalidArgument naming `name`."""
    kind, _, batch_id = name.partition("/")
    if kind != "batches" or not batch_id or len(batch_id) > 64:
        raise InvalidArgument("a batch is named `batches/ID`", field="name")
    return batch_id


def token_of(place: str) -> str:
    return base64.urlsafe_b64encode(place.encode()).decode()


def place_of(token: str) -> str:
    """What `token_of` was given; empty for none. Raises InvalidArgument naming `page_token`."""
    try:
        return base64.b64decode(token, altchars=b"-_", validate=True).decode()
    except ValueError as error:
        raise InvalidArgument("not a token that this server gave", field="page_token") from error


def _timestamp(at: float) -> Timestamp:
    timestamp = Timestamp()
    timestamp.FromNanoseconds(round(at * 1e9))
    return timestamp
