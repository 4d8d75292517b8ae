import json
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.gemini_proxy.attempt import Result
from services.gemini_proxy.finishing import FinishReason, check_schema, finish_of, read_form
from services.gemini_proxy.question import Settings, Task, Text
from services.gemini_proxy.tasks import Detection, MalformedAnswer
from services.gemini_proxy.usage import TokenUsage
from services.runtime.errors import InvalidArgument
from tests.gemini_proxy.questions import picture_file, question

FIELD = "config.json_schema"
PERSON = json.dumps(
    {
        "type": "object",
        "properties": {"name": {"type": "string"}, "friends": {"type": "array", "items": {"$ref": "#"}}},
        "required": ["name"],
    }
)


def check(schema: object) -> None:
    check_schema(json.dumps(schema), FIELD)


def form(schema: str, answer: object) -> tuple[Detection, ...]:
    return read_form(question(Text("hi"), json_schema=schema), json.dumps(answer))


def finish(word: str, message: str = "", text: str = "", thinking: int = 0) -> tuple[FinishReason, str]:
    result = Result("gemini-3.8-flash", TokenUsage(thinking=thinking), 0, None, None, 1.0)
    return finish_of(word, message, text, result, Settings(max_tokens=1_000))


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        ("STOP", FinishReason.STOP),
        ("MAX_TOKENS", FinishReason.MAX_TOKENS),
        ("SAFETY", FinishReason.BLOCKED),
        ("RECITATION", FinishReason.BLOCKED),
        ("MODEL_ARMOR", FinishReason.BLOCKED),
        ("PROMPT_SAFETY", FinishReason.BLOCKED),
        ("PROMPT_OTHER", FinishReason.BLOCKED),
        ("MALFORMED_RESPONSE", FinishReason.OTHER),
        ("A_WORD_OF_TOMORROW", FinishReason.OTHER),
    ],
)
def test_the_providers_word_has_its_reason(word: str, reason: FinishReason) -> None:
    assert finish(word) == (reason, word)


def test_the_providers_message_is_told_and_cut() -> None:
    assert finish("SAFETY", "it was rude") == (FinishReason.BLOCKED, "SAFETY: it was rude")
    assert len(finish("SAFETY", "rude" * 1_000)[1]) == 300


def test_reasoning_that_ate_the_cap_is_told_with_what_to_do() -> None:
    reason, detail = finish("MAX_TOKENS", thinking=990)
    assert reason is FinishReason.MAX_TOKENS
    for told in ("990", "1,000", "config.max_tokens", "config.thinking_level"):
        assert told in detail
    assert finish("MAX_TOKENS", text="a part", thinking=990)[1] == "MAX_TOKENS"
    assert finish("MAX_TOKENS")[1] == "MAX_TOKENS"


@pytest.mark.parametrize(
    "schema",
    [
        {},
        {"$schema": "http://json-schema.org/draft-07/schema#", "type": "object"},
        {"definitions": {"a": {"type": "string"}}, "properties": {"a": {"$ref": "#/definitions/a"}}},
        {"$defs": {"a": {"$anchor": "here"}}, "$ref": "#here"},
        json.loads(PERSON),
    ],
)
def test_schemas_are_taken(schema: object) -> None:
    check(schema)


@pytest.mark.parametrize(
    "schema",
    [
        {"type": 3},
        {"type": "strnig"},
        {"required": "name"},
        {"pattern": "("},
        {"pattern": "a{99999999999999}"},
        {"pattern": "\\p{L}{100}"},
        {"pattern": "(" * 5_000 + ")" * 5_000},
        {"pattern": "(?=look)ahead"},
        {"$ref": "#/$defs/missing"},
        {"maximum": 3, "$ref": "#/maximum/x"},
        {"$dynamicRef": "#nowhere"},
        {"properties": {"a": {"$ref": "other.json"}}},
        {"$ref": "https://json-schema.org/draft/2020-12/schema"},
        {"$id": "http://[", "$ref": "x"},
        {"const": "half a \ud83d"},
    ],
)
def test_what_no_answer_could_be_held_to_is_refused_before_it_costs_anything(schema: object) -> None:
    with pytest.raises(InvalidArgument) as caught:
        check(schema)
    assert caught.value.field == FIELD


