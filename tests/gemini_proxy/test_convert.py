import asyncio
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chiasm.v1 import generation_pb2 as pb
from chiasm.v1 import media_pb2
from services.gemini_proxy import convert
from services.gemini_proxy.answering import End, Piece, Report
from services.gemini_proxy.attempt import Result
from services.gemini_proxy.catalogue import MediaResolution, find_model
from services.gemini_proxy.config import GeminiSettings
from services.gemini_proxy.finishing import FinishReason
from services.gemini_proxy.prices import Prices
from services.gemini_proxy.question import File, Priority, Question, Reference, Settings, Task, Text, Thinking, Turn
from services.gemini_proxy.tasks import Detection
from services.gemini_proxy.usage import Modality, TokenUsage
from services.runtime.errors import ChiasmError, InvalidArgument
from services.runtime.requests import check_generate
from tests.media_files import pdf, picture

MODEL = find_model("gemini-3.8-flash")
PICTURE = picture("PNG", 64, 48)
SETTINGS = GeminiSettings(max_media_bytes=100_000)


def text(said: str) -> pb.Part:
    return pb.Part(text=said)


def data(file: bytes = PICTURE, mime_type: str = "") -> pb.Part:
    return pb.Part(media=media_pb2.Media(data=file, mime_type=mime_type))


def uri(address: str = "gs://bucket/a.png", mime_type: str = "image/png") -> pb.Part:
    return pb.Part(media=media_pb2.Media(uri=address, mime_type=mime_type))


def message(*parts: pb.Part, role: int = pb.ROLE_USER) -> pb.Message:
    return pb.Message(role=role, parts=parts)


def request(*messages: pb.Message, task: int = pb.TASK_OPEN, **config: object) -> pb.GenerateRequest:
    return pb.GenerateRequest(messages=messages, task=task, config=pb.GenerationConfig(**config), request_id="request")


async def converted(asked: pb.GenerateRequest, settings: GeminiSettings = SETTINGS) -> Question:
    check_generate(asked)
    return await convert.question_from_proto(asked, model=MODEL, tenant="acme", settings=settings)


async def test_a_question_keeps_everything_that_was_said() -> None:
    asked = request(
        message(text("Be brief."), role=pb.ROLE_SYSTEM),
        message(text("Hello")),
        message(text("Good day"), role=pb.ROLE_MODEL),
        message(data(), uri(), text("Which is larger?"), role=pb.ROLE_UNSPECIFIED),
        temperature=0.0,
        top_p=0.5,
        top_k=3,
        seed=0,
        stop=["end"],
        max_tokens=7,
        json_schema="{}",
        thinking_level=pb.THINKING_LEVEL_LOW,
        media_resolution=pb.MEDIA_RESOLUTION_HIGH,
    )
    asked.routing.priority = pb.PRIORITY_HIGH
    made = await converted(asked)
    file, reference, last = made.turns[2].pieces
    assert made == Question(
        model="gemini-3.8-flash",
        task=Task.OPEN,
        system=(Text("Be brief."),),
        turns=(Turn(False, (Text("Hello"),)), Turn(True, (Text("Good day"),)), Turn(False, (file, reference, last))),
        settings=Settings(7, 0.0, 0.5, 3, 0, ("end",), "{}", Thinking.LOW, MediaResolution.HIGH),
        tenant="acme",
        request_id="request",
        priority=Priority.HIGH,
    )
    assert isinstance(file, File)
    assert (file.data, file.at, file.facts.width, file.facts.height) == (
        PICTURE,
        "messages[3].parts[0].media.data",
        64,
        48,
    )
    assert reference == Reference("gs://bucket/a.png", "image/png", "messages[3].parts[1].media.uri")
    assert made.files == (file,)


async def test_what_is_left_out_takes_its_default() -> None:
    made = await converted(request(message(text("hi"))))
    assert made.settings == Settings(max_tokens=SETTINGS.default_max_tokens)
    assert (made.task, made.priority) == (Task.OPEN, Priority.NORMAL)
    greedy = GeminiSettings(default_max_tokens=10**9)
    assert (await converted(request(message(text("hi"))), greedy)).settings.max_tokens == MODEL.output_tokens


@pytest.mark.parametrize(
    ("task", "parts"),
    [
        (pb.TASK_CAPTION, [data()]),
        (pb.TASK_READ_TEXT, [data(), uri()]),
        (pb.TASK_ANSWER, [data(), text("How many?")]),
        (pb.TASK_DETECT, [text("cat"), data()]),
    ],
)
async def test_each_task_takes_what_it_needs(task: int, parts: list[pb.Part]) -> None:
    assert (await converted(request(message(*parts), task=task))).task.name == pb.Task.Name(task).removeprefix("TASK_")


LAST = "messages[0].parts"
HI = message(text("hi"))


