"""The sync and async clients against a scripted gateway."""

import asyncio
import io
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest
from google.protobuf.message import Message
from opentelemetry import trace
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags
from PIL import Image

import chiasm
from chiasm.v1 import generation_pb2 as generation

from . import scripted
from .scripted import Context, Scripted, delta, fail, finished, started


async def test_unary_answer_holds_what_the_server_said(server: Scripted, picture: Path, picture_bytes: bytes) -> None:
    async with chiasm.AsyncClient(server.address) as client:
        answer = await client.ask(picture, "how many circles?", model="tiny", max_tokens=8)
    assert (answer.text, answer.model, answer.finish_reason) == ("two circles", "models/tiny", "stop")
    assert answer.usage == chiasm.Usage(260, 2, media_input_tokens=256, cost_nanousd=1250)
    assert answer.route.attempts[0].time_to_first_token_s == pytest.approx(0.12)
    assert answer.time_to_first_token_s is None
    assert answer.total_s > 0
    request = server.requests[0]
    assert request.task == generation.TASK_ANSWER
    assert request.model == "models/tiny"
    assert request.config.max_tokens == 8
    assert not request.config.HasField("temperature")
    assert request.messages[0].parts[0].media.data == picture_bytes
    assert request.messages[0].parts[1].text == "how many circles?"


async def test_sync_client_does_the_same(server: Scripted, picture: Path) -> None:
    def use() -> tuple[chiasm.Answer, list[type], chiasm.Answer, list[str]]:
        with chiasm.Client(server.address) as client:
            with client.stream("q", [picture], chiasm.Task.ANSWER) as stream:
                kinds = [type(event) for event in stream]
            return client.caption(picture), kinds, stream.answer, [model.name for model in client.models()]

    unary, kinds, streamed, names = await asyncio.to_thread(use)
    assert unary.text == streamed.text == "two circles"
    assert kinds == [chiasm.Started, chiasm.Delta, chiasm.Delta, chiasm.Finished]
    assert names == ["models/tiny", "models/second"]
    assert streamed.time_to_first_token_s is not None
    assert 0 < streamed.time_to_first_token_s <= streamed.total_s


async def test_every_verb_names_its_task(server: Scripted, picture: Path) -> None:
    async with chiasm.AsyncClient(server.address) as client:
        await client.caption(picture)
        await client.read(picture)
        await client.detect(picture, ["circle", "square"])
        await client.segment(picture, "circle")
    tasks = [request.task for request in server.requests]
    assert tasks == [
        generation.TASK_CAPTION,
        generation.TASK_READ_TEXT,
        generation.TASK_DETECT,
        generation.TASK_SEGMENT,
    ]
    assert server.requests[2].messages[0].parts[1].text == "circle ; square"
    assert len(server.requests[0].messages[0].parts) == 1


async def test_an_image_may_be_bytes_a_file_or_a_pil_image(
    server: Scripted, picture: Path, picture_bytes: bytes
) -> None:
    async with chiasm.AsyncClient(server.address) as client:
        await client.caption(str(picture))
        await client.caption(picture_bytes)
        await client.caption(io.BytesIO(picture_bytes))
        await client.caption(Image.new("CMYK", (3, 2)))
    sent = [request.messages[0].parts[0].media.data for request in server.requests]
    assert sent[:3] == [picture_bytes] * 3
    assert Image.open(io.BytesIO(sent[3])).size == (3, 2)


async def test_a_superseded_attempt_leaves_no_text(server: Scripted, picture: Path) -> None:
    async def script(context: Context) -> AsyncIterator[Message]:
        for event in (started(), delta("thr"), scripted.superseded("models/b"), started("models/b", 2), delta("two")):
            yield event
        yield finished()

    server.stream = script
    async with chiasm.AsyncClient(server.address) as client:
        stream = client.stream("q", [picture])
        events = [event async for event in stream]
    assert chiasm.Superseded(1, "broken", "models/b") in events
    assert (stream.answer.text, stream.answer.model) == ("two", "models/b")


async def test_a_stream_without_finished_is_an_error(server: Scripted, picture: Path) -> None:
    async def script(context: Context) -> AsyncIterator[Message]:
        yield started()
        yield delta("tw")

    server.stream = script
    async with chiasm.AsyncClient(server.address) as client:
        with pytest.raises(chiasm.Internal, match="before the answer was complete"):
            [event async for event in client.stream("q", [picture])]

    def use() -> None:
        with chiasm.Client(server.address) as client:
            list(client.stream("q", [picture]))

    with pytest.raises(chiasm.Internal, match="before the answer was complete"):
        await asyncio.to_thread(use)


async def test_leaving_a_stream_cancels_the_call(server: Scripted, picture: Path) -> None:
    cancelled = asyncio.Event()

    async def script(context: Context) -> AsyncIterator[Message]:
        yield started()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise

    server.stream = script
    async with chiasm.AsyncClient(server.address) as client:
        async with client.stream("q", [picture]) as stream:
            assert isinstance(await anext(stream), chiasm.Started)
        async with asyncio.timeout(10):
            await cancelled.wait()


async def test_an_error_carries_its_details(server: Scripted, picture: Path) -> None:
    async def script(context: Context) -> Message:
        await fail(context, grpc.StatusCode.RESOURCE_EXHAUSTED, "busy", "OVERLOADED", field="a.b", retry_after_s=3)
        raise AssertionError

    server.unary = script
    async with chiasm.AsyncClient(server.address) as client:
        with pytest.raises(chiasm.Overloaded) as caught:
            await client.caption(picture)
    error = caught.value
    assert (error.message, error.reason, error.field, error.retry_after_s) == ("busy", "OVERLOADED", "a.b", 3)
    assert error.code == "RESOURCE_EXHAUSTED"


