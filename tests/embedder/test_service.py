"""The embedder over real sockets, before real models with random weights."""

import asyncio
from io import BytesIO
from itertools import count
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import chiasm
from chiasm import AsyncClient
from chiasm.command.service_process import ServiceSpec
from chiasm.command.stack import Stack
from tests.embedder import reference
from tests.embedder.checkpoints import MAX_TEXT, PATCHES, WIDTH, random_siglip
from tests.otlp_receiver import OtlpReceiver
from tests.pictures import scene_png

TEXTS = ["a red circle left of a blue square", "how many stars?", "green", "a blue square and a red star"]
PNGS = [scene_png(seed, 60 + 7 * seed, 50)[1] for seed in range(5)]
IMAGES = [Image.open(BytesIO(png)).convert("RGB") for png in PNGS]
CLOSE = {"atol": 2e-5, "rtol": 0}


async def test_siglip_gives_what_transformers_gives(serving, siglip: Path) -> None:
    async with serving(siglip) as served:
        both = await served.client.embed(TEXTS, PNGS)
        model = await served.client.model("siglip")
    texts, images = np.asarray(both[: len(TEXTS)]), np.asarray(both[len(TEXTS) :])
    np.testing.assert_allclose(texts, reference.siglip_texts(siglip, TEXTS), **CLOSE)
    np.testing.assert_allclose(images, reference.siglip_images(siglip, IMAGES), **CLOSE)
    assert (texts.shape, texts.dtype) == ((len(TEXTS), WIDTH), np.float32)
    media = len(PNGS) * PATCHES
    assert both.usage == chiasm.Usage(len(TEXTS) * MAX_TEXT + media, media_input_tokens=media)
    assert (both.model, both.revision) == ("models/siglip", model.revision)
    assert both.revision.startswith("sha256-")
    logits = model.embedding.logit_scale * images @ texts.T + model.embedding.logit_bias
    probabilities = 1 / (1 + np.exp(-logits))
    np.testing.assert_allclose(probabilities, reference.siglip_probabilities(siglip, TEXTS, IMAGES), **CLOSE)


async def test_colpali_gives_what_transformers_gives(serving, colpali: Path) -> None:
    """In one batch, where the questions are padded, as alone, where they are not."""
    async with serving(colpali) as served:
        questions = await served.client.embed(TEXTS, text_purpose=chiasm.TextPurpose.QUERY)
        pages = await served.client.embed(images=PNGS)
    for given, expected in zip(questions, reference.colpali_queries(colpali, TEXTS), strict=True):
        np.testing.assert_allclose(np.asarray(given), expected, **CLOSE)
    for given, expected in zip(pages, reference.colpali_pages(colpali, IMAGES), strict=True):
        np.testing.assert_allclose(np.asarray(given), expected, **CLOSE)
    assert len({question.shape for question in questions}) > 1
    assert pages.usage.media_input_tokens == len(PNGS) * PATCHES
    assert pages.usage.input_tokens == sum(page.shape[0] for page in pages)


async def test_pictures_are_resized_as_the_checkpoint_says(serving, tmp_path: Path) -> None:
    """SigLIP 2 was trained on bilinear ones."""
    folder = random_siglip(tmp_path / "bilinear", resample=2)
    async with serving(folder) as served:
        given = await served.client.embed(images=PNGS)
    np.testing.assert_allclose(np.asarray(given), reference.siglip_images(folder, IMAGES), **CLOSE)


async def test_siglip_reads_no_capitals(serving, siglip: Path) -> None:
    async with serving(siglip) as served:
        loud, quiet = await served.client.embed(["A RED Circle", "a red circle"])
    assert loud == quiet


async def test_callers_at_once_get_what_they_get_alone(serving, siglip: Path, colpali: Path) -> None:
    async with serving(siglip, colpali) as served:
        wanted = [("siglip", [text], []) for text in TEXTS] + [("siglip", [], [png]) for png in PNGS]
        wanted += [("colpali", [text], []) for text in TEXTS] + [("colpali", [], [png]) for png in PNGS]
        alone = [await served.client.embed(texts, images, model=model) for model, texts, images in wanted]
        at_once = await asyncio.gather(
            *(served.client.embed(texts, images, model=model) for model, texts, images in wanted * 3)
        )
    for one, other in zip(alone * 3, at_once, strict=True):
        np.testing.assert_allclose(np.asarray(one), np.asarray(other), **CLOSE)


