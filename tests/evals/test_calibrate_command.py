"""`chiasm calibrate` as a real process: from the runs of two models to a policy and a page."""

import json
import os
import random
from html.parser import HTMLParser
from pathlib import Path

import pytest

from chiasm import InvalidArgument, Task
from evals.calibration import Cascade
from evals.journal import Record, RunOf
from evals.pairing import Paired, pair
from evals.policy_yaml import write_cascades
from evals.report import Scored
from evals.scores import write_scores
from evals.suite import Item, Reply
from services.gateway.policy_file import load
from tests.client.conftest import Ended, run_command

QUESTIONS = 600
BEFORE = """\
# Who answers what.
tasks:
  answer:
    candidates:
    - model: models/sm*l  # on our own machines
      min_confidence: 0.1
    - model: "models/large"
fallback: {on: [unavailable]}  # nothing else
"""


def run_of(folder: Path, model: str, *, suite: str = "numbered", digest: str = "sha256-0", seed: int = 0) -> Path:
    """What `chiasm eval` leaves: the small model is right as often as it says, squared; the large one always, for 7."""
    rng = random.Random(seed)
    scored = []
    for number in range(QUESTIONS):
        task = Task.ANSWER if number % 2 else Task.READ_TEXT
        confidence = rng.random() ** 0.2 if model == "models/small" else None
        right = confidence is None or rng.random() < confidence**2 or confidence > 0.8
        cost = 0 if model == "models/small" else 7
        record = Record(f"{number}", (Reply(model=model, confidence=confidence, cost_nanousd=cost),))
        scored.append(Scored(Item(f"{number}", "", task, ("?",)), record, {}, float(right)))
    folder.mkdir()
    write_scores(RunOf(suite, QUESTIONS, digest, {model: "r1"}), scored, folder)
    return folder


@pytest.fixture
def runs(tmp_path: Path) -> dict[str, Path]:
    return {name: run_of(tmp_path / name, f"models/{name}") for name in ("small", "large")}


async def calibrate(small: Path, large: Path, policy: Path, *more: str) -> Ended:
    return await run_command("calibrate", "--small", str(small), "--large", str(large), "--policy", str(policy), *more)


async def test_a_policy_is_made_and_the_gateway_takes_it(runs: dict[str, Path], tmp_path: Path) -> None:
    policy, page = tmp_path / "policy.yaml", tmp_path / "page.html"
    ended = await calibrate(runs["small"], runs["large"], policy, "--report", str(page))
    assert ended.code == 0, ended.err
    assert [line.partition(":")[0] for line in ended.out.splitlines()] == ["read_text", "answer", "all"]
    assert "right: small " in ended.out
    assert f"report: {page}" in ended.err
    _check_page(page.read_text())
    for name in ("answer", "read_text"):
        small, large = load(policy).policy.task(name).candidates
        assert (small.model, large.model, large.min_confidence) == ("models/small", "models/large", None)
        assert f"{small.min_confidence:g}" in ended.err
        assert 0 < small.min_confidence < 1
        assert len(small.calibration) > 1


async def test_what_else_a_policy_says_stays_word_for_word(runs: dict[str, Path], tmp_path: Path) -> None:
    policy = tmp_path / "policy.yaml"
    policy.write_text(BEFORE)
    policy.chmod(0o640)
    ended = await calibrate(runs["small"], runs["large"], policy)
    assert ended.code == 0, ended.err
    after = policy.read_text().splitlines()
    assert [line for line in BEFORE.splitlines() if line not in after] == ["      min_confidence: 0.1"]
    assert load(policy).policy.task("answer").candidates[0].min_confidence > 0.1
    assert load(policy).policy.fallback.on == {"unavailable"}
    assert policy.stat().st_mode & 0o777 == 0o640
    assert sorted(os.listdir(tmp_path)) == ["large", "policy.yaml", "small"]


async def test_a_target_that_cannot_be_kept_changes_nothing(runs: dict[str, Path], tmp_path: Path) -> None:
    policy = tmp_path / "policy.yaml"
    policy.write_text(BEFORE)
    ended = await calibrate(runs["small"], runs["large"], policy, "--target", "1")
    assert ended.code == 2
    assert "no threshold surely keeps 1 on 300 questions" in ended.err
    assert policy.read_text() == BEFORE


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("tasks: [", "is not YAML"),
        ("- answer", "it is not a mapping"),
        ("tasks: 3", "tasks is not what a policy has there"),
        ("tasks: {answer: {candidates: 3}}", "candidates is not what a policy has there"),
        ("tasks: {answer: {candidates: [{model: models/other}]}}", "tasks.answer.candidates do not name models/small"),
    ],
)
def test_what_is_no_policy_is_said_and_left(tmp_path: Path, text: str, said: str) -> None:
    policy = tmp_path / "policy.yaml"
    policy.write_text(text)
    cascades = {Task.ANSWER: Cascade(((0.1, 0.2), (0.9, 0.9)), 0.5)}
    with pytest.raises(InvalidArgument, match=said) as error:
        write_cascades(policy, Paired("models/small", "models/large", {}), cascades)
    assert error.value.field == "policy"
    assert policy.read_text() == text


def test_runs_that_do_not_fit_together_are_said(runs: dict[str, Path], tmp_path: Path) -> None:
    other_suite = run_of(tmp_path / "a", "models/large", suite="lettered")
    other_questions = run_of(tmp_path / "b", "models/large", digest="sha256-1")
    other_model = run_of(tmp_path / "c", "models/huge", suite="lettered")
    torn = tmp_path / "torn"
    torn.mkdir()
    (torn / "scores.json").write_text(json.dumps({"scores": 3}))
    small, large = runs["small"], runs["large"]
    for smalls, larges, field, said in (
        ([small], [other_suite], "large", "suites lettered: the small model was asked numbered"),
        ([small], [other_questions], "large", "the two models were not asked the same of numbered"),
        ([large], [small], "small", "models/large tells no confidence"),
        ([small, run_of(tmp_path / "d", "models/small", suite="lettered")], [large, other_model], "large", "2 models"),
        ([tmp_path], [large], "small", "holds no run of `chiasm eval` that is through"),
        ([small], [torn], "large", "holds no scores"),
    ):
        with pytest.raises(InvalidArgument, match=said) as error:
            pair(smalls, larges)
        assert error.value.field == field


def _check_page(text: str) -> None:
    """It needs nothing else, and draws the three ways."""
    tags: list[str] = []
    parser = HTMLParser()
    parser.handle_starttag = lambda tag, attributes: tags.append(tag)
    parser.feed(text)
    assert not {"script", "link", "img", "iframe"} & set(tags)
    assert (tags.count("circle"), tags.count("polyline")) == (3, 1)
    for name in ("always small", "always large", "cascade", "cost of 1,000 questions"):
        assert name in text