async def test_a_stream_whose_status_grpc_has_lost_may_be_tried_again(server: Scripted, picture: Path) -> None:
    async def script(context: Context) -> Message:
        await fail(context, grpc.StatusCode.INTERNAL, "Internal error from Core")
        raise AssertionError

    server.unary = script
    async with chiasm.AsyncClient(server.address) as client:
        with pytest.raises(chiasm.Unavailable, match="gRPC has lost why"):
            await client.caption(picture)


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (grpc.StatusCode.INVALID_ARGUMENT, chiasm.InvalidArgument),
        (grpc.StatusCode.NOT_FOUND, chiasm.NotFound),
        (grpc.StatusCode.FAILED_PRECONDITION, chiasm.FailedPrecondition),
        (grpc.StatusCode.UNAUTHENTICATED, chiasm.Unauthenticated),
        (grpc.StatusCode.PERMISSION_DENIED, chiasm.PermissionDenied),
        (grpc.StatusCode.DEADLINE_EXCEEDED, chiasm.DeadlineExceeded),
        (grpc.StatusCode.CANCELLED, chiasm.Cancelled),
        (grpc.StatusCode.INTERNAL, chiasm.Internal),
        (grpc.StatusCode.DATA_LOSS, chiasm.Internal),
    ],
)
async def test_a_bare_status_has_its_exception(
    server: Scripted, picture: Path, code: grpc.StatusCode, kind: type[chiasm.ChiasmError]
) -> None:
    async def script(context: Context) -> Message:
        await fail(context, code, "so it is")
        raise AssertionError

    server.unary = script
    async with chiasm.AsyncClient(server.address) as client:
        with pytest.raises(kind, match="so it is") as caught:
            await client.caption(picture)
    assert caught.value.code == code.name
    assert caught.value.reason == ""


async def test_a_photograph_is_sent_again(server: Scripted, picture_bytes: bytes) -> None:
    async def unary(context: Context) -> Message:
        if len(server.requests) < 2:
            await fail(context, grpc.StatusCode.UNAVAILABLE, "later", "MODEL_UNAVAILABLE")
        return await scripted.whole_answer(context)

    server.unary = unary
    photograph = picture_bytes + bytes(2**20)
    async with chiasm.AsyncClient(server.address) as client:
        assert (await client.caption(photograph)).text == "two circles"
    assert [request.messages[0].parts[0].media.data for request in server.requests] == [photograph, photograph]


async def test_only_unary_unavailable_is_tried_again(server: Scripted, picture: Path) -> None:
    async def unary(context: Context) -> Message:
        if len(server.requests) < 3:
            await fail(context, grpc.StatusCode.UNAVAILABLE, "later", "MODEL_UNAVAILABLE")
        return await scripted.whole_answer(context)

    async def stream(context: Context) -> AsyncIterator[Message]:
        await fail(context, grpc.StatusCode.UNAVAILABLE, "later", "MODEL_UNAVAILABLE")
        yield started()

    async def overloaded(context: Context) -> Message:
        await fail(context, grpc.StatusCode.RESOURCE_EXHAUSTED, "busy", "OVERLOADED")
        raise AssertionError

    async with chiasm.AsyncClient(server.address) as client:
        server.unary = unary
        assert (await client.caption(picture)).text == "two circles"
        assert len(server.requests) == 3

        server.requests.clear()
        server.stream = stream
        with pytest.raises(chiasm.Unavailable):
            [event async for event in client.stream("", [picture])]
        assert len(server.requests) == 1

        server.requests.clear()
        server.unary = overloaded
        with pytest.raises(chiasm.Overloaded):
            await client.caption(picture)
        assert len(server.requests) == 1


async def test_the_timeout_holds(server: Scripted, picture: Path) -> None:
    async def script(context: Context) -> AsyncIterator[Message]:
        yield started()
        await asyncio.Event().wait()

    server.stream = script
    async with chiasm.AsyncClient(server.address) as client:
        with pytest.raises(chiasm.DeadlineExceeded):
            [event async for event in client.stream("", [picture], timeout_s=0.3)]


async def test_the_trace_context_travels(server: Scripted, picture: Path) -> None:
    span = NonRecordingSpan(SpanContext(0xABC, 0xDEF, is_remote=False, trace_flags=TraceFlags(1)))
    async with chiasm.AsyncClient(server.address) as client:
        with trace.use_span(span):
            await client.caption(picture)
    assert server.metadata[0]["traceparent"] == f"00-{0xABC:032x}-{0xDEF:016x}-01"


async def test_models_are_found_by_short_name(server: Scripted) -> None:
    async with chiasm.AsyncClient(server.address) as client:
        model = await client.model("tiny")
        with pytest.raises(chiasm.NotFound) as caught:
            await client.model("other")
        names = [model.name for model in await client.models()]
    assert (model.tasks, model.modalities, model.ready) == (("answer", "read_text"), ("image",), True)
    assert model.input_nanousd_per_million_tokens == 50_000_000
    assert caught.value.reason == "MODEL_NOT_FOUND"
    assert names == ["models/tiny", "models/second"]


async def test_wrong_options_are_refused_before_a_call(server: Scripted, picture: Path) -> None:
    async with chiasm.AsyncClient(server.address) as client:
        with pytest.raises(chiasm.InvalidArgument):
            await client.caption(picture, max_tokens=2**40)
        with pytest.raises(TypeError):
            await client.caption(picture, max_token=3)  # type: ignore[call-arg]
        with pytest.raises(FileNotFoundError):
            await client.caption(picture.with_name("missing.png"))
    assert server.requests == []