async def test_a_model_says_what_its_embeddings_are(serving, siglip: Path, colpali: Path) -> None:
    async with serving(siglip, colpali, max_items=7) as served:
        late, single = await served.client.models()
    assert (late.name, single.name) == ("models/colpali", "models/siglip")
    assert late.embedding == chiasm.EmbeddingInfo(True, 8, None, None)
    assert single.embedding == chiasm.EmbeddingInfo(
        False, WIDTH, pytest.approx(np.exp(2.3), rel=1e-6), pytest.approx(-10.0)
    )
    assert (single.max_context_tokens, single.max_output_tokens, single.max_items) == (MAX_TEXT, 0, 7)
    assert (single.provider, single.tasks, single.modalities, single.ready) == ("transformers", (), ("image",), True)


async def test_a_bad_picture_fails_its_call_alone(serving, siglip: Path) -> None:
    broken = PNGS[0][: len(PNGS[0]) // 2]
    async with serving(siglip) as served:
        good = [served.client.embed(images=PNGS) for _ in range(8)]
        bad = [served.client.embed(images=[*PNGS[:3], broken, b"no picture"]) for _ in range(2)]
        answers = await asyncio.gather(*good, *bad, return_exceptions=True)
        assert (await served.client.models())[0].ready
    assert all(isinstance(answer, chiasm.Embeddings) for answer in answers[:8])
    for error in answers[8:]:
        assert isinstance(error, chiasm.InvalidArgument)
        assert (error.field, error.reason) == ("items[3].media.data", "MEDIA_CORRUPT")


@pytest.mark.parametrize(
    ("asked", "kind", "field", "reason"),
    [
        ({}, chiasm.InvalidArgument, "items", "FIELD_REQUIRED"),
        ({"texts": ["a"] * 6}, chiasm.InvalidArgument, "items", "FIELD_INVALID"),
        ({"texts": ["a", " \n"]}, chiasm.InvalidArgument, "items[1].text", "FIELD_REQUIRED"),
        ({"texts": ["a", "b\0"]}, chiasm.InvalidArgument, "items[1].text", "FIELD_INVALID"),
        ({"texts": ["a <EOS> b"]}, chiasm.InvalidArgument, "items[0].text", "FIELD_INVALID"),
        ({"texts": ["star " * 100]}, chiasm.InvalidArgument, "items[0].text", "PROMPT_TOO_LONG"),
        ({"texts": ["star " * 20_000]}, chiasm.InvalidArgument, "items[0].text", "PROMPT_TOO_LONG"),
        ({"images": [b""]}, chiasm.InvalidArgument, "items[0].media.data", "FIELD_REQUIRED"),
        ({"texts": ["a"], "model": "absent"}, chiasm.NotFound, "model", "MODEL_NOT_FOUND"),
        ({"texts": ["a"], "model": ""}, chiasm.InvalidArgument, "model", "FIELD_INVALID"),
        ({"texts": ["a"], "model": "../x"}, chiasm.InvalidArgument, "model", "FIELD_INVALID"),
        ({"texts": ["a <image> b"], "model": "colpali"}, chiasm.InvalidArgument, "items[0].text", "FIELD_INVALID"),
        ({"texts": ["star " * 100], "model": "colpali"}, chiasm.InvalidArgument, "items[0].text", "PROMPT_TOO_LONG"),
        (
            {"texts": ["a"], "model": "colpali", "text_purpose": chiasm.TextPurpose.DOCUMENT},
            *(chiasm.InvalidArgument, "items[0].text", "FIELD_INVALID"),
        ),
    ],
)
async def test_bad_input_is_refused_with_its_field(both, asked: dict, kind: type, field: str, reason: str) -> None:
    with pytest.raises(kind) as caught:
        await both.embed(**({"model": "siglip"} | asked))
    assert (caught.value.field, caught.value.reason) == (field, reason)


@pytest.fixture
async def both(serving, siglip: Path, colpali: Path):
    async with serving(siglip, colpali, max_items=5) as served:
        yield served.client


async def test_embeddings_larger_than_a_message_are_refused_before_the_work(serving, colpali: Path) -> None:
    async with serving(colpali, max_message_bytes=70_000) as served:
        with pytest.raises(chiasm.InvalidArgument) as caught:
            await served.client.embed(["how many?"] * 200)
    assert (caught.value.field, caught.value.reason) == ("items", "MESSAGE_SIZE")


async def test_embeddings_are_taken_up_to_a_message_and_no_more(serving, siglip: Path) -> None:
    """32 dimensions: 128 bytes an item, and 64 for what is around them."""
    async with serving(siglip, max_message_bytes=2**16, max_items=1_000) as served:
        assert len(await served.client.embed(["star"] * 336)) == 336
        with pytest.raises(chiasm.InvalidArgument, match="65,728 bytes, and a message at most 65,536"):
            await served.client.embed(["star"] * 337)


async def test_a_full_queue_refuses_and_a_caller_who_leaves_empties_it(serving, siglip: Path) -> None:
    """What is known already needs no room."""
    async with serving(siglip, max_items=20_000, max_batch_tokens=1, max_queued_tokens=1) as served:
        known = await served.client.embed(["green"])
        long = asyncio.create_task(served.client.embed([f"{i}" for i in range(2_000)]))
        async with asyncio.timeout(60):
            while not (await served.client.model("siglip")).waiting:
                pass
        with pytest.raises(chiasm.Overloaded) as caught:
            await served.client.embed(["star"])
        assert caught.value.retry_after_s
        again = await served.client.embed(["green"])
        assert ([*again], again.usage) == ([*known], known.usage)
        assert not long.done()
        long.cancel()
        async with asyncio.timeout(60):
            while (await served.client.model("siglip")).waiting:
                pass
        await served.client.embed(["star"])


async def test_the_deadline_holds(serving, siglip: Path) -> None:
    async with serving(siglip, max_items=20_000, max_batch_tokens=1, max_timeout_s=0.2) as served:
        with pytest.raises(chiasm.DeadlineExceeded):
            await served.client.embed([f"{i}" for i in range(2_000)])


async def test_as_a_process_it_drains_and_tells_of_its_work(siglip: Path, tmp_path: Path) -> None:
    async with OtlpReceiver() as receiver:
        environment = {
            "CHIASM_EMBEDDER_MODELS": str(siglip),
            "CHIASM_EMBEDDER_MAX_BATCH_TOKENS": "1",
            "CHIASM_OTLP_ENDPOINT": receiver.endpoint,
            "OMP_NUM_THREADS": "1",  # two wait for each other where cores are busy
        }
        health = "chiasm.v1.EmbeddingService"
        spec = ServiceSpec("embedder", "services.embedder", health=health, environment=environment)
        async with Stack([spec], log_dir=tmp_path) as stack:
            await stack.wait_ready(120)
            embedder = stack.services["embedder"]
            async with AsyncClient(embedder.address) as client:
                callers = [asyncio.create_task(_embed_until_refused(client, caller)) for caller in range(4)]
                await client.embed(["star"] * 64, request_id="mine")
                await embedder.stop(60)
                await asyncio.gather(*callers)
            assert embedder.returncode == 0
        assert "calls did not end" not in embedder.log_file.read_text()
    call = next(span for span in receiver.spans if span.attributes.get("chiasm.request_id") == "mine")
    work = next(span for span in receiver.spans if span.parent_id == call.span_id)
    assert (call.name, work.name) == ("chiasm.v1.EmbeddingService/Embed", "embeddings models/siglip")
    assert work.attributes["gen_ai.operation.name"] == "embeddings"
    assert work.attributes["gen_ai.request.model"] == "models/siglip"
    assert work.attributes["gen_ai.usage.input_tokens"] == 64 * MAX_TEXT
    assert receiver.metric_names >= {"gen_ai.server.request.duration", "gen_ai.client.token.usage"}


async def _embed_until_refused(client: AsyncClient, caller: int) -> None:
    """What is accepted is embedded whole; what comes too late is refused, or cancelled by gRPC before it arrived."""
    for request in count():
        try:
            texts = [f"{caller} {request} {i}" for i in range(16)]  # none is known already
            assert len(await client.embed(texts)) == 16
        except (chiasm.Unavailable, chiasm.Cancelled):
            return
