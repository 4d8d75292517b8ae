"""Public data sets from small files of the published formats, and from broken ones."""

import json
import pickle
from collections.abc import Callable
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chiasm import Box, InvalidArgument, Task
from evals.suite import Item, Reply
from evals.suites import build
from evals.suites.public import SETS
from tests.evals.questions import white


def put(path: Path, value: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(value if isinstance(value, bytes) else json.dumps(value).encode())


def docvqa(folder: Path) -> Path:
    question = {
        "questionId": 49153,
        "question": "What is the 'actual' value per 1000, during the year 1975?",
        "question_types": ["figure/diagram"],
        "image": "documents/pybv0228_81.png",
        "docId": 14465,
        "ucsf_document_id": "pybv0228",
        "ucsf_document_page_no": "81",
        "answers": ["0.28"],
        "data_split": "val",
    }
    header = {"dataset_name": "SP-DocVQA", "dataset_version": "1.0", "dataset_split": "val"}
    put(folder / "val" / "val_v1.0.json", {**header, "data": [question]})
    put(folder / "val" / "documents" / "pybv0228_81.png", white())
    return folder / "val" / "val_v1.0.json"


def infovqa(folder: Path) -> Path:
    question = {
        "questionId": 98313,
        "question": "Which social platform has heavy female audience?",
        "image_local_name": "37313.jpeg",
        "image_url": "https://example.com/37313.jpeg",
        "answers": ["pinterest"],
        "answer_type": ["single span"],
        "operation/reasoning": [],
        "data_split": "val",
    }
    put(folder / "infographicsVQA_val_v1.0_withQT.json", {"dataset_name": "infographicVQA", "data": [question]})
    put(folder / "infographicsvqa_images" / "37313.jpeg", white())
    return folder / "infographicsVQA_val_v1.0_withQT.json"


def chartqa(folder: Path) -> Path:
    human = [{"imgname": "41699051005347.png", "query": "How many food items are shown?", "label": "14"}]
    put(folder / "test" / "test_human.json", human)
    put(folder / "test" / "test_augmented.json", [{**human[0], "query": "What was the number in 2018?"}])
    put(folder / "test" / "png" / "41699051005347.png", white())
    return folder / "test" / "test_human.json"


def textvqa(folder: Path) -> Path:
    question = {
        "question": "what is the brand of this camera?",
        "image_id": "003a8ae2ef43b901",
        "image_classes": ["Cassette deck"],
        "flickr_original_url": "https://example.com/x.jpg",
        "image_width": 1024,
        "image_height": 664,
        "answers": ["nous les gosses", *["dakota"] * 8, "clos culombu"],
        "question_tokens": ["what", "is"],
        "question_id": 34602,
        "set_name": "val",
    }
    put(folder / "TextVQA_0.5.1_val.json", {"dataset_type": "val", "dataset_version": "0.5.1", "data": [question]})
    put(folder / "train_images" / "003a8ae2ef43b901.jpg", white())
    return folder / "TextVQA_0.5.1_val.json"


def refcoco(folder: Path) -> Path:
    sentence = {"tokens": ["the", "lady"], "raw": "THE LADY", "sent_id": 0, "sent": "the lady with the blue shirt"}
    reference = {
        "sent_ids": [0],
        "file_name": "COCO_train2014_000000581857_16.jpg",
        "ann_id": 1719310,
        "ref_id": 0,
        "image_id": 581857,
        "split": "testA",
        "sentences": [sentence],
        "category_id": 1,
    }
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "refs(unc).p").open("wb") as file:
        pickle.dump([reference, {**reference, "ref_id": 1, "split": "train"}], file, protocol=0)
    image = {"id": 581857, "file_name": "COCO_train2014_000000581857.jpg", "height": 427, "width": 640}
    annotation = {"id": 1719310, "image_id": 581857, "bbox": [103.93, 299.99, 134.22, 177.42], "category_id": 1}
    put(folder / "instances.json", {"images": [image], "annotations": [annotation], "categories": []})
    put(folder.parent / "images" / "mscoco" / "train2014" / image["file_name"], white())
    return folder / "refs(unc).p"


def pope(folder: Path) -> Path:
    lines = [
        {
            "question_id": 1,
            "image": "COCO_val2014_000000310196.jpg",
            "text": "Is there a snowboard in the image?",
            "label": "yes",
        },
        {
            "question_id": 2,
            "image": "COCO_val2014_000000310196.jpg",
            "text": "Is there a dog in the image?",
            "label": "no",
        },
    ]
    put(folder / "coco_pope_random.json", "\n".join(map(json.dumps, lines)).encode() + b"\n")
    put(folder / "val2014" / "COCO_val2014_000000310196.jpg", white())
    return folder / "coco_pope_random.json"


