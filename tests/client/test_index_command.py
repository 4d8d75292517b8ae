"""`chiasm index` against a scripted embedder."""

import asyncio
import json
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest

from chiasm import Client, DeadlineExceeded
from chiasm.command import indexing
from chiasm.command.folder import look_into
from chiasm.command.indexing import Indexing, Tally
from chiasm.item_streams import STREAM_S
from chiasm.v1 import search_pb2
from tests.client.conftest import end, invoke, run_command, start_command
from tests.client.scripted import fail
from tests.client.scripted_embedder import Context, ScriptedEmbedder, serving_embedder


@pytest.fixture
async def embedder() -> AsyncIterator[ScriptedEmbedder]:
    async with serving_embedder() as scripted:
        yield scripted


@pytest.fixture(autouse=True)
def without_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(indexing, "PAUSE_S", 0.0)


@pytest.fixture
def folder(tmp_path: Path, picture_bytes: bytes) -> Path:
    root = tmp_path / "library"
    files = {
        "a.png": picture_bytes,
        "a.txt": b"a red circle",
        "below/b.PDF": b"a document",
        "below/notes.md": b"a blue square",
        "below/broken.jpg": b"bad",
        "latin.txt": b"\xff\xfe\xfa",
        ".hidden.png": picture_bytes,
        ".git/c.png": picture_bytes,
        "program.exe": b"MZ",
    }
    for name, data in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    (tmp_path / "outside.png").write_bytes(picture_bytes)
    (root / "link.png").symlink_to(tmp_path / "outside.png")
    return root


def written(folder: Path, **texts: str) -> Path:
    """With a text file of each name."""
    folder.mkdir(exist_ok=True)
    for name, text in texts.items():
        (folder / f"{name}.txt").write_text(text)
    return folder


def indexed(embedder: ScriptedEmbedder, folder: Path) -> Tally:
    """What becomes of a folder, in the test's own process."""
    with Client(embedder.address) as client:
        work = Indexing(client, "one", look_into(folder, captions=True, metadata={}), lambda: None)
        work.run()
    return work.tally


async def test_a_folder_is_indexed_and_what_is_broken_is_told(embedder: ScriptedEmbedder, folder: Path) -> None:
    """By a real process."""
    arguments = ("index", str(folder), "--collection", "one", "--address", embedder.address)
    first = await run_command(*arguments)
    kept = embedder.documents["collections/one"]
    assert first.code == 1
    assert "below/broken.jpg  cannot be read" in first.out
    assert "not UTF-8" in first.out
    assert "3 of 5 files stored as 3 entries, 2 failed, 2 of other kinds left out" in first.err
    assert sorted(kept) == ["a.png", "below/b.PDF", "below/notes.md"]
    assert kept["a.png"].caption == "a red circle"
    assert kept["below/notes.md"].text == "a blue square"
    assert embedder.collections["collections/one"].model == "models/tiny-siglip"
    again = await run_command(*arguments, "--json")
    told = json.loads(again.out)
    assert (told["stored"], told["unchanged"], told["entries"], told["skipped"]) == (3, 3, 3, 2)
    assert {failure["id"] for failure in told["failures"]} == {"below/broken.jpg", "latin.txt"}
    assert again.code == 1


async def test_metadata_make_the_fields_of_a_new_collection(
    embedder: ScriptedEmbedder, folder: Path, tmp_path: Path
) -> None:
    file = tmp_path / "metadata.jsonl"
    file.write_text('{"id": "a.png", "colour": "red", "pages": 3}\n\n{"id": "below/b.PDF", "pages": 2.5}\n')
    arguments = ("index", str(folder), "--collection", "one", "--metadata", str(file), "--address", embedder.address)
    assert (await invoke(*arguments)).code == 1
    fields = {field.name: field.type for field in embedder.collections["collections/one"].fields}
    assert fields == {"colour": search_pb2.FIELD_TYPE_STRING, "pages": search_pb2.FIELD_TYPE_NUMBER}
    assert embedder.documents["collections/one"]["a.png"].metadata["colour"].string_value == "red"
    file.write_text('{"id": "absent.png"}')
    ended = await invoke(*arguments)
    assert (ended.code, ended.out) == (2, "")
    assert "'absent.png', which is not indexed" in ended.err