@pytest.mark.parametrize("depth", [100, 300, 900])
def test_schemas_of_any_depth_are_taken_or_refused(depth: int) -> None:
    try:
        check_schema('{"not":' * depth + "{}" + "}" * depth, FIELD)
    except InvalidArgument as error:
        assert error.field == FIELD


@pytest.fixture
def listener():
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        yield server


@pytest.mark.parametrize("keyword", ["$ref", "$dynamicRef", "$schema"])
def test_references_to_other_documents_are_not_followed_over_the_network(listener, keyword: str) -> None:
    schema = json.dumps({keyword: f"http://127.0.0.1:{listener.getsockname()[1]}/schema"})
    try:
        check_schema(schema, FIELD)
        form(schema, {})
    except (InvalidArgument, MalformedAnswer):
        assert keyword != "$schema"
    with pytest.raises(BlockingIOError):  # nobody came
        listener.accept()


def test_an_answer_of_the_form_passes_and_another_is_told_where_it_differs() -> None:
    """But not by its words, which may be private."""
    assert form(PERSON, {"name": "Ada", "friends": [{"name": "Charles"}]}) == ()
    with pytest.raises(MalformedAnswer, match=r'at /friends/0/name: the value is not of type "string"'):
        form(PERSON, {"name": "Ada", "friends": [{"name": 3}]})
    with pytest.raises(MalformedAnswer, match="not JSON"):
        read_form(question(Text("hi"), json_schema=PERSON), "Ada")


def test_a_schema_that_refers_to_itself_without_end_ends() -> None:
    check({"$ref": "#"})
    form('{"$ref": "#"}', {"a": 1})


def test_answers_are_read_in_linear_time() -> None:
    """A backtracking matcher would hold the whole process for longer than the universe lasts."""
    with pytest.raises(MalformedAnswer, match="does not match"):
        form('{"pattern": "^(a+)+$"}', "a" * 10_000 + "!")
    form('{"uniqueItems": true}', [{"a": number} for number in range(10_000)])


def test_a_deep_answer_is_no_fault() -> None:
    deep = "[" * 900 + "]" * 900
    assert read_form(question(Text("hi"), json_schema='{"items": {"$ref": "#"}}'), deep) == ()


def test_half_a_character_in_an_answer_is_malformed() -> None:
    with pytest.raises(MalformedAnswer):
        read_form(question(Text("hi"), json_schema='{"type": "string"}'), '"\\ud83d"')


def test_boxes_are_read_against_the_one_picture() -> None:
    asked = question(Text("cat"), picture_file(640, 480), task=Task.DETECT)
    answer = '```json\n[{"box_2d": [0, 0, 500, 500], "label": "cat"}]\n```'
    assert read_form(asked, answer) == (Detection("cat", 0.0, 0.0, 320.0, 240.0),)


keywords = st.sampled_from(
    ["type", "$ref", "$id", "$anchor", "$defs", "properties", "items", "pattern", "enum", "not", "allOf", "minimum"]
)
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(["#", "#/items", "string", "#/$defs/a", "object"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keywords | st.text(max_size=3), inner, max_size=3),
    max_leaves=10,
)


@given(st.dictionaries(keywords, values, max_size=4), values)
def test_whatever_the_schema_and_the_answer_nothing_else_is_raised(schema: dict, answer: object) -> None:
    try:
        check(schema)
    except InvalidArgument as error:
        assert error.field == FIELD
        return
    try:
        form(json.dumps(schema), answer)
    except MalformedAnswer as error:
        assert str(error)