MMMU_OPEN = {"open": "7", "several": "['24/7', '3.429']", "interval": "[0, 1)"}


def mmmu(folder: Path) -> Path:
    row = {
        "id": "validation_Accounting_1",
        "question": "<image 1> What is the cost?",
        "options": "['$6', '$7', \"$8\", '$9']",
        "explanation": "",
        **{f"image_{n}": {"bytes": white(), "path": f"{n}.png"} if n == 1 else None for n in range(1, 8)},
        "img_type": "['Tables']",
        "answer": "B",
        "topic_difficulty": "Medium",
        "question_type": "multiple-choice",
        "subfield": "Managerial Accounting",
    }
    path = folder / "Accounting" / "validation-00000-of-00001.parquet"
    path.parent.mkdir(parents=True)
    pyarrow.parquet.write_table(
        pyarrow.Table.from_pylist(
            [
                row,
                *({**row, "id": name, "options": "[]", "answer": answer} for name, answer in MMMU_OPEN.items()),
            ]
        ),
        path,
    )
    return path


def scienceqa(folder: Path) -> Path:
    problem = {
        "question": "Which of these states is farthest north?",
        "choices": ["West Virginia", "Louisiana", "Arizona", "Oklahoma"],
        "answer": 0,
        "hint": "",
        "image": "image.png",
        "task": "closed choice",
        "grade": "grade2",
        "subject": "social science",
        "split": "test",
    }
    without = {**problem, "image": None}
    put(folder / "problems.json", {"1": problem, "2": without, "3": {**problem, "split": "train"}})
    put(folder / "images" / "test" / "1" / "image.png", white())
    return folder / "problems.json"


WRITERS: dict[str, Callable[[Path], Path]] = {
    "docvqa": docvqa,
    "infovqa": infovqa,
    "chartqa": chartqa,
    "textvqa": textvqa,
    "refcoco": refcoco,
    "pope": pope,
    "mmmu": mmmu,
    "scienceqa": scienceqa,
}


def load(name: str, folder: Path) -> list[Item]:
    WRITERS[name](folder / name)
    return list(build(name, folder / name).items)


def test_every_public_set_is_tested_here() -> None:
    assert set(WRITERS) == set(SETS)


@pytest.mark.parametrize(
    ("name", "ids", "kinds", "answers"),
    [
        ("docvqa", ["49153"], ["figure/diagram"], ("0.28",)),
        ("infovqa", ["98313"], ["single span"], ("pinterest",)),
        ("chartqa", ["human-0", "augmented-0"], ["human", "augmented"], ("14",)),
        ("textvqa", ["34602"], ["scene text"], ("nous les gosses", *["dakota"] * 8, "clos culombu")),
        ("refcoco", ["0-0"], ["testA"], ()),
        ("pope", ["random-1", "random-2"], ["random", "random"], ("yes",)),
        ("mmmu", ["validation_Accounting_1", *MMMU_OPEN], ["Accounting"] * 4, ("B",)),
        ("scienceqa", ["1"], ["social science"], ("A",)),
    ],
)
def test_the_published_format_is_read(
    tmp_path: Path, name: str, ids: list[str], kinds: list[str], answers: tuple[str, ...]
) -> None:
    items = load(name, tmp_path)
    assert [item.id for item in items] == ids
    assert [item.kind for item in items] == kinds
    assert items[0].answers == answers
    assert items[0].pictures[0]() == white()
    assert items[0].prompts[0]


def test_refcocos_box_is_turned_from_width_and_height_to_corners(tmp_path: Path) -> None:
    (item,) = load("refcoco", tmp_path)
    (expected,) = item.boxes
    assert (item.task, item.prompts, expected.label) == (
        Task.DETECT,
        ("the lady with the blue shirt",),
        item.prompts[0],
    )
    assert expected.box == Box(103.93, 299.99, 103.93 + 134.22, 299.99 + 177.42)


def test_options_are_lettered_and_judged_by_letter_or_by_text(tmp_path: Path) -> None:
    suite = build("mmmu", mmmu(tmp_path).parent.parent)
    closed, open_question, several, interval = suite.items
    assert closed.prompts[0].endswith("\nA. $6\nB. $7\nC. $8\nD. $9")
    assert (several.answers, interval.answers) == (("24/7", "3.429"), ("[0, 1)",))
    for item, said, right in (
        (closed, "B", 1),
        (closed, "$7", 1),
        (closed, "C", 0),
        (open_question, "7", 1),
        (open_question, "7.1", 0),
        (several, "So the ratio is 3.43", 1),
    ):
        assert suite.score(item, [Reply(text=said)]) == {"mmmu_accuracy": (right, 1)}


