"""What models write becomes statements; and texts that say the same, and those that do not."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.gateway.asking.reading import MOST_CHARACTERS, MOST_MENTIONS, MOST_STATEMENTS, Mention, statements_of
from services.gateway.asking.support import agree, canonical, covers, has_numbers, is_quoted
from services.runtime.errors import Aborted

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["statements", "text", "sources", "number", "quote"]) | st.text(), inner)
    ),
    max_leaves=30,
)


@given(st.text() | JSON.map(json.dumps) | JSON.map(lambda value: json.dumps({"statements": value})))
def test_anything_is_read_or_said_to_be_no_answer(said: str) -> None:
    try:
        read = statements_of(said, 4)
    except Aborted:
        return
    for statement in read:
        statement.text.encode()  # what cannot be sent on raises
        numbers = [mention.number for mention in statement.mentions]
        assert numbers == sorted(set(numbers))
        assert all(0 <= number < 2**31 for number in numbers)


def test_sources_in_the_text_count_and_its_markers_go() -> None:
    said = (
        '{"statements": [{"text": "x[0] is red [2] [3], as in [1999].", "sources": [{"number": 2, "quote": "red"}]}]}'
    )
    for written in (said, f"```json\n{said}\n```", f"Here it is:\n```\n{said}\n```\nThat was it."):
        (statement,) = statements_of(written, 4)
        assert statement.text == "x[0] is red, as in [1999]."
        assert statement.mentions == (Mention(2, "red"), Mention(3, ""))


def test_of_an_answer_that_breaks_off_whole_statements_are_kept() -> None:
    whole = json.dumps({"statements": [{"text": "It is red.", "sources": []}, {"text": "It is round.", "sources": []}]})
    cut = whole[: whole.index("round")]
    assert [each.text for each in statements_of(cut, 4)] == ["It is red."]
    with pytest.raises(Aborted):
        statements_of(cut[: cut.index("red")], 4)


def test_what_is_far_too_much_is_cut() -> None:
    sources = [{"number": number, "quote": ""} for number in range(100)]
    said = json.dumps({"statements": [{"text": "x" * 5_000, "sources": sources}] * 100})
    read = statements_of(said, 100)
    assert len(read) == MOST_STATEMENTS
    assert len(read[0].text) == MOST_CHARACTERS
    assert len(read[0].mentions) == MOST_MENTIONS


@pytest.mark.parametrize(
    ("quote", "text", "there"),
    [
        ("Total: 42 €", "the TOTAL was: 42 euros", False),
        ("total 42", "Sum TOTAL: 42 euros", True),
        ("42", "Sum TOTAL: 42 euros", True),
        ("42", "Sum TOTAL: 420 euros", False),
        ("1,000 euros", "the sum of 1000 euros", True),
        ("the quick brwn fox", "See the quick brown fox jump.", True),
        ("", "anything", False),
        ("a", "a total of 42", False),
        ("total in", "a total in euros", False),
        ("total in", "Total in:", True),
        ("art", "the party was large", False),
        ("red arts", "the tired artsy party", False),
        ("a b c d e", "a b", False),
        ("ﬁrst page", "the first page", True),
        ("红色", "这是红色的汽车", True),
        ("revenue in 2023 was 92 million euros", "Total revenue in 2024 was 42 million euros.", False),
        ("total revenue was 42 million euros", "Total revenue was not 42 million euros.", False),
    ],
)
def test_quotes(quote: str, text: str, there: bool) -> None:
    assert is_quoted(quote, text) is there


@pytest.mark.parametrize(
    ("answer", "statement", "question", "same"),
    [
        ("red", "The circle is red.", "", True),
        ("blue", "The circle is red.", "", False),
        ("2", "There are two circles", "", True),
        ("3", "There are two circles", "", False),
        ("the value of Mar is 17", "the value of Mar is 42", "", False),
        ("", "anything", "", False),
        ("a red car in the street", "a red car", "", True),
        ("the old car is red", "The old car is blue.", "What colour is the old car?", False),
        ("42 million in 2024", "Revenue was 43 million in 2024.", "", False),
        ("it is not red", "It is red.", "", False),
        ("it isn’t red", "It is not red.", "", True),
        ("yes", "The star is red.", "Is the star red?", True),
        ("no", "The star is red.", "Is the star red?", False),
        ("no", "The star is not red.", "Is the star red?", True),
        ("nothing of it", "Revenue was not 42 million.", "What was sold?", False),
    ],
)
def test_answers_that_say_the_same(answer: str, statement: str, question: str, same: bool) -> None:
    assert agree(answer, statement, question) is same


@pytest.mark.parametrize(
    ("text", "statement", "covered"),
    [
        ("In 2024 the revenue was 42 million.", "Revenue was 42 million", True),
        ("In 2024 the revenue was 42 million.", "Revenue was 43 million", False),
        ("Revenue in 2023 was 92 million, in 2024 42 million.", "Revenue in 2023 was 42 million", False),
        ("The dog bit the man in May.", "The man bit the dog", False),
        ("Nobody says that revenue was 42 million.", "Revenue was 42 million", False),
        ("There was no loss. Revenue was 42 million.", "Revenue was 42 million", True),
        ("The red house burned.", "It is red.", False),
        ("", "It is red.", False),
        ("red", "", False),
    ],
)
def test_a_text_covers_what_it_says_in_so_many_words(text: str, statement: str, covered: bool) -> None:
    assert covers(text, statement) is covered


def test_numbers_must_come_from_one_place() -> None:
    assert has_numbers(["nothing", "42 in 2024"], "2024: 42")
    assert not has_numbers(["in 2024", "it was 42"], "2024: 42")


def test_alike_but_for_case_and_fillers() -> None:
    assert canonical("The Red.") == canonical("red")
    assert canonical("two") == canonical("2")
    assert canonical("it is") == "it is"
    assert canonical(" .. ") == ""
