"""The short form of parity: every token as transformers gives it, for Gemma 2 with big_vision's two corrections.

The corrections: `parity/reference.py`. The long form is `make parity`.
"""

from pathlib import Path

from tests.paligemma.parity.checkpoints import (
    random_adapter,
    random_gemma1,
    random_gemma2,
    save_as_google,
    save_as_transformers,
)
from tests.paligemma.parity.compare import compare
from tests.paligemma.parity.questions import Answer, questions
from tests.paligemma.parity.reference import Reference
from tests.paligemma.parity.served import served

QUESTIONS = 12
WORST_LOGPROB_DIFFERENCE = 1e-3


def assert_parity(ours: list[Answer], model: Path) -> None:
    reference = Reference(model)
    parity = compare(ours, reference.answers(questions(QUESTIONS, reference.image_size)))
    assert parity.exact == parity.asked == QUESTIONS
    assert parity.worst < WORST_LOGPROB_DIFFERENCE


def test_gemma1_and_an_adapter_of_it_answer_in_the_same_batches_as_in_transformers(tmp_path: Path) -> None:
    model = random_gemma1(1)
    base = save_as_google(model, tmp_path / "base")
    adapter = random_adapter(model, tmp_path / "adapter")
    merged = save_as_transformers(model, tmp_path / "merged")
    answers = served(base, QUESTIONS, ("staggered", "adapter"), adapter=adapter)
    assert_parity(answers["staggered"], base)
    assert_parity(answers["adapter"], merged)


def test_gemma2_beyond_its_window_answers_as_in_transformers_with_big_visions_corrections(tmp_path: Path) -> None:
    """The key names are transformers 5's; every prompt is longer than the window of 48 tokens."""
    model = save_as_transformers(random_gemma2(2, window=48), tmp_path / "model")
    assert_parity(served(model, QUESTIONS, ("staggered",))["staggered"], model)
