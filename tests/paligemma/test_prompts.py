import pytest

from chiasm.v1.errors_pb2 import ERROR_REASON_FIELD_REQUIRED
from services.paligemma.prompts import Task, build_prompt
from services.runtime.errors import InvalidArgument


@pytest.mark.parametrize(
    ("task", "text", "prompt"),
    [
        (Task.OPEN, "what now?", "what now?"),
        (Task.CAPTION, "", "caption en"),
        (Task.ANSWER, "how many\n cats?", "answer en how many cats?"),
        (Task.READ_TEXT, "", "ocr"),
        (Task.DETECT, "cat;dog ; red  ball", "detect cat ; dog ; red ball"),
        (Task.SEGMENT, "cat", "segment cat"),
    ],
)
def test_prompts_are_paligemmas(task: Task, text: str, prompt: str) -> None:
    assert build_prompt(task, text, field="f") == prompt


@pytest.mark.parametrize("task", [Task.OPEN, Task.ANSWER, Task.DETECT, Task.SEGMENT])
@pytest.mark.parametrize("text", ["", " \n\t"])
def test_an_empty_prompt_is_refused(task: Task, text: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        build_prompt(task, text, field="f")
    assert (caught.value.field, caught.value.reason) == ("f", ERROR_REASON_FIELD_REQUIRED)


@pytest.mark.parametrize(("task", "text"), [(Task.CAPTION, "a"), (Task.READ_TEXT, "a"), (Task.DETECT, "cat;;dog")])
def test_text_of_the_wrong_form_is_refused(task: Task, text: str) -> None:
    with pytest.raises(InvalidArgument):
        build_prompt(task, text, field="f")
