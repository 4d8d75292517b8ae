"""Calls with media: what was estimated is what is billed; boxes in pixels; media that the provider fetches."""

import json
from pathlib import Path

import pytest

from chiasm.v1 import generation_pb2 as pb
from services.gemini_proxy.catalogue import MediaResolution
from services.gemini_proxy.estimate import MediaPart, estimate
from services.gemini_proxy.media_facts import MediaLimits, facts_of
from tests import media_files
from tests.gemini.config import Fault, FaultRule, default_config
from tests.gemini_proxy.serving import FLASH, VERTEX, directed, failure_of, proxy, question

MODEL = FLASH.removeprefix("models/")
MEDIA = {
    "picture": (media_files.picture("JPEG", 1_337, 960), {"IMAGE": 1120}),
    "turned picture": (media_files.turned_picture("JPEG", 64, 48), {"IMAGE": 1120}),
    "document": (media_files.pdf(3), {"DOCUMENT": 3 * 560}),
    "film": (media_files.film(seconds=4), {"VIDEO": 4 * 70}),
    "talking film": (media_files.film("video/mp4", 20, sound=True), {"VIDEO": 20 * 70, "AUDIO": 20 * 25}),
    "sound": (media_files.sound("audio/wav", 10), {"AUDIO": 250}),
}


@pytest.mark.parametrize("kind", MEDIA)
async def test_media_of_every_kind_are_billed_as_estimated(tmp_path: Path, redis_url: str, kind: str) -> None:
    data, documented = MEDIA[kind]
    facts = await facts_of(data, field="media", limits=MediaLimits())
    async with proxy(tmp_path, redis_url) as served:
        answer = await served.stub.Generate(question("What is it?", data))
        [line], [entry] = served.gemini.bill.lines, await served.entries()
    billed = {modality: count for modality, count in line.usage.input.items() if modality != "TEXT"}
    expected = estimate([MediaPart(facts)], MODEL).expected
    assert billed.keys() == documented.keys() == expected.keys()
    for modality, count in documented.items():
        tolerance = 0 if modality in ("IMAGE", "DOCUMENT") else 0.05 * count
        assert abs(billed[modality] - count) <= tolerance
        assert abs(expected[modality] - billed[modality]) <= tolerance
    assert answer.finished.usage.media_input_tokens == sum(billed.values())
    assert entry.estimated_input_tokens >= line.usage.input_tokens == entry.sums.usage.input_tokens
    assert entry.sums.usage.input == line.usage.input
    assert entry.sums.cost_nanousd == line.cost_nanousd


async def test_many_media_of_many_kinds_are_one_question(tmp_path: Path, redis_url: str) -> None:
    async with proxy(tmp_path, redis_url) as served:
        files = [data for data, _ in MEDIA.values()]
        answer = await served.stub.Generate(question("Compare.", *files, *files))
        [line], [entry] = served.gemini.bill.lines, await served.entries()
    assert line.usage.input["IMAGE"] == 4 * 1120
    assert answer.finished.usage.media_input_tokens == line.usage.input_tokens - line.usage.input["TEXT"]
    assert entry.estimated_input_tokens >= line.usage.input_tokens


async def test_a_resolution_is_passed_on(tmp_path: Path, redis_url: str) -> None:
    facts = await facts_of(MEDIA["picture"][0], field="media", limits=MediaLimits())
    async with proxy(tmp_path, redis_url) as served:
        request = question("x", MEDIA["picture"][0], media_resolution=pb.MEDIA_RESOLUTION_LOW)
        answer = await served.stub.Generate(request)
    assert answer.finished.usage.media_input_tokens == 280
    assert estimate([MediaPart(facts, MediaResolution.LOW)], MODEL).expected == {"IMAGE": 280}


