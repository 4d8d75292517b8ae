"""Search over vectors that a real gRPC server gives, and MaxSim by hand."""

import io
from collections.abc import AsyncIterator
from pathlib import Path

import grpc.aio
import numpy as np
import pytest
from PIL import Image

from chiasm import FailedPrecondition, Task
from chiasm.v1 import embedding_pb2 as embedding
from chiasm.v1 import models_pb2 as models
from chiasm.v1.embedding_pb2_grpc import EmbeddingServiceServicer, add_EmbeddingServiceServicer_to_server
from chiasm.v1.models_pb2_grpc import ModelServiceServicer, add_ModelServiceServicer_to_server
from evals import scorers
from evals.search import Corpus, searching
from evals.suite import Document, Item, Measure, Suite
from tests.evals.questions import run

COLORS = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255), "orange": (255, 140, 0)}


def test_max_sim_sums_the_best_match_of_each_query_vector() -> None:
    """Two query vectors; the first document matches one well (1 + 0), the second both a bit (0.6 + 0.8)."""
    corpus = Corpus(("one", "both"), np.array([[1, 0], [0, -1], [0.6, 0], [0, 0.8]], np.float32), np.array([0, 2]))
    assert corpus.rank(np.array([[1, 0], [0, 1]], np.float32)) == ("both", "one")
    assert corpus.rank(np.array([[1, 0]], np.float32)) == ("one", "both")


class ColorServer(EmbeddingServiceServicer, ModelServiceServicer):
    """Embeds a picture as its mean colour, and the name of a colour as that colour."""

    def __init__(self) -> None:
        self.batches: list[int] = []

    async def Embed(
        self, request: embedding.EmbedRequest, context: grpc.aio.ServicerContext
    ) -> embedding.EmbedResponse:
        assert request.model == "models/colors"
        self.batches.append(len(request.items))
        given = [self._tensor(item) for item in request.items]
        return embedding.EmbedResponse(
            embeddings=[embedding.Embedding(tensor=tensor) for tensor in given], model="models/colors", revision="abc"
        )

    async def ListModels(
        self, request: models.ListModelsRequest, context: grpc.aio.ServicerContext
    ) -> models.ListModelsResponse:
        info = models.EmbeddingInfo(form=models.EMBEDDING_FORM_SINGLE_VECTOR, dimensions=3)
        return models.ListModelsResponse(models=[models.Model(name="models/colors", revision="abc", embedding=info)])

    def _tensor(self, item: embedding.EmbedItem) -> embedding.Tensor:
        if item.HasField("media"):
            with Image.open(io.BytesIO(item.media.data)) as picture:
                color = np.asarray(picture.convert("RGB")).mean((0, 1))
        else:
            color = np.array(COLORS[item.text], float)
        vector = (color / np.linalg.norm(color)).astype("<f4")
        return embedding.Tensor(data=vector.tobytes(), dtype=embedding.DATA_TYPE_FLOAT32, shape=[3])


@pytest.fixture
async def server() -> AsyncIterator[tuple[ColorServer, str]]:
    colors, server = ColorServer(), grpc.aio.server()
    add_EmbeddingServiceServicer_to_server(colors, server)
    add_ModelServiceServicer_to_server(colors, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    yield colors, f"127.0.0.1:{port}"
    await server.stop(None)


def suite(*, late_interaction: bool = False, copies: int = 1) -> Suite:
    documents = [
        Document(f"{name}-{copy}", lambda color=color: _png(color))
        for name, color in COLORS.items()
        for copy in range(copies)
    ]
    items = [Item(name, "color", Task.OPEN, (name,), answers=(f"{name}-0",)) for name in COLORS]
    items.append(Item("wrong", "color", Task.OPEN, ("orange",), answers=("red-0",)))
    return Suite(
        "colors",
        "Colours by name.",
        items,
        scorers.ranking("colors", 2),
        (Measure("colors_recall_at_1"), Measure("colors_ndcg_at_2")),
        documents=documents,
        prepare=searching(late_interaction=late_interaction),
    )


def _png(color: tuple[int, int, int]) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (4, 4), color).save(out, "PNG")
    return out.getvalue()


async def test_queries_are_ranked_over_the_corpus(server: tuple[ColorServer, str], tmp_path: Path) -> None:
    report = await run(server[1], tmp_path, suite())
    recall, ndcg = (measured.value for measured in report.measured)
    assert recall == pytest.approx(0.8)
    assert ndcg == pytest.approx((4 + 1 / np.log2(3)) / 5)
    worst = report.scored[0]
    assert (worst.item.id, worst.record.replies[0].ranking[:2]) == ("wrong", ("orange-0", "red-0"))
    assert worst.record.replies[0].revision == "abc"


async def test_a_corpus_is_embedded_in_batches(server: tuple[ColorServer, str], tmp_path: Path) -> None:
    await run(server[1], tmp_path, suite(copies=20))
    assert server[0].batches == [32, 32, 16, 1, 1, 1, 1, 1]


async def test_a_server_without_such_a_model_is_refused(server: tuple[ColorServer, str], tmp_path: Path) -> None:
    with pytest.raises(FailedPrecondition, match="late interaction"):
        await run(server[1], tmp_path, suite(late_interaction=True))
