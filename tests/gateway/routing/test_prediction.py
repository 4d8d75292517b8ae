"""Predictions against a server whose times are known."""

from math import isfinite
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chiasm.v1 import generation_pb2, usage_pb2
from services.gateway.routing.prediction import KNOWN_AFTER, STALE_S, Outcome, Predictor
from services.gateway.routing.requirements import MediaNeed, Requirements
from tests.gateway.routing.asks import large, small


def needs(media: int = 1, pixels: int = 10**6, text_tokens: int = 20, max_tokens: int | None = None) -> Requirements:
    item = MediaNeed("messages[0].parts[0].media", None, 1_000, remote=False)
    return Requirements(
        generation_pb2.TASK_ANSWER,
        (item,) * media,
        pixels,
        text_tokens,
        max_tokens,
        conversation=False,
        json_schema=False,
    )


def usage(output_tokens: int, cost_nanousd: int = 0) -> usage_pb2.Usage:
    return usage_pb2.Usage(
        input_tokens=280, media_input_tokens=256, output_tokens=output_tokens, cost_nanousd=cost_nanousd
    )


def test_first_tokens_and_totals_are_told_apart() -> None:
    random, predictor, model = Random(1), Predictor(), small()
    for _ in range(40):
        asked, tokens = needs(pixels=random.randrange(10**5, 10**7)), random.randrange(4, 40)
        first_s = 0.1 + 0.05 * asked.pixels / 1e6
        forecast = predictor.forecast("here", model, asked)
        predictor.learn(
            "here", model, asked, forecast, Outcome(first_s, first_s + 0.03 * tokens, usage(tokens), ok=True)
        )
    forecast = predictor.forecast("here", model, needs(pixels=4 * 10**6))
    assert forecast.first_token_s == pytest.approx(0.3, rel=0.15)
    assert forecast.total_s == pytest.approx(0.3 + 0.03 * 22, rel=0.25)
    capped = predictor.forecast("here", model, needs(pixels=4 * 10**6, max_tokens=1))
    assert capped.total_s == pytest.approx(0.33, rel=0.25)


def test_what_one_server_takes_says_nothing_of_another() -> None:
    predictor, model = Predictor(), small()
    for _ in range(10):
        forecast = predictor.forecast("slow", model, needs())
        predictor.learn("slow", model, needs(), forecast, Outcome(9.0, 9.5, usage(8), ok=True))
    assert predictor.forecast("slow", model, needs()).total_s > 8
    assert predictor.forecast("new", model, needs()).total_s < 2


def test_a_prediction_is_known_after_some_answers_and_fresh_for_a_while() -> None:
    now = [0.0]
    predictor, model = Predictor(lambda: now[0]), small()
    for _ in range(KNOWN_AFTER):
        forecast = predictor.forecast("here", model, needs())
        assert (forecast.known, forecast.total_s > 0) == (False, True)
        predictor.learn("here", model, needs(), forecast, Outcome(0.1, 0.2, usage(8), ok=True))
    forecast = predictor.forecast("here", model, needs())
    assert (forecast.known, forecast.fresh) == (True, True)
    now[0] += STALE_S
    assert not predictor.forecast("here", model, needs()).fresh


def test_the_cost_is_the_list_until_answers_tell_otherwise() -> None:
    predictor, model = Predictor(), large()
    assert predictor.forecast("here", model, needs()).cost_nanousd == 300 * (20 + 258) + 2_500 * 32
    assert predictor.forecast("here", small(), needs()).cost_nanousd == 0
    for _ in range(10):
        forecast = predictor.forecast("here", model, needs())
        cached = usage(16, cost_nanousd=(280 * 300 + 16 * 2_500) // 2)
        predictor.learn("here", model, needs(), forecast, Outcome(0.5, 0.6, cached, ok=True))
    assert predictor.forecast("here", model, needs()).cost_nanousd == pytest.approx(
        (276 * 300 + 16 * 2_500) / 2, rel=0.01
    )


seconds = st.floats(allow_nan=True, allow_infinity=True)
counts = st.integers(0, 2**40)
outcomes = st.tuples(st.none() | seconds, seconds, counts, st.booleans(), st.floats(0, 1e9), st.integers(0, 100))


@given(st.lists(outcomes, max_size=30))
def test_whatever_is_learned_times_and_costs_stay_numbers(lessons: list[tuple]) -> None:
    predictor, model = Predictor(), large()
    for first_s, total_s, tokens, ok, ahead_s, others in lessons:
        forecast = predictor.forecast("here", model, needs(), ahead_s=ahead_s, others=others)
        assert 0 < forecast.first_token_s <= forecast.total_s
        assert isfinite(forecast.total_s)
        assert forecast.work_s <= forecast.total_s + 1e-9
        assert forecast.cost_nanousd >= 0
        predictor.learn("here", model, needs(), forecast, Outcome(first_s, total_s, usage(tokens, tokens), ok))
