"""VectorOptions, as Embed and EmbedStream heed them."""

from pathlib import Path

import grpc
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from chiasm.v1 import embedding_pb2 as pb
from chiasm.v1.embedding_pb2_grpc import EmbeddingServiceStub
from services.embedder.convert import embedding_to_proto
from services.embedder.models.model import Facts
from services.embedder.shaping import Shaping
from services.embedder.vectors.pooling import pool
from services.embedder.vectors.precision import Precision, Quantized, restore
from tests.embedder.streaming import item, numbers, streamed
from tests.pictures import scene_png

THINGS = [scene_png(1)[1], "a red circle"]
DTYPES = {
    pb.DATA_TYPE_FLOAT32: ("<f4", Precision.FLOAT32),
    pb.DATA_TYPE_FLOAT16: ("<f2", Precision.FLOAT16),
    pb.DATA_TYPE_INT8: ("i1", Precision.INT8),
    pb.DATA_TYPE_BINARY: ("u1", Precision.BINARY),
}


def restored(tensor: pb.Tensor) -> np.ndarray:
    """By what the contract says of a tensor alone."""
    *leading, dimensions = tensor.shape
    dtype, precision = DTYPES[tensor.dtype]
    stored = np.frombuffer(tensor.data, dtype).reshape(*leading, -1)
    scales = np.frombuffer(tensor.scales, "<f4").reshape(leading) if tensor.scales else None
    return restore(Quantized(stored, scales), precision, dimensions)


@pytest.mark.parametrize("dtype", DTYPES)
async def test_vectors_come_in_the_numbers_asked_for(serving, siglip: Path, colpali: Path, dtype: int) -> None:
    options = pb.VectorOptions(dtype=dtype)
    async with serving(siglip, colpali) as served, grpc.aio.insecure_channel(served.address) as channel:
        for model in ("models/siglip", "models/colpali"):
            request = pb.EmbedRequest(model=model, items=map(item, THINGS))
            plain = (await EmbeddingServiceStub(channel).Embed(request)).embeddings
            request.vectors.CopyFrom(options)
            asked = (await EmbeddingServiceStub(channel).Embed(request)).embeddings
            responses = await streamed(channel, THINGS, model=model, vectors=options)
            for i, embedding in enumerate(asked):
                assert embedding == responses[i].embedding
                assert (embedding.tensor.dtype, embedding.tensor.shape) == (dtype, plain[i].tensor.shape)
                cosines = (restored(embedding.tensor) * numbers(plain[i].tensor)).sum(axis=-1)
                assert np.all(cosines > (0.5 if dtype == pb.DATA_TYPE_BINARY else 0.999))


async def test_pages_are_pooled_and_questions_are_not(serving, colpali: Path) -> None:
    async with serving(colpali) as served, grpc.aio.insecure_channel(served.address) as channel:
        request = pb.EmbedRequest(items=map(item, THINGS))
        page, question = [
            numbers(each.tensor) for each in (await EmbeddingServiceStub(channel).Embed(request)).embeddings
        ]
        responses = await streamed(channel, THINGS, vectors={"pool_factor": 3})
    np.testing.assert_allclose(numbers(responses[0].embedding.tensor), pool(page, 3), atol=1e-5)
    assert numbers(responses[0].embedding.tensor).shape[0] == -(-len(page) // 3)
    np.testing.assert_allclose(numbers(responses[1].embedding.tensor), question, atol=1e-5)


@given(st.integers(1, 40), st.integers(1, 30), st.sampled_from(list(Precision)), st.integers(1, 16), st.booleans())
def test_the_size_is_foretold(vectors: int, dimensions: int, precision: Precision, factor: int, found: bool) -> None:
    facts = Facts("1", True, dimensions, 8, Image.Resampling.BICUBIC, 4, 4)
    drawn = np.random.default_rng(0).normal(size=(vectors, dimensions)).astype(np.float32)
    shaping = Shaping(precision, factor)
    tensor = embedding_to_proto(drawn / np.linalg.norm(drawn, axis=1, keepdims=True), shaping, found=found).tensor
    assert len(tensor.data) + len(tensor.scales) == shaping.size(vectors, facts, found=found)
