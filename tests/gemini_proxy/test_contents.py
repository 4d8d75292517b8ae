import json

import pytest
from google.genai import types
from hypothesis import given
from hypothesis import strategies as st

from services.gemini_proxy.catalogue import MediaResolution, find_model
from services.gemini_proxy.contents import config_of, contents_of, schema_of, task_text
from services.gemini_proxy.question import Reference, Task, Text, Thinking, Turn
from services.gemini_proxy.tasks import DETECTION_SCHEMA, prompt_of
from tests.gemini_proxy.questions import AT, picture_file, question

SCHEMA = '{"type": "object"}'


def config(*pieces, **settings) -> types.GenerateContentConfig:
    return config_of(question(*pieces, **settings), safety_threshold="BLOCK_ONLY_HIGH")


def test_an_open_question_is_sent_as_it_was_said() -> None:
    before = Turn(False, (Text("Hello"),)), Turn(True, (Text("Good day"),))
    asked = question(Text("What is"), picture_file(), Text("this?"), before=before)
    contents = contents_of(asked, {})
    assert [content.role for content in contents] == ["user", "model", "user"]
    first, picture, last = contents[2].parts
    assert (first.text, last.text) == ("What is", "this?")
    assert (picture.inline_data.data, picture.inline_data.mime_type) == (b"the bytes", "image/png")


@pytest.mark.parametrize("task", [Task.ANSWER, Task.DETECT])
def test_a_tasks_words_follow_the_media_and_hold_the_text_once(task: Task) -> None:
    asked = question(Text("the cat"), picture_file(), task=task, before=(Turn(False, (Text("Earlier"),)),))
    earlier, last = contents_of(asked, {})
    assert [part.text for part in earlier.parts] == ["Earlier"]
    assert last.parts[0].inline_data
    assert [part.text for part in last.parts[1:]] == [prompt_of(task, "the cat")]


def test_several_texts_of_the_last_turn_are_one_question() -> None:
    assert task_text(question(Text("one"), picture_file(), Text("two"), task=Task.ANSWER)) == "one\ntwo"


def test_files_that_were_uploaded_and_references_go_by_their_address() -> None:
    asked = question(picture_file(), Reference("gs://bucket/film.mp4", "video/mp4", "messages[0].parts[1].media.uri"))
    (content,) = contents_of(asked, {AT: "https://files/1"})
    assert [(part.file_data.file_uri, part.file_data.mime_type) for part in content.parts] == [
        ("https://files/1", "image/png"),
        ("gs://bucket/film.mp4", "video/mp4"),
    ]


def test_settings_are_passed_on_and_what_is_not_set_is_left_to_the_provider() -> None:
    bare = config(Text("hi"))
    assert bare.max_output_tokens == 100
    for name in ("temperature", "top_p", "top_k", "seed", "stop_sequences", "response_json_schema", "thinking_config"):
        assert getattr(bare, name) is None
    full = config(Text("hi"), temperature=0.0, top_p=0.5, top_k=3, seed=0, stop=("end",), json_schema=SCHEMA)
    assert (full.temperature, full.top_p, full.top_k, full.seed) == (0.0, 0.5, 3, 0)
    assert (full.stop_sequences, full.response_json_schema) == (["end"], {"type": "object"})
    assert full.response_mime_type == "application/json"


def test_nothing_is_done_by_the_sdk_itself_and_every_harm_has_a_threshold() -> None:
    made = config(Text("hi"), system=(Text("Be brief."),))
    assert made.automatic_continuation is False
    assert made.automatic_function_calling.disable is True
    assert made.candidate_count == 1
    assert [part.text for part in made.system_instruction] == ["Be brief."]
    assert len(made.safety_settings) == 4
    assert {setting.threshold.value for setting in made.safety_settings} == {"BLOCK_ONLY_HIGH"}


def test_boxes_are_asked_for_by_a_schema_of_their_own() -> None:
    asked = question(Text("cat"), picture_file(), task=Task.DETECT)
    assert json.loads(schema_of(asked)) == DETECTION_SCHEMA
    assert schema_of(question(Text("hi"))) == ""


@pytest.mark.parametrize(
    ("resolution", "sent"),
    [
        (MediaResolution.UNSPECIFIED, None),
        (MediaResolution.LOW, types.MediaResolution.MEDIA_RESOLUTION_LOW),
        (MediaResolution.MEDIUM, types.MediaResolution.MEDIA_RESOLUTION_MEDIUM),
        (MediaResolution.HIGH, types.MediaResolution.MEDIA_RESOLUTION_HIGH),
    ],
)
def test_the_resolution_is_the_providers_own(resolution: MediaResolution, sent: types.MediaResolution | None) -> None:
    assert config(Text("hi"), media_resolution=resolution).media_resolution is sent


@pytest.mark.parametrize(
    ("model", "thinking", "level", "budget"),
    [
        ("gemini-3.5-flash", Thinking.MINIMAL, "MINIMAL", None),
        ("gemini-3.8-flash", Thinking.HIGH, "HIGH", None),
        ("gemini-3.1-pro-preview", Thinking.MINIMAL, "LOW", None),
        ("gemini-2.5-flash", Thinking.MINIMAL, None, 0),
        ("gemini-2.5-flash", Thinking.HIGH, None, 24_576),
        ("gemini-2.5-pro", Thinking.MINIMAL, None, 128),
        ("gemini-2.5-pro", Thinking.MEDIUM, None, 16_384),
    ],
)
def test_the_level_of_reasoning_is_the_nearest_that_the_model_has(
    model: str, thinking: Thinking, level: str | None, budget: int | None
) -> None:
    made = config(Text("hi"), model=model, thinking=thinking).thinking_config
    assert (made.thinking_level and made.thinking_level.value, made.thinking_budget) == (level, budget)


@given(st.sampled_from(Thinking), st.from_regex(r"gemini-[1-5](\.[0-9])?-(flash|pro)(-lite)?", fullmatch=True))
def test_a_budget_of_reasoning_is_one_the_model_allows(thinking: Thinking, name: str) -> None:
    made = config(Text("hi"), model=name, thinking=thinking).thinking_config
    model = find_model(name)
    if made is not None and model.thinking_budget is not None:
        assert made.thinking_budget in model.thinking_budget