@pytest.mark.parametrize("fenced", [False, True])
async def test_boxes_come_in_pixels_of_the_upright_picture(tmp_path: Path, redis_url: str, fenced: bool) -> None:
    boxes = [{"box_2d": [100, 200, 300, 400], "label": "dog"}, {"box_2d": [0, 0, 1000, 1000], "label": "cat"}]
    answer = f"```json\n{json.dumps(boxes)}\n```" if fenced else json.dumps(boxes)
    request = question(
        directed("dog ; cat", answer=answer), media_files.turned_picture("JPEG", 480, 640), task=pb.TASK_DETECT
    )
    async with proxy(tmp_path, redis_url) as served:
        found = (await served.stub.Generate(request)).finished.detections
    assert [one.label for one in found] == ["dog", "cat"]
    # Stored as 480 x 640 and turned by a quarter: 640 across, 480 down.
    places = [(one.box.x_min, one.box.y_min, one.box.x_max, one.box.y_max) for one in found]
    assert places == [(128, 48, 256, 144), (0, 0, 640, 480)]
    assert not any(one.HasField("confidence") for one in found)


async def test_nothing_found_is_an_answer(tmp_path: Path, redis_url: str) -> None:
    async with proxy(tmp_path, redis_url) as served:
        request = question("a unicorn", media_files.picture(), task=pb.TASK_DETECT)
        answer = await served.stub.Generate(request)
    assert answer.finished.finish_reason == pb.FINISH_REASON_STOP
    assert not answer.finished.detections


async def test_boxes_that_are_none_end_in_an_error(tmp_path: Path, redis_url: str) -> None:
    async with proxy(tmp_path, redis_url) as served:
        text = directed("dog", answer='[{"box_2d": [1, 2, 3], "label": "dog"}]')
        failure = await failure_of(
            served.stub.StreamGenerate(question(text, media_files.picture(), task=pb.TASK_DETECT))
        )
    assert (failure.code, failure.reason) == ("ABORTED", "ANSWER_MALFORMED")


@pytest.mark.parametrize("task", [pb.TASK_CAPTION, pb.TASK_READ_TEXT])
async def test_tasks_without_text_are_asked_in_our_own_words(tmp_path: Path, redis_url: str, task: int) -> None:
    async with proxy(tmp_path, redis_url) as served:
        answer = await served.stub.Generate(question("", media_files.picture(), task=task))
    assert answer.text.startswith("You said: ")
    assert answer.finished.usage.media_input_tokens == 1120


def referring(uri: str, mime_type: str) -> pb.GenerateRequest:
    request = question("What does it say?")
    request.messages[0].parts.insert(0, pb.Part(media={"uri": uri, "mime_type": mime_type}))
    return request


async def test_a_reference_is_counted_by_the_provider_before_it_is_asked(tmp_path: Path, redis_url: str) -> None:
    file = tmp_path / "three.pdf"
    file.write_bytes(media_files.pdf(3))
    signed = "https://example.test/three.pdf?signature=abc"
    config = default_config(remote={"gs://bucket/three.pdf": str(file), signed: str(file)})
    async with proxy(tmp_path, redis_url, config) as served:
        for uri in ("gs://bucket/three.pdf", signed):
            request = referring(uri, "application/pdf")
            request.messages.insert(0, pb.Message(role=pb.ROLE_SYSTEM, parts=[pb.Part(text="Read it. " * 500)]))
            answer = await served.stub.Generate(request)
            assert answer.finished.usage.media_input_tokens == 3 * 560
        for entry in await served.entries():
            assert entry.estimated_input_tokens >= 4_500 + 3 * 560, "the instructions' bytes, the pages as counted"
        assert await served.cost() == served.gemini.bill.total_nanousd