@pytest.mark.parametrize(
    ("name", "task", "max_tokens"),
    [
        ("docvqa", Task.OPEN, 32),
        ("infovqa", Task.ANSWER, 48),
        ("chartqa", Task.OPEN, 48),
        ("textvqa", Task.ANSWER, 32),
        ("refcoco", Task.DETECT, 48),
        ("pope", Task.ANSWER, None),
    ],
)
def test_a_set_is_asked_as_paligemmas_transfer_to_it_is(
    tmp_path: Path, name: str, task: Task, max_tokens: int | None
) -> None:
    WRITERS[name](tmp_path / name)
    suite = build(name, tmp_path / name)
    assert ({item.task for item in suite.items}, suite.max_tokens) == ({task}, max_tokens)


@pytest.mark.parametrize("name", WRITERS)
def test_an_empty_folder_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        build(name, tmp_path)
    assert caught.value.field == "data"
    assert str(tmp_path) in caught.value.message


@pytest.mark.parametrize("name", WRITERS)
def test_a_file_of_something_else_is_refused_by_name(tmp_path: Path, name: str) -> None:
    file = WRITERS[name](tmp_path / name)
    for junk in (b"\xff\xfe nothing", b"{", b"7"):
        file.write_bytes(junk)
        with pytest.raises(InvalidArgument) as caught:
            build(name, tmp_path / name)
        assert str(file) in caught.value.message


@pytest.mark.parametrize("name", [name for name in WRITERS if name != "mmmu"])
def test_a_missing_picture_is_named_with_its_place(tmp_path: Path, name: str) -> None:
    WRITERS[name](tmp_path / name)
    for picture in (path for path in tmp_path.rglob("*") if path.suffix in (".png", ".jpg", ".jpeg")):
        picture.unlink()
    with pytest.raises(InvalidArgument, match="there is no picture"):
        build(name, tmp_path / name)


def test_what_is_wrong_is_named_by_file_key_and_what_was_expected(tmp_path: Path) -> None:
    file = docvqa(tmp_path)
    value = json.loads(file.read_text())
    value["data"][0]["answers"] = 7
    put(file, value)
    with pytest.raises(InvalidArgument) as caught:
        build("docvqa", tmp_path)
    assert caught.value.message == f"{file}: data[0].answers: Input should be a valid list, found 7"


@pytest.mark.parametrize("path", ["../../secret.png", "/etc/hostname"])
def test_a_picture_outside_the_data_set_is_refused(tmp_path: Path, path: str) -> None:
    file = docvqa(tmp_path)
    value = json.loads(file.read_text())
    value["data"][0]["image"] = path
    put(file, value)
    with pytest.raises(InvalidArgument, match=r"data\[0\]\.image: .*a path inside the data set"):
        build("docvqa", tmp_path)


def test_a_broken_line_is_named_by_its_number(tmp_path: Path) -> None:
    file = pope(tmp_path)
    with file.open("ab") as opened:
        opened.write(b'{"question_id": 3, "image": "x.jpg", "text": "?", "label": "maybe"}\n')
    with pytest.raises(InvalidArgument, match=r"coco_pope_random\.json: line 3: label: Input should be 'yes' or 'no'"):
        build("pope", tmp_path)


def test_an_answer_beyond_the_choices_is_refused(tmp_path: Path) -> None:
    file = scienceqa(tmp_path)
    problems = json.loads(file.read_text())
    problems["1"]["answer"] = 4
    put(file, problems)
    with pytest.raises(InvalidArgument, match=r"1\.answer: expected an index into 4 choices, found 4"):
        build("scienceqa", tmp_path)


def test_a_pickle_that_would_run_code_is_refused_unrun(tmp_path: Path) -> None:
    file = refcoco(tmp_path / "refcoco")
    ran = tmp_path / "ran"

    class Trap:
        def __reduce__(self) -> tuple[object, tuple[object, ...]]:
            return Path.touch, (ran,)

    file.write_bytes(pickle.dumps([Trap()]))
    with pytest.raises(InvalidArgument, match=r"it asks for pathlib\."):
        build("refcoco", tmp_path / "refcoco")
    assert not ran.exists()


@settings(max_examples=30)
@given(st.binary(max_size=60))
def test_no_bytes_break_the_readers_otherwise_than_by_saying_so(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    folder = tmp_path_factory.getbasetemp() / "fuzzed"
    for name in ("docvqa", "pope", "refcoco"):
        WRITERS[name](folder / name).write_bytes(data)
        try:
            build(name, folder / name)
        except InvalidArgument as error:
            assert error.field == "data"
