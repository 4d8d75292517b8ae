"""`chiasm search`, `answer`, `collections` and `classify` against a scripted embedder."""

import json
import struct
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from PIL import Image

from chiasm.v1 import embedding_pb2, generation_pb2, search_pb2
from tests.client.conftest import invoke, run_command
from tests.client.scripted_embedder import Context, ScriptedEmbedder, hit, moment, serving_embedder
from tests.pictures import encoded


class Gateway(ScriptedEmbedder):
    """Answers questions, too."""

    async def Ask(self, request: search_pb2.AskRequest, context: Context) -> search_pb2.AskResponse:
        self.requests.append(request)
        if not self.hits:
            return search_pb2.AskResponse(text="Nothing was found.")
        return search_pb2.AskResponse(
            text="It is red. [1]",
            citations=[search_pb2.Citation(number=1, hit=self.hits[0], quote="red")],
            dropped=[
                search_pb2.DroppedCitation(
                    number=2, hit=self.hits[1], reason=search_pb2.DROPPED_REASON_NOT_SUPPORTING, detail="it says: blue"
                ),
                search_pb2.DroppedCitation(number=3, reason=99, detail="newer than this client"),
            ],
            route=generation_pb2.Route(attempts=[generation_pb2.Attempt(model="models/tiny")]),
        )


@pytest.fixture
async def server() -> AsyncIterator[ScriptedEmbedder]:
    """With one collection."""
    async with serving_embedder(Gateway()) as scripted:
        kinds = {"colour": search_pb2.FIELD_TYPE_STRING, "pages": search_pb2.FIELD_TYPE_INTEGER}
        fields = [search_pb2.Field(name=name, type=kind) for name, kind in kinds.items()]
        scripted.collections["collections/one"] = search_pb2.Collection(
            name="collections/one", model="models/tiny-siglip", precision=search_pb2.PRECISION_FLOAT32, fields=fields
        )
        jpeg = encoded(Image.new("RGB", (300, 200), "orange"), "JPEG")
        page = hit("report.pdf", 0.75, text="First\npage", picture=jpeg, page=3)
        scripted.hits = [
            page,
            moment(hit("film.mp4", 0.5, picture=jpeg), 72, 75),
            hit("\x1b[31mnote.txt", 0.25, text="x"),
        ]
        yield scripted


async def test_what_is_found_is_a_table(server: ScriptedEmbedder) -> None:
    """By a real process."""
    ended = await run_command("search", "red circle", "--limit", "5", CHIASM_ADDRESS=server.address)
    assert ended.code == 0
    lines = [line.split() for line in ended.out.splitlines()]
    assert lines[0] == ["RANK", "SCORE", "DOCUMENT", "PART", "TEXT"]
    assert lines[1] == ["1", "0.750", "report.pdf", "page", "3", "First", "page"]
    assert lines[2] == ["2", "0.500", "film.mp4", "1:12", "to", "1:15"]
    request = server.requests[-1]
    assert (request.collection, request.text, request.limit) == ("collections/one", "red circle", 5)
    assert not request.with_picture


async def test_conditions_modes_and_pictures_travel(server: ScriptedEmbedder, picture: Path) -> None:
    options = ("--where", "colour=red|blue", "--where", "pages>=3", "--mode", "hybrid", "--exact", "--json")
    ended = await invoke("search", "x", "--image", str(picture), *options, "--address", server.address)
    assert ended.code == 0
    found = json.loads(ended.out)["hits"]
    assert [(each["document_id"], each["page"], each["start_s"]) for each in found][:2] == [
        ("report.pdf", 3, None),
        ("film.mp4", None, 72),
    ]
    request = server.requests[-1]
    first, second = (clause.conditions[0] for clause in request.filter.clauses)
    assert [value.string_value for value in first.values] == ["red", "blue"]
    assert (second.comparison, second.values[0].integer_value) == (search_pb2.COMPARISON_AT_LEAST, 3)
    assert (request.mode, request.exact) == (search_pb2.SEARCH_MODE_HYBRID, True)
    assert request.image.data


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("search",), "give a text"),
        (("search", "x", "--explain"), "name a file with --out"),
        (("search", "x", "--out", "sheet.xyz"), "name it .png or .jpg"),
        (("search", "x", "--where", "size=3"), "no field 'size'; it has colour, pages"),
        (("search", "x", "--where", "pages=many"), "'pages' is a integer"),
        (("search", "--image", "absent.png"), "cannot read absent.png"),
        (("search", "x", "--collection", "two", "--where", "a=1"), "see `chiasm collections`"),
        (("classify", "absent.png", "a,b"), "cannot read absent.png"),
        (("collections", "--delete", "two"), "see `chiasm collections`"),
    ],
)
async def test_what_is_wrong_is_said(server: ScriptedEmbedder, arguments: tuple[str, ...], says: str) -> None:
    ended = await invoke(*arguments, "--address", server.address)
    assert (ended.code, ended.out) == (2, "")
    assert says in ended.err


async def test_several_collections_must_be_named(server: ScriptedEmbedder) -> None:
    server.collections["collections/two"] = search_pb2.Collection(
        name="collections/two", precision=search_pb2.PRECISION_FLOAT32
    )
    ended = await invoke("search", "x", "--address", server.address)
    assert ended.code == 2
    assert "there are one, two" in ended.err