@pytest.mark.parametrize(("level", "page"), [(pb.MEDIA_RESOLUTION_LOW, 280), (pb.MEDIA_RESOLUTION_HIGH, 1_120)])
async def test_a_reference_counts_at_the_resolution_asked_for(
    tmp_path: Path, redis_url: str, level: int, page: int
) -> None:
    file = tmp_path / "ten.pdf"
    file.write_bytes(media_files.pdf(10))
    config = default_config(remote={"gs://bucket/ten.pdf": str(file)})
    async with proxy(tmp_path, redis_url, config) as served:
        request = referring("gs://bucket/ten.pdf", "application/pdf")
        request.messages[0].parts.insert(0, pb.Part(media={"data": media_files.picture()}))
        request.config.media_resolution = level
        answer = await served.stub.Generate(request)
        [entry] = await served.entries()
    assert answer.finished.usage.media_input_tokens == (10 + 1) * page
    assert entry.estimated_input_tokens >= entry.sums.usage.input_tokens


async def test_sound_behind_references_is_held_at_the_price_of_sound(tmp_path: Path, redis_url: str) -> None:
    picture, sound = tmp_path / "a.png", tmp_path / "b.wav"
    picture.write_bytes(media_files.picture())
    sound.write_bytes(media_files.sound("audio/wav", 120))
    config = default_config(remote={"gs://bucket/a.png": str(picture), "gs://bucket/b.wav": str(sound)})
    lite = "gemini-3.1-flash-lite"  # whose sound costs twice its text
    async with proxy(tmp_path, redis_url, config, members=VERTEX, models=(lite,)) as served:
        request = referring("gs://bucket/a.png", "image/png")
        request.messages[0].parts.insert(1, pb.Part(media={"uri": "gs://bucket/b.wav", "mime_type": "audio/wav"}))
        request.messages[0].parts.append(pb.Part(text=directed(answer_tokens=9, fault={"kind": "cut"})))
        request.model, request.config.max_tokens = f"models/{lite}", 10
        await failure_of(served.stub.StreamGenerate(request))
        await served.settled()
        [entry] = await served.entries()
    assert not entry.final
    assert entry.sums.cost_nanousd >= served.gemini.bill.total_nanousd > 120 * 25 * 500


async def test_a_key_that_cannot_count_leaves_it_to_the_others(tmp_path: Path, redis_url: str) -> None:
    file = tmp_path / "three.pdf"
    file.write_bytes(media_files.pdf(3))
    config = default_config(remote={"gs://bucket/three.pdf": str(file)})
    async with proxy(tmp_path, redis_url, config, members={"bad": {"api_key": "no-key"}, "good": {}}) as served:
        answer = await served.stub.Generate(referring("gs://bucket/three.pdf", "application/pdf"))
    assert answer.finished.usage.media_input_tokens == 3 * 560


async def test_a_reference_that_cannot_be_fetched_is_the_callers_fault(tmp_path: Path, redis_url: str) -> None:
    async with proxy(tmp_path, redis_url) as served:
        absent = await failure_of(served.stub.Generate(referring("gs://bucket/none.pdf", "application/pdf")))
        untold = await failure_of(served.stub.Generate(referring("gs://bucket/none.pdf", "")))
        local = await failure_of(served.stub.Generate(referring("file:///etc/passwd", "text/plain")))
        assert await served.entries() == []
    assert (absent.code, absent.reason) == ("INVALID_ARGUMENT", "PROVIDER_REFUSED")
    assert (untold.code, untold.reason) == ("INVALID_ARGUMENT", "FIELD_REQUIRED")
    assert untold.field == "messages[0].parts[0].media.mime_type"
    assert (local.code, local.field) == ("INVALID_ARGUMENT", "messages[0].parts[0].media.uri")


async def test_a_reference_that_cannot_be_counted_is_not_asked_about(tmp_path: Path, redis_url: str) -> None:
    config = default_config(faults=(FaultRule(Fault("error", code=503), at="count"),))
    async with proxy(tmp_path, redis_url, config) as served:
        failure = await failure_of(served.stub.Generate(referring("gs://bucket/none.pdf", "application/pdf")))
        assert not served.gemini.bill.lines
    assert (failure.code, failure.reason) == ("UNAVAILABLE", "PROVIDER_FAILED")
