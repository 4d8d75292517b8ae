import pytest
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st

from chiasm.v1 import generation_pb2, media_pb2
from services.runtime.errors import InvalidArgument
from services.runtime.requests import MAX_TEXT_BYTES, check_generate

USER = generation_pb2.ROLE_USER


def request(**changes: object) -> generation_pb2.GenerateRequest:
    parts = [generation_pb2.Part(media=media_pb2.Media(data=b"x")), generation_pb2.Part(text="what is it?")]
    fields = {"task": generation_pb2.TASK_ANSWER, "messages": [generation_pb2.Message(role=USER, parts=parts)]}
    return generation_pb2.GenerateRequest(**{**fields, **changes})


def message(*parts: generation_pb2.Part, role: int = USER) -> list[generation_pb2.Message]:
    return [generation_pb2.Message(role=role, parts=parts)]


def text(value: str) -> generation_pb2.Part:
    return generation_pb2.Part(text=value)


def config(**fields: object) -> generation_pb2.GenerationConfig:
    return generation_pb2.GenerationConfig(**fields)


def test_a_good_request_passes() -> None:
    check_generate(request())
    check_generate(request(model="models/tiny-paligemma:adapter", request_id="a.b-c_1"))
    every = config(max_tokens=1, temperature=0, top_p=1, top_k=1, seed=0, stop=["\n"], json_schema="{}")
    check_generate(request(config=every))


BAD = {
    "model": request(model="tiny"),
    "request_id": request(request_id="a b"),
    "task": request(task=99),
    "messages": request(messages=[]),
    "messages[0].role": request(messages=message(text("x"), role=9)),
    "messages[0].parts": request(messages=message()),
    "messages[0].parts[0]": request(messages=message(generation_pb2.Part())),
    "messages[0].parts[0].media": request(messages=message(generation_pb2.Part(media=media_pb2.Media()))),
    "messages[0].parts[1].text": request(messages=message(text("a"), text("NUL\0"))),
    "config.max_tokens": request(config=config(max_tokens=0)),
    "config.temperature": request(config=config(temperature=float("nan"))),
    "config.top_p": request(config=config(top_p=0)),
    "config.top_k": request(config=config(top_k=-1)),
    "config.seed": request(config=config(seed=-1)),
    "config.stop": request(config=config(stop=[""])),
    "config.json_schema": request(config=config(json_schema="[" * 60_000)),
    "routing.min_confidence": request(routing=generation_pb2.Routing(min_confidence=1.5)),
    "routing.max_cost_nanousd": request(routing=generation_pb2.Routing(max_cost_nanousd=-1)),
    "routing.priority": request(routing=generation_pb2.Routing(priority=77)),
}


@pytest.mark.parametrize("field", BAD)
def test_a_bad_field_is_named(field: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        check_generate(BAD[field])
    assert caught.value.field == field


def test_text_is_bounded_over_all_parts() -> None:
    half = text("x" * (MAX_TEXT_BYTES // 2))
    check_generate(request(messages=message(half, half)))
    with pytest.raises(InvalidArgument) as caught:
        check_generate(request(messages=message(half, half, text("é"))))
    assert caught.value.field == "messages[0].parts[2].text"


@given(st.binary(max_size=300))
def test_any_bytes_that_parse_pass_or_name_a_field(data: bytes) -> None:
    parsed = generation_pb2.GenerateRequest()
    try:
        parsed.ParseFromString(data)
    except DecodeError:  # gRPC refuses it before a service sees it
        return
    try:
        check_generate(parsed)
    except InvalidArgument as error:
        assert error.field