@pytest.mark.parametrize(
    ("asked", "field", "reason"),
    [
        (request(HI, task=pb.TASK_SEGMENT), "task", "TASK_UNSUPPORTED"),
        (request(HI, message(text("hi"), role=pb.ROLE_MODEL)), "messages[1].role", "FIELD_INVALID"),
        (request(HI, message(text("hi"), role=pb.ROLE_SYSTEM)), "messages[1].role", "FIELD_INVALID"),
        (request(message(text("hi"), role=pb.ROLE_SYSTEM)), "messages[0].role", "FIELD_INVALID"),
        (
            request(message(text("hi"), data(), role=pb.ROLE_SYSTEM), HI),
            "messages[0].parts[1].media",
            "FIELD_INVALID",
        ),
        (request(message(pb.Part(media={"name": "media/x"}))), f"{LAST}[0].media.name", "FIELD_INVALID"),
        (request(message(uri("http://x/a.png"))), f"{LAST}[0].media.uri", "FIELD_INVALID"),
        (request(message(uri("file:///etc/passwd"))), f"{LAST}[0].media.uri", "FIELD_INVALID"),
        (request(message(uri("https://x/" + "a" * 2_048))), f"{LAST}[0].media.uri", "FIELD_INVALID"),
        (request(message(uri(mime_type=""))), f"{LAST}[0].media.mime_type", "FIELD_REQUIRED"),
        (request(message(data(b"no picture"))), f"{LAST}[0].media.data", "MEDIA_TYPE_UNSUPPORTED"),
        (request(message(data(mime_type="image/jpeg"))), f"{LAST}[0].media.data", "MEDIA_TYPE_UNSUPPORTED"),
        (request(message(data(PICTURE[:20]))), f"{LAST}[0].media.data", "MEDIA_CORRUPT"),
        (request(message(data(PICTURE + bytes(100_000)))), f"{LAST}[0].media.data", "MEDIA_SIZE"),
        (request(HI, max_tokens=65_537), "config.max_tokens", "FIELD_INVALID"),
        (request(HI, seed=2**31), "config.seed", "FIELD_INVALID"),
        (request(HI, json_schema='{"type": 3}'), "config.json_schema", "FIELD_INVALID"),
        (request(HI, thinking_level=9), "config.thinking_level", "FIELD_INVALID"),
        (request(HI, media_resolution=9), "config.media_resolution", "FIELD_INVALID"),
        (request(HI, task=pb.TASK_CAPTION), LAST, "MEDIA_COUNT"),
        (request(HI, task=pb.TASK_ANSWER), LAST, "MEDIA_COUNT"),
        (request(message(data(), text("hi")), task=pb.TASK_CAPTION), LAST, "FIELD_INVALID"),
        (request(message(data()), task=pb.TASK_ANSWER), LAST, "FIELD_REQUIRED"),
        (request(message(data(), text(" \n")), task=pb.TASK_DETECT), LAST, "FIELD_REQUIRED"),
        (request(message(data(), data(), text("cat")), task=pb.TASK_DETECT), LAST, "MEDIA_COUNT"),
        (request(message(uri(), text("cat")), task=pb.TASK_DETECT), LAST, "MEDIA_COUNT"),
        (request(message(data(pdf()), text("cat")), task=pb.TASK_DETECT), LAST, "MEDIA_COUNT"),
        (
            request(message(data(), text("cat")), task=pb.TASK_DETECT, json_schema="{}"),
            "config.json_schema",
            "FIELD_INVALID",
        ),
        (request(message(text("x")), stop=list("abcdef")), "config.stop", "FIELD_INVALID"),
    ],
)
async def test_each_refusal_names_its_field(asked: pb.GenerateRequest, field: str, reason: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        await converted(asked)
    assert (caught.value.field, convert.errors_pb2.ErrorReason.Name(caught.value.reason)) == (
        field,
        f"ERROR_REASON_{reason}",
    )


async def test_more_pictures_than_gemini_takes_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(convert, "MAX_IMAGES_PER_REQUEST", 2)
    await converted(request(message(data(), data())))
    with pytest.raises(InvalidArgument) as caught:
        await converted(request(message(data(), data(), data())))
    assert caught.value.field == "messages"


short = st.text(max_size=6)
enums = st.integers(0, 3) | st.integers(0, 3) | st.integers(0, 9)
media = st.builds(
    lambda kind, value, mime_type: media_pb2.Media(**{kind: value}, mime_type=mime_type),
    st.just("data"),
    st.binary(max_size=40) | st.sampled_from([PICTURE, PICTURE[:30], b"%PDF-1.4", b"\xff\xfb", b"RIFF0000WAVE"]),
    st.sampled_from(["", "image/png", "video/mp4"]),
) | st.builds(
    lambda address, mime_type: media_pb2.Media(uri=address, mime_type=mime_type),
    st.sampled_from(["gs://", "https://"]).flatmap(lambda start: short.map(lambda rest: start + rest)) | short,
    st.just("image/png") | short,
)
parts = st.builds(text, short) | st.builds(lambda m: pb.Part(media=m), media)
messages = st.lists(
    st.builds(lambda p, r: pb.Message(parts=p, role=r), st.lists(parts, min_size=1, max_size=3), enums),
    min_size=1,
    max_size=4,
)
configs = st.fixed_dictionaries(
    {},
    optional={
        "max_tokens": st.integers(1, 70_000) | st.integers(-1, 2**31 - 1),
        "temperature": st.floats(0, 2, width=32) | st.floats(width=32),
        "top_p": st.floats(0, 1, width=32) | st.floats(width=32),
        "top_k": st.integers(0, 2**31 - 1),
        "seed": st.integers(0, 2**33) | st.integers(-1, 2**63 - 1),
        "stop": st.lists(short, max_size=3),
        "json_schema": st.sampled_from(['{"type":"object"}', '{"$ref":"#/x"}', "{}", "[]", '{"type":' * 400]) | short,
        "thinking_level": enums,
        "media_resolution": enums,
    },
)


@given(messages, enums, configs, enums)
def test_whatever_is_asked_it_is_taken_or_refused_by_name(said, task, config, priority) -> None:
    asked = request(*said, task=task, **config)
    asked.routing.priority = priority
    try:
        made = asyncio.run(converted(asked))
    except ChiasmError as error:
        assert error.field
        return
    assert not made.turns[-1].by_model
    assert 1 <= made.settings.max_tokens <= MODEL.output_tokens


def report(model: str, cost: int, *, status: str = "OK", first_token_s: float | None = 0.5) -> Report:
    usage = TokenUsage({Modality.TEXT: 10, Modality.IMAGE: 258}, {Modality.IMAGE: 200}, answer=5, thinking=2)
    return Report("gemini-3.8-flash", status, Result(model, usage, cost, None, first_token_s, 1.5))


def test_a_piece_is_a_delta() -> None:
    event = convert.event_to_proto(Piece("Hello"), arrived_s=1.0, first_token_s=0.5)
    assert event == pb.StreamGenerateResponse(delta=pb.Delta(text="Hello"))


def test_the_end_sums_every_attempt_whose_figures_are_known() -> None:
    given_up = replace(report("", 0, status="DEADLINE_EXCEEDED"), result=None)
    failed = report("", 30, status="UNAVAILABLE", first_token_s=None)
    end = End(
        FinishReason.MAX_TOKENS,
        "MAX_TOKENS",
        (Detection("cat", 1.0, 2.0, 3.0, 4.0),),
        (given_up, failed, report("gemini-3.8-flash-001", 70)),
    )
    finished = convert.event_to_proto(end, arrived_s=2.25, first_token_s=0.5).finished
    assert finished.finish_reason == pb.FINISH_REASON_MAX_TOKENS
    usage = finished.usage
    assert (usage.cost_nanousd, usage.input_tokens, usage.media_input_tokens) == (100, 536, 516)
    assert (usage.output_tokens, usage.reasoning_output_tokens, usage.cached_input_tokens) == (14, 4, 400)
    route = finished.route
    assert (route.duration.ToMilliseconds(), route.time_to_first_token.ToMilliseconds()) == (2_250, 500)
    first, second, third = route.attempts
    assert (first.status, first.HasField("usage"), first.HasField("duration")) == ("DEADLINE_EXCEEDED", False, False)
    assert (second.usage.cost_nanousd, second.HasField("time_to_first_token")) == (30, False)
    assert (third.model, third.revision) == ("models/gemini-3.8-flash", "gemini-3.8-flash-001")
    (found,) = finished.detections
    assert (found.label, found.box.x_min, found.box.y_min, found.box.x_max, found.box.y_max) == ("cat", 1, 2, 3, 4)


@pytest.mark.parametrize("reason", FinishReason)
def test_every_reason_has_its_word(reason: FinishReason) -> None:
    event = convert.event_to_proto(End(reason, "", (), ()), arrived_s=1.0, first_token_s=None)
    assert pb.FinishReason.Name(event.finished.finish_reason) == f"FINISH_REASON_{reason.name}"
    assert not event.finished.route.HasField("time_to_first_token")


def test_a_model_tells_what_it_takes_and_costs() -> None:
    price = Prices().price_of(MODEL.name, datetime(2026, 11, 20, tzinfo=UTC))
    model = convert.model_to_proto(MODEL, price, SETTINGS, running=3, waiting=2, ready=True)
    assert (model.name, model.provider, model.ready) == ("models/gemini-3.8-flash", "gcp.gemini", True)
    assert (model.load.running, model.load.waiting) == (3, 2)
    assert model.limits.max_context_tokens == MODEL.context_tokens
    assert model.limits.max_media_bytes == SETTINGS.max_media_bytes
    assert model.price.input_nanousd_per_million_tokens == price.input > 0
    assert pb.TASK_UNSPECIFIED not in model.tasks
    assert pb.TASK_DETECT in model.tasks
