"""The policy's file: its faults with their lines, and its changes."""

import asyncio
import logging
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.gateway import policy_file
from services.gateway.policy import Policy
from services.gateway.policy_file import BadPolicy, PolicyFile, load
from services.gateway.yaml_lines import YamlFault, read

GOOD = """\
# what answers what
tasks:
  answer:
    candidates:
      - model: models/small
        min_confidence: 0.9
        calibration: [[0.2, 0.1], [0.9, 0.8]]
      - model: models/large*
    order: cheapest
fallback:
  on: [timeout, quota]
tenants:
  - name: search
    weight: 3
"""


def problems(path: Path, text: str | bytes) -> list[str]:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(BadPolicy) as caught:
        load(path)
    assert all(problem.startswith(f"{path}:") for problem in caught.value.problems)
    return [problem.removeprefix(f"{path}:") for problem in caught.value.problems]


def test_a_good_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text(GOOD)
    loaded = load(path)
    answer = loaded.policy.task("answer")
    assert [candidate.model for candidate in answer.candidates] == ["models/small", "models/large*"]
    assert answer.candidates[0].calibration == ((0.2, 0.1), (0.9, 0.8))
    assert loaded.policy.fallback.on == {"timeout", "quota"}  # in YAML 1.1 a bare `on` is true
    assert loaded.revision.startswith("sha256-")


@pytest.mark.parametrize("text", ["", "# nothing yet\n", "---\n"])
def test_an_empty_file_is_the_default(tmp_path: Path, text: str) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text(text)
    assert load(path).policy == Policy()


def test_what_a_check_needs_is_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, text = tmp_path / "policy.yaml", "cascade:\n  escalation_share: 0.1\n  ocr_agreement: {similarity: 0.9}\n"
    path.write_text(text)
    assert load(path).policy.cascade.ocr_agreement.similarity == 0.9
    monkeypatch.setitem(sys.modules, "rapidocr", None)
    assert problems(path, text) == [
        "3: cascade.ocr_agreement: rapidocr must be installed: pip install 'chiasm[gateway-ocr]'"
    ]


def test_every_fault_is_named_with_its_line(tmp_path: Path) -> None:
    text = (
        GOOD.replace("0.9\n", "1.9\n")
        .replace("models/large*", "large")
        .replace("weight: 3", "weigth: 3")
        .replace("quota]", "qouta]")
        .replace("[0.9, 0.8]", "[0.1, 0.8]")
    )
    found = problems(tmp_path / "policy.yaml", text)
    assert [problem.split(": ")[:2] for problem in found] == [
        ["6", "tasks.answer.candidates[0].min_confidence"],
        ["8", "tasks.answer.candidates[1].model"],
        ["11", "fallback.on[1]"],
        ["14", "tenants[0].weigth"],
    ]
    assert "less than or equal to 1" in found[0]


def test_a_fault_of_the_whole_names_where_it_begins(tmp_path: Path) -> None:
    found = problems(tmp_path / "policy.yaml", GOOD.replace("[0.9, 0.8]", "[0.1, 0.8]"))
    assert found == ["5: tasks.answer.candidates[0]: the points of a calibration must rise"]
    assert problems(tmp_path / "policy.yaml", "tenants:\n- name: a\n- name: a\n") == [
        "1: two tenants have the same name"
    ]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("cache:\n  ttl_s: 1\n  ttl_s: 2\n", "3: cache.ttl_s is given twice"),
        ("tasks: {answr: {}}\n", "1: tasks.answr: Input should be "),
        ("cache: [\n", "2: "),
        ("cache:\n\tttl_s: 1\n", "2: found character"),
        ("a: 1\n---\nb: 2\n", "2: but found another document"),
        ("a: &x {}\nb: *x\n", "2: an alias"),
        ("a: &x [*x]\n", "1: an alias"),
        ("a: !!python/object:os.system {}\n", "1: the tag "),
        ("a: !!int ''\n", "1: the tag "),
        ("a: !!timestamp x\n", "1: the tag "),
        ("? [1]\n: 2\n", "1: a name must be text"),
        ("cache:\n  ttl_s: .nan\n", "2: not a number"),
        ("cache:\n  ttl_s: 2026-99-99\n", "2: not a value"),
        (f"cache:\n  ttl_s: {'9' * 5000}\n", "2: not a value"),
        (f"cache:\n  ttl_s: {'9:' * 500}0.0\n", "2: not a value"),
        ("fallback:\n  slow_share: 0\n", "2: fallback.slow_share: Input should be greater than 0"),
        (b"a: 1\n\xff\n", "2: not UTF-8"),
        (b"a: 1\n\x00\n", "2: a character that YAML does not allow"),
        ("[" * 5_000, "1: nested too deeply"),
        ("- a\n", "1: Input should be a valid dictionary"),
        ("7\n", "1: Input should be a valid dictionary"),
        ("a: '" + "x" * 2**20 + "'", "1: more than 1,048,576 bytes"),
    ],
)
def test_what_is_no_policy_is_refused_with_its_line(tmp_path: Path, text: str | bytes, found: str) -> None:
    assert problems(tmp_path / "policy.yaml", text)[0].startswith(found)