async def test_a_sheet_is_drawn(server: ScriptedEmbedder, tmp_path: Path) -> None:
    out = tmp_path / "sheet.png"
    ended = await invoke("search", "red", "--out", str(out), "--address", server.address)
    assert ended.code == 0
    assert server.requests[-1].with_picture
    with Image.open(out) as sheet:
        assert sheet.width > 3 * 256
        assert (255, 165, 0) in {_near(colour) for _, colour in sheet.getcolors(2**20)}


def _near(colour: tuple[int, int, int]) -> tuple[int, int, int]:
    return (255, 165, 0) if all(abs(a - b) < 8 for a, b in zip(colour, (255, 165, 0), strict=True)) else colour


async def test_what_each_word_matched_is_drawn(server: ScriptedEmbedder, tmp_path: Path) -> None:
    heat = embedding_pb2.Tensor(
        data=struct.pack("<6f", 0, 0, 0, 0, 0, 1), dtype=embedding_pb2.DATA_TYPE_FLOAT32, shape=[2, 3]
    )
    server.hits = server.hits[:1]
    for word in ("red", "circle"):
        server.hits[0].explanation.words.add(word=word, score=0.5, heat=heat)
    out = tmp_path / "sheet.png"
    ended = await invoke("search", "red circle", "--explain", "--out", str(out), "--address", server.address)
    assert ended.code == 0
    assert server.requests[-1].explain
    with Image.open(out) as sheet:
        assert sheet.width > 4 * 256  # the page, all words, and one panel each


async def test_an_answer_names_its_sources(server: ScriptedEmbedder, tmp_path: Path) -> None:
    out = tmp_path / "cited.jpg"
    ended = await invoke("answer", "what colour?", "--limit", "3", "--out", str(out), "--address", server.address)
    assert ended.code == 0
    assert ended.out.splitlines() == ["It is red. [1]", '[1] report.pdf, page 3: "red"']
    assert "dropped: film.mp4, 1:12 to 1:15 does not say so: it says: blue" in ended.err
    assert "dropped: source 3 does not hold: newer than this client" in ended.err
    assert server.requests[-1].search.limit == 3
    with Image.open(out) as sheet:
        assert sheet.format == "JPEG"
    told = json.loads((await invoke("answer", "what?", "--json", "--address", server.address)).out)
    assert (told["text"], told["citations"][0]["hit"]["page"]) == ("It is red. [1]", 3)
    assert told["dropped"][0]["reason"] == "not_supporting"


async def test_without_a_source_it_says_so(server: ScriptedEmbedder) -> None:
    server.hits = []
    ended = await invoke("answer", "what colour?", "--address", server.address)
    assert (ended.code, ended.out) == (0, "Nothing was found.\n")
    assert "no model was asked" in ended.err


async def test_collections_are_listed_and_removed(server: ScriptedEmbedder) -> None:
    listed = await invoke("collections", "--address", server.address)
    assert listed.out.splitlines()[1].split()[:5] == ["one", "0", "0", "tiny-siglip", "float32"]
    as_json = json.loads((await invoke("collections", "--json", "--address", server.address)).out)
    assert as_json["collections"][0]["fields"] == {"colour": "string", "pages": "integer"}
    assert (await invoke("collections", "--delete", "one", "--address", server.address)).code == 0
    assert server.collections == {}
    assert "make one with" in (await invoke("collections", "--address", server.address)).err


async def test_a_collection_that_is_removed_meanwhile_is_passed_over(server: ScriptedEmbedder) -> None:
    server.collections["collections/two"] = search_pb2.Collection(
        name="collections/two", precision=search_pb2.PRECISION_FLOAT32
    )

    async def remove(context: Context) -> None:
        if isinstance(server.requests[-1], search_pb2.GetCollectionRequest):
            server.collections.pop("collections/one", None)

    server.before = remove
    listed = await invoke("collections", "--address", server.address)
    assert listed.code == 0
    assert [line.split()[0] for line in listed.out.splitlines()] == ["COLLECTION", "two"]


@pytest.mark.parametrize("arguments", [("search", "red"), ("answer", "what?"), ("classify", "PICTURE", "a cat")])
async def test_a_drawing_that_fails_is_all_that_is_said(
    server: ScriptedEmbedder, picture: Path, tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    out = tmp_path / "out.png"
    out.symlink_to(tmp_path / "absent" / "out.png")
    filled = [str(picture) if word == "PICTURE" else word for word in arguments]
    ended = await invoke(*filled, "--out", str(out), "--json", "--address", server.address)
    assert ended.code == 2
    assert json.loads(ended.out)["error"]["field"] == "out"


async def test_labels_are_a_bar_chart(server: ScriptedEmbedder, picture: Path, tmp_path: Path) -> None:
    out = tmp_path / "bars.png"
    arguments = ("classify", str(picture), "a cat, a dog,", "--out", str(out), "--address", server.address)
    ended = await invoke(*arguments)
    assert ended.code == 0
    assert [line.split() for line in ended.out.splitlines()][1:] == [
        ["a", "cat", "0.900", "#" * 18],
        ["a", "dog", "0.450", "#" * 9],
    ]
    assert list(server.requests[-1].labels) == ["a cat", "a dog"]
    with Image.open(out) as drawn:
        assert (0, 114, 178) in {colour for _, colour in drawn.getcolors(2**20)}
    told = json.loads((await invoke(*arguments, "--json")).out)
    assert told["scores"][0] == {"label": "a cat", "probability": pytest.approx(0.9), "similarity": 0.5}
