"""How like an answer and what an OCR engine read are, and of which answers that is asked."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chiasm.v1 import generation_pb2 as generation
from services.gateway.cascade.agreement import agreement, reads_text, should_be_whole
from services.gateway.cascade.ocr import Line
from services.gateway.policy import OcrAgreementPolicy

LEAST = OcrAgreementPolicy().similarity
STOP, CUT = generation.FINISH_REASON_STOP, generation.FINISH_REASON_MAX_TOKENS
WORD = st.text("abcdefghijklmnop123", min_size=1, max_size=9)
REPORT = ("ANNUAL  REPORT", "2024", "Profit: 12%")
SAYS = "what does the sign say?"


def lines(*texts: str, score: float = 0.99) -> list[Line]:
    return [Line(text, score) for text in texts]


def asked(task: generation.Task, words: str = "", **config: object) -> generation.GenerateRequest:
    message = generation.Message(parts=[generation.Part(text=words)] if words else [])
    return generation.GenerateRequest(task=task, messages=[message], config=generation.GenerationConfig(**config))


@pytest.mark.parametrize(
    ("text", "read", "agrees"),
    [
        ("STOP", ("Stop",), True),
        ("Apple 12", ("Apple12.",), True),
        ("straße", ("STRASSE",), True),
        ("full", ("ｆｕｌｌ",), True),
        ("停车场", ("停车场",), True),
        ("annual report\n2024\nprofit 12", REPORT, True),
        ("profit 12 annual report 2024", REPORT, True),
        ("annual rep0rt 2024 profit 12", REPORT, True),
        ("SHOP", ("STOP",), False),
        ("AB", ("ABC",), False),
        ("ABC", ("AB",), False),
        ("annual report", REPORT, False),
        ("annual report 2024 profit 12 and so much more", REPORT, False),
        ("...", ("STOP",), False),
    ],
)
def test_reading_all_text_is_compared_both_ways(text: str, read: tuple[str, ...], agrees: bool) -> None:
    assert (agreement(text, lines(*read), question="", all_of_it=True) >= LEAST) is agrees


@pytest.mark.parametrize(
    ("text", "read", "agrees"),
    [
        ("Annual Report", REPORT, True),
        ("12 %", REPORT, True),
        ("the sign says AB", ("AB",), True),
        ("STOP ALL WAY is written on the sign.", ("STOP", "ALL", "WAY"), True),
        ("the sign says: The Reading Room", ("THE READING ROOM",), True),
        ("入口", ("停车场入口",), True),
        ("SHOP", ("STOP",), False),
        ("top", ("STOP",), False),
        ("1", ("Total 7312",), False),
        ("a", ("STOP SIGN AHEAD",), False),
        ("the sign says bananas for sale today", ("THE", "STOP"), False),
        ("It says CLOSED at 5", ("OPEN", "5"), False),
        ("the total is 999", ("TOTAL", "is", "12"), False),
        ("The title is Moby Dick", ("The", "Great Gatsby"), False),
        ("the sign says SHOP", ("STOP",), False),
        ("Manual", REPORT, False),
        ("a cat on a mat", REPORT, False),
        ("nothing", ("AB",), False),
    ],
)
def test_an_answer_may_be_a_part_of_the_text_or_quote_it(text: str, read: tuple[str, ...], agrees: bool) -> None:
    assert (agreement(text, lines(*read), question=SAYS, all_of_it=False) >= LEAST) is agrees


def test_the_words_of_the_question_are_no_part_of_what_an_answer_quotes() -> None:
    answer, read = 'The main heading is "Annual report".', lines(*REPORT)
    assert agreement(answer, read, question="what is the main heading?", all_of_it=False) == 1
    assert agreement(answer, read, question=SAYS, all_of_it=False) < LEAST


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("STOP", []),
        ("STOP", lines("●", "—")),
        ("STOP", lines("SHOP", score=0.7)),
        ("STOP", [Line("lvy", 0.95), Line("a long line of grass", 0.6)]),
        ("МОСКВА", lines("MOCKBA")),
    ],
    ids=["nothing", "symbols", "unsure", "mostly unsure", "a script that it knows not"],
)
@pytest.mark.parametrize("all_of_it", [True, False])
def test_an_engine_that_read_nothing_surely_has_no_say(text: str, read: list[Line], all_of_it: bool) -> None:
    assert agreement(text, read, question="", all_of_it=all_of_it) is None


def test_a_long_answer_is_not_looked_up() -> None:
    assert agreement("word " * 100, lines("word"), question="", all_of_it=False) is None
    assert agreement("word " * 10_000, lines("word " * 10_000), question="", all_of_it=True) == 1


@pytest.mark.parametrize(
    ("question", "reads"),
    [
        ("What does the sign say?", True),
        ("what is written on the wall", True),
        ("What's printed at the top?", True),
        ("what is the title?", True),
        ("What are the words on the board?", True),
        ("Read the text.", True),
        ("what word is this?", True),
        ("what color is the text?", False),
        ("what is the color of the word?", False),
        ("what does the word written here mean?", False),
        ("what language is the text?", False),
        ("what is the text about?", False),
        ("how many words are written here?", False),
        ("what is the woman reading?", False),
        ("does the sign say STOP?", False),
        ("which bar is the highest?", False),
    ],
)
def test_questions_for_what_is_written(question: str, reads: bool) -> None:
    assert reads_text(asked(generation.TASK_ANSWER, question)) is reads


def test_other_tasks_and_forms_read_nothing() -> None:
    assert reads_text(asked(generation.TASK_READ_TEXT))
    assert not reads_text(asked(generation.TASK_READ_TEXT, json_schema="{}"))
    assert not reads_text(asked(generation.TASK_OPEN, "what does the sign say?"))
    assert not reads_text(asked(generation.TASK_DETECT, "the title"))


@pytest.mark.parametrize(
    ("request_", "reason", "whole"),
    [
        (asked(generation.TASK_READ_TEXT), STOP, True),
        (asked(generation.TASK_READ_TEXT, max_tokens=3), CUT, False),
        (asked(generation.TASK_READ_TEXT, stop=["."]), STOP, False),
        (asked(generation.TASK_ANSWER, "what is the title?"), STOP, False),
    ],
)
def test_what_was_cut_as_asked_is_a_part(
    request_: generation.GenerateRequest, reason: generation.FinishReason, whole: bool
) -> None:
    assert should_be_whole(request_, generation.Finished(finish_reason=reason)) is whole


@given(st.lists(WORD, min_size=1, max_size=12), st.randoms(use_true_random=False))
def test_spaces_case_and_the_order_of_words_change_nothing(words: list[str], random) -> None:
    shuffled = random.sample(words, len(words))
    read = lines(*words)
    assert agreement(" ".join(shuffled).upper(), read, question="", all_of_it=True) == 1
    assert agreement("".join(words), read, question="", all_of_it=True) == 1


@given(st.lists(WORD, min_size=1, max_size=12), st.data())
def test_any_part_of_the_text_is_found(words: list[str], data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(words) - 1))
    part = words[start : data.draw(st.integers(start + 1, len(words)))]
    assert agreement(" ".join(part), lines(*words), question="", all_of_it=False) == 1


@given(st.text(max_size=300), st.lists(st.tuples(st.text(max_size=50), st.floats(0, 1)), max_size=8), st.booleans())
def test_anything_can_be_compared(text: str, read: list[tuple[str, float]], all_of_it: bool) -> None:
    found = agreement(text, [Line(*line) for line in read], question=text[:20], all_of_it=all_of_it)
    assert found is None or 0 <= found <= 1