snippets = st.lists(
    st.sampled_from(
        [*"abn1:-[]{}&*!|>#'\"%@,?~<= \n\t", "  ", ": ", "- ", "tasks", "answer", "!!int ", "on", "&a ", "*a", "---\n"]
    ),
    max_size=40,
).map("".join)


@given(st.one_of(st.binary(max_size=200), st.text(max_size=200).map(str.encode), snippets.map(str.encode)))
def test_garbage_is_a_fault_or_a_value_and_nothing_else(data: bytes) -> None:
    lines = data.count(b"\n") + data.count(b"\r") + data.count("\x85".encode()) + data.count("\u2028".encode())
    lines += data.count("\u2029".encode()) + 1
    try:
        document = read(data)
    except YamlFault as fault:
        assert 1 <= fault.line <= lines + 1
    else:
        assert all(1 <= line <= lines for line in document.lines.values())


@given(st.binary(max_size=100))
def test_garbage_among_the_good_is_refused_or_read(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzz.yaml"
    path.write_bytes(GOOD.encode() + data)
    try:
        load(path)
    except BadPolicy as error:
        assert error.problems


async def test_a_changed_file_is_read_again_and_a_bad_one_changes_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text(GOOD)
    file = PolicyFile(path, poll_s=0.01)
    first, before = file.loaded, file.current
    watching = asyncio.create_task(file.watch())
    try:
        async with asyncio.timeout(20):
            _replace(path, "cache: {ttl_s: -1}\n")
            with caplog.at_level(logging.ERROR, logger=policy_file.__name__):
                while not caplog.records:  # noqa: ASYNC110 - a file rings no event
                    await asyncio.sleep(0.01)
            assert f"{path}:1: cache.ttl_s" in caplog.text
            assert file.current is before

            path.unlink()
            _replace(path, GOOD.replace("cheapest", "fastest"))
            while file.loaded is first:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            assert file.current.task("answer").order == "fastest"
            assert before.task("answer").order == "cheapest"  # calls under way keep what they began with
    finally:
        watching.cancel()


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "the file is empty"),
        ("# nothing left\n", "the file is empty"),
        ("{}\n", "the file is empty"),
        (GOOD.partition("tenants:")[0], "tenants: none are left"),
        (GOOD.partition("tenants:")[0] + "tenants: []\n", "tenants: none are left"),
    ],
)
async def test_a_file_that_was_cut_short_does_not_open_the_gateway(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, text: str, problem: str
) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text(GOOD)
    file = PolicyFile(path, poll_s=0.01)
    before = file.loaded
    watching = asyncio.create_task(file.watch())
    try:
        _replace(path, text)
        async with asyncio.timeout(20):
            with caplog.at_level(logging.INFO, logger=policy_file.__name__):
                while not caplog.records:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
    finally:
        watching.cancel()
    assert f"{path}:1: {problem}" in caplog.text
    assert file.loaded is before


async def test_a_file_that_went_away_changes_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text(GOOD)
    file = PolicyFile(path, poll_s=0.01)
    first = file.loaded
    watching = asyncio.create_task(file.watch())
    try:
        path.unlink()
        async with asyncio.timeout(20):
            with caplog.at_level(logging.ERROR, logger=policy_file.__name__):
                while not caplog.records:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
    finally:
        watching.cancel()
    assert file.loaded is first


def test_without_a_file_the_default_holds() -> None:
    file = PolicyFile(None)
    assert (file.current, file.loaded.revision) == (Policy(), "default")


def _replace(path: Path, text: str) -> None:
    """As an orchestrator swaps a mounted file."""
    new = path.with_suffix(".new")
    new.write_text(text)
    new.replace(path)