async def test_an_overloaded_server_is_offered_the_rest_again(embedder: ScriptedEmbedder, folder: Path) -> None:
    calls = 0

    async def falter(context: Context) -> None:
        nonlocal calls
        calls += 1
        if calls == 2:
            await fail(context, grpc.StatusCode.RESOURCE_EXHAUSTED, "too many", "OVERLOADED", retry_after_s=1)

    embedder.before_each = falter
    ended = await invoke("index", str(folder), "--collection", "one", "--address", embedder.address)
    assert ended.code == 1
    assert "3 of 5 files stored" in ended.err


async def test_a_file_that_is_never_done_in_time_is_given_up(embedder: ScriptedEmbedder, folder: Path) -> None:
    embedder.late = {"a.png"}
    tally = await asyncio.to_thread(indexed, embedder, folder)
    assert tally.stored == 2
    assert isinstance(tally.failures["a.png"], DeadlineExceeded)
    offered = [request.document.id for request in embedder.requests if isinstance(request, search_pb2.IndexRequest)]
    assert offered.count("a.png") == indexing.MOST_TRIES


async def test_a_file_that_ends_its_streams_is_given_up_alone(embedder: ScriptedEmbedder, tmp_path: Path) -> None:
    """Those around it, which its streams' ends cancel, are done."""

    async def end_the_stream(context: Context) -> None:
        if embedder.requests[-1].document.text == "endless":
            await fail(context, grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded", "")

    embedder.before_each = end_the_stream
    tally = await asyncio.to_thread(indexed, embedder, written(tmp_path, a="x", b="endless", c="endless", d="x"))
    assert tally.stored == 2
    assert [type(tally.failures.pop(name)) for name in ("b.txt", "c.txt")] == [DeadlineExceeded] * 2
    assert tally.failures == {}
    assert max(embedder.remaining_s) > STREAM_S


@pytest.mark.parametrize("large", ["c", "bdfhjl"])
async def test_a_file_that_the_server_finds_too_large_is_given_up_alone(
    embedder: ScriptedEmbedder, tmp_path: Path, large: str
) -> None:
    """Below the command's own limit, and above that of the server's gRPC, which ends the stream."""
    names = "abcdefghijklm"
    texts = {name: "x" * 5 * 2**20 if name in large else "x" for name in names}
    tally = await asyncio.to_thread(indexed, embedder, written(tmp_path, **texts))
    assert tally.stored == len(names) - len(large)
    assert {name: error.reason for name, error in tally.failures.items()} == {
        f"{name}.txt": "MESSAGE_SIZE" for name in large
    }


async def test_a_server_that_ends_every_stream_is_given_up(embedder: ScriptedEmbedder, tmp_path: Path) -> None:
    async def end_the_stream(context: Context) -> None:
        await fail(context, grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded", "")

    embedder.before = end_the_stream
    folder = written(tmp_path, **dict.fromkeys("abcdefgh", "x"))
    with pytest.raises(DeadlineExceeded):
        await asyncio.to_thread(indexed, embedder, folder)
    assert len(embedder.metadata) == 1 + indexing.MOST_GIVEN_UP


async def test_who_runs_out_of_time_is_told_of_what_the_command_has(embedder: ScriptedEmbedder, folder: Path) -> None:
    async def expire(context: Context) -> None:
        await fail(context, grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded")

    embedder.before = expire
    ended = await invoke("index", str(folder), "--collection", "one", "--address", embedder.address)
    assert ended.code == 4
    assert "in time: run the same command again to go on (Deadline Exceeded)" in ended.err


async def test_files_that_are_too_large_are_not_sent(
    embedder: ScriptedEmbedder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many there are: a few of their failures are in memory at once."""
    monkeypatch.setattr(indexing, "MAX_FILE_BYTES", 10)
    monkeypatch.setattr(indexing, "MOST_UNREAD", 1)
    large = dict.fromkeys("abc", "more than that")
    tally = await asyncio.to_thread(indexed, embedder, written(tmp_path, **large, d="less"))
    assert tally.stored == 1
    assert [str(tally.failures[f"{name}.txt"])[:8] for name in large] == ["14 bytes"] * 3
    assert len(embedder.metadata) == 1 + len(large)


async def test_what_failed_is_told_when_a_run_ends_early(embedder: ScriptedEmbedder, tmp_path: Path) -> None:
    async def refuse(context: Context) -> None:
        if embedder.requests[-1].document.text == "last":
            await fail(context, grpc.StatusCode.FAILED_PRECONDITION, "another model", "MODEL_MISMATCH")

    embedder.before_each = refuse
    arguments = ("index", str(written(tmp_path, a="bad", b="last")), "--collection", "one", "--address")
    shown = await invoke(*arguments, embedder.address)
    assert "a.txt   cannot be read" in shown.out
    assert "0 of 2 files stored as 0 entries, 1 failed" in shown.err
    ended = await invoke(*arguments, embedder.address, "--json")
    told = json.loads(ended.out)
    assert (ended.code, told["files"], told["stored"], told["error"]["code"]) == (2, 2, 0, "FAILED_PRECONDITION")
    assert [failure["id"] for failure in told["failures"]] == ["a.txt"]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--model", "other"), "has models/tiny-siglip, not models/other: leave --model out"),
        (("--precision", "int8"), "has float32, not int8"),
        (("--pool-factor", "3"), "has 1, not 3"),
        (("--metadata", "metadata.jsonl"), "'colour' is no field, and in the metadata string"),
    ],
)
async def test_a_collection_that_is_another_is_refused_before_anything_is_read(
    embedder: ScriptedEmbedder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...], says: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "metadata.jsonl").write_text('{"id": "a.txt", "colour": "red"}')
    arguments = ("index", str(written(tmp_path, a="x")), "--collection", "one", "--address", embedder.address)
    assert (await invoke(*arguments)).code == 0
    same = ("--model", "tiny-siglip", "--precision", "float32", "--pool-factor", "1")
    assert (await invoke(*arguments, *same)).code == 0
    count = len(embedder.requests)
    ended = await invoke(*arguments, *options)
    assert ended.code == 2
    assert says in ended.err
    assert len(embedder.requests) == count + 1  # for the collection


async def test_a_server_that_fails_for_good_ends_it(embedder: ScriptedEmbedder, folder: Path) -> None:
    async def refuse(context: Context) -> None:
        await fail(context, grpc.StatusCode.FAILED_PRECONDITION, "another model", "MODEL_MISMATCH")

    embedder.before_each = refuse
    ended = await invoke("index", str(folder), "--collection", "one", "--address", embedder.address)
    assert ended.code == 2
    assert "another model" in ended.err


async def test_ctrl_c_leaves_what_is_stored_and_says_how_to_go_on(embedder: ScriptedEmbedder, folder: Path) -> None:
    """In a second stream: the client has read all that the first one brought."""
    again, never = asyncio.Event(), asyncio.Event()
    calls = 0

    async def stop(context: Context) -> None:
        nonlocal calls
        calls += 1
        if calls == 3:
            await fail(context, grpc.StatusCode.RESOURCE_EXHAUSTED, "too many", "OVERLOADED", retry_after_s=1)
        if calls == 4:
            again.set()
            await never.wait()

    embedder.before_each = stop
    process = await start_command("index", str(folder), "--collection", "one", "--address", embedder.address)
    async with asyncio.timeout(30):
        await again.wait()
    process.send_signal(signal.SIGINT)
    ended = await end(process)
    assert ended.code == 130
    assert "run the same command again to go on" in ended.err
    assert "2 of 5 files stored" in ended.err
    assert len(embedder.documents["collections/one"]) == 2


async def test_a_folder_that_is_none(embedder: ScriptedEmbedder, tmp_path: Path) -> None:
    ended = await invoke("index", str(tmp_path / "absent"), "--collection", "one", "--address", embedder.address)
    assert ended.code == 2
    assert "is no folder" in ended.err


async def test_a_folder_with_nothing_to_index_makes_no_collection(embedder: ScriptedEmbedder, tmp_path: Path) -> None:
    (tmp_path / "program.exe").write_bytes(b"MZ")
    ended = await invoke("index", str(tmp_path), "--collection", "one", "--address", embedder.address)
    assert (ended.code, embedder.collections) == (2, {})
    assert f"no picture, PDF, film or text in {tmp_path} (field: folder)" in ended.err
