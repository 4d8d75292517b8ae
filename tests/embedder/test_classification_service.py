"""ClassificationService over real sockets, before the tiny SigLIP, and CLIP with random weights."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import grpc
import numpy as np
import pytest
from grpc_status import rpc_status

from chiasm.v1 import classification_pb2, classification_pb2_grpc, media_pb2
from models.world.tasks import caption
from tests.embedder.streaming import field_of
from tests.pictures import scene_png

MODELS = Path(__file__).parents[2] / "models"
SIGLIP, COLPALI = MODELS / "tiny-siglip", MODELS / "tiny-colpali"
SCENE, PNG = scene_png(3, 112, 112)
LABELS = (caption(SCENE), "a yellow star", "a black square")
Stub = classification_pb2_grpc.ClassificationServiceStub
Open = Callable[..., AbstractAsyncContextManager[Stub]]


@pytest.fixture
def classifying(serving) -> Open:
    @asynccontextmanager
    async def classifying(*models: Path) -> AsyncIterator[Stub]:
        async with serving(*models) as served, grpc.aio.insecure_channel(served.address) as channel:
            yield Stub(channel)

    return classifying


def asked(**request: object) -> classification_pb2.ClassifyRequest:
    given = {"image": media_pb2.Media(data=PNG), "labels": LABELS} | request
    return classification_pb2.ClassifyRequest(**given)


async def test_siglip_gives_each_label_its_own_probability(serving) -> None:
    async with serving(SIGLIP) as served, grpc.aio.insecure_channel(served.address) as channel:
        classified = await Stub(channel).Classify(asked(template="{}"))
        picture, *labels = (
            np.asarray(await served.client.embed(images=[PNG])),
            *(await served.client.embed(list(LABELS))),
        )
        facts = (await served.client.model("tiny-siglip")).embedding
    similarities = np.stack(labels) @ picture[0]
    expected = 1 / (1 + np.exp(-(facts.logit_scale * similarities + facts.logit_bias)))
    given = {score.label: score.probability for score in classified.scores}
    assert given == pytest.approx(dict(zip(LABELS, expected.tolist(), strict=True)), abs=1e-5)
    assert classified.scores[0].label == caption(SCENE)
    assert classified.mode == classification_pb2.LABEL_MODE_INDEPENDENT
    assert [s.probability for s in classified.scores] == sorted(given.values(), reverse=True)


async def test_the_exclusive_mode_shares_one(classifying: Open) -> None:
    async with classifying(SIGLIP) as stub:
        classified = await stub.Classify(asked(mode=classification_pb2.LABEL_MODE_EXCLUSIVE))
    assert sum(score.probability for score in classified.scores) == pytest.approx(1, abs=1e-6)


async def test_the_only_model_that_can_is_asked(classifying: Open) -> None:
    async with classifying(SIGLIP, COLPALI) as stub:
        assert (await stub.Classify(asked())).model == "models/tiny-siglip"
        with pytest.raises(grpc.aio.AioRpcError, match="compares no labels"):
            await stub.Classify(asked(model="models/tiny-colpali"))


BAD = {
    "image": {"image": media_pb2.Media()},
    "labels": {"labels": []},
    "labels[1]": {"labels": ["a", "b\0"]},
    "labels[0]": {"labels": [" "]},
    "labels[2]": {"labels": ["a", "b", "\t"], "template": "a photo of {}"},
    "template": {"template": "no place"},
    "mode": {"mode": 7},
    "request_id": {"request_id": "?"},
    "image.data": {"image": media_pb2.Media(data=b"no picture")},
}


async def test_a_bad_request_is_refused_naming_its_field(classifying: Open) -> None:
    async with classifying(SIGLIP) as stub:
        for field, request in BAD.items():
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await stub.Classify(asked(**request))
            assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
            assert field_of(rpc_status.from_call(refused.value)) == field
        with pytest.raises(grpc.aio.AioRpcError, match="alike"):
            await stub.Classify(asked(labels=["a", "a"]))
