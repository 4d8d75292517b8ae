"""The embedder's batches: as fast as the bare model, faster than others, and none lost by one bad picture."""

import asyncio
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import grpc
import numpy as np
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub

import chiasm
from chiasm import AsyncClient
from chiasm.v1 import embedding_pb2
from chiasm.v1.embedding_pb2_grpc import EmbeddingServiceStub
from evals.figures import Figure
from models.world.scene import sample_scene
from tests.pictures import encoded
from tests.shows.bare_siglip import BareSiglip
from tests.shows.embedder_stack import TINY_SIGLIP, embedder
from tests.shows.infinity import Infinity, infinity
from tests.shows.large_siglip import TOKENS, save_for_older_transformers, save_siglip

BATCHES = (1, 2, 4, 8, 16)
"""Of which the bare model's best is taken."""
BATCH_ROUNDS = 4
ROUNDS, PICTURES, SINGLES = 8, 32, 24
TIMEOUT_S = 600
BAD = 40
"""Which of 64 pictures is cut short."""


async def one_bad_picture() -> list[Figure]:
    """one bad picture among 64, in a stream and in 64 calls at once: the others' answers, and health"""
    pictures = _pictures(64)
    pictures[BAD] = pictures[BAD][:300]
    with tempfile.TemporaryDirectory(prefix="chiasm-show-") as folder:
        environment = {"CHIASM_EMBEDDER_MODELS": str(TINY_SIGLIP), "CHIASM_EMBEDDER_CACHE_BYTES": "0"}
        async with embedder(Path(folder), environment) as address, grpc.aio.insecure_channel(address) as channel:
            streamed = await _outcomes_of_stream(channel, pictures)
            called = await _outcomes_of_calls(address, pictures)
            request = HealthCheckRequest(service="chiasm.v1.EmbeddingService")
            health = await HealthStub(channel).Check(request, timeout=TIMEOUT_S)
    serving = health.status == HealthCheckResponse.SERVING
    return [
        figure
        for name, outcomes in (("stream", streamed), ("calls", called))
        for figure in (
            Figure(f"embedder_bad_picture_{name}_answers", sum(outcomes), "==", 63),
            Figure(f"embedder_bad_picture_{name}_own_error", not outcomes[BAD], "==", 1),
        )
    ] + [Figure("embedder_bad_picture_healthy_after", serving, "==", 1)]


async def _outcomes_of_stream(channel: grpc.aio.Channel, pictures: Iterable[bytes]) -> list[bool]:
    """Whether each was embedded."""
    requests = [
        embedding_pb2.EmbedStreamRequest(item=embedding_pb2.EmbedItem(media={"data": picture})) for picture in pictures
    ]
    call = EmbeddingServiceStub(channel).EmbedStream(iter(requests), timeout=TIMEOUT_S)
    outcomes = {response.index: response.HasField("embedding") async for response in call}
    return [outcomes[i] for i in range(len(requests))]


async def _outcomes_of_calls(address: str, pictures: Iterable[bytes]) -> list[bool]:
    async with AsyncClient(address, timeout_s=TIMEOUT_S) as client:
        answers = await asyncio.gather(
            *(client.embed(images=[picture]) for picture in pictures), return_exceptions=True
        )
    assert all(isinstance(answer, chiasm.Embeddings | chiasm.InvalidArgument) for answer in answers)
    return [isinstance(answer, chiasm.Embeddings) for answer in answers]


async def speed() -> list[Figure]:
    """a true-size SigLIP: the embedder beside the bare model's best batch, infinity-emb and transformers one by one"""
    with tempfile.TemporaryDirectory(prefix="chiasm-show-") as folder:
        async with _contest(Path(folder)) as contest:
            cosine = await contest.cosine()
            for number in range(ROUNDS):
                print(f"  round {number + 1} of {ROUNDS}", file=sys.stderr, flush=True)
                await contest.saturate()
            for turn in range(SINGLES):
                await contest.ask_singly(turn)
    return [Figure("embedder_cosine_with_transformers", round(cosine, 6), ">=", 0.9999), *contest.figures()]


@dataclass
class _Contest:
    """Pictures a second at saturation, and seconds of a single one, of each of the four; measured in turns, so that
    whatever else slows the machine slows all of them."""

    bare: BareSiglip
    client: AsyncClient
    infinity: Infinity
    batch: int
    files: list[Path]
    saturated: dict[str, list[float]] = field(default_factory=dict)
    single: dict[str, list[float]] = field(default_factory=dict)

    async def cosine(self) -> float:
        """Of the embedder's vector of a picture and transformers' own."""
        (ours,) = await self.client.embed(images=[self.files[0].read_bytes()])
        return float(np.asarray(ours) @ np.asarray(await self.bare.vector(self.files[0])))

    async def saturate(self) -> None:
        """All by their totals: a pass that the machine held up counts on every side, or on none."""
        before = await self.bare.forward_s(PICTURES, self.batch)
        ours = await self._all_at_once(self._embed)
        theirs = await self._all_at_once(self.infinity.embed)
        after = await self.bare.forward_s(PICTURES, self.batch)
        one_by_one = await self.bare.one_by_one_s(self.files)
        self._note(
            self.saturated,
            bare=2 * PICTURES / (before + after),
            ours=PICTURES / ours,
            infinity=PICTURES / theirs,
            one_by_one=PICTURES / one_by_one,
        )

    async def ask_singly(self, turn: int) -> None:
        """Each turn begins with another: whoever comes next finds caches and threads as the one before left them."""
        picture = self.files[0].read_bytes()
        contestants: list[tuple[str, Callable[[], Awaitable[float]]]] = [
            ("bare", lambda: self.bare.forward_s(1, 1)),
            ("ours", lambda: _seconds(self._embed(picture))),
            ("infinity", lambda: _seconds(self.infinity.embed(picture))),
        ]
        first = turn % len(contestants)
        self._note(self.single, **{name: await ask() for name, ask in contestants[first:] + contestants[:first]})

    def figures(self) -> list[Figure]:
        """Ratios, each the median of its rounds'."""
        return [
            Figure("embedder_saturation_share", self._ratio(self.saturated, "bare"), ">=", 0.95),
            Figure("embedder_single_ratio", self._ratio(self.single, "bare"), "<=", 1.15),
            Figure("embedder_saturation_vs_infinity", self._ratio(self.saturated, "infinity"), ">=", 1),
            Figure("embedder_single_vs_infinity", self._ratio(self.single, "infinity"), "<=", 1),
            Figure("embedder_saturation_vs_one_by_one", self._ratio(self.saturated, "one_by_one"), ">=", 1),
        ]

    async def _embed(self, picture: bytes) -> None:
        await self.client.embed(images=[picture])

    async def _all_at_once(self, embed: Callable[[bytes], Awaitable[None]]) -> float:
        """Seconds of all pictures, each a call of its own."""
        pictures = [file.read_bytes() for file in self.files]
        return await _seconds(asyncio.gather(*map(embed, pictures)))

    def _note(self, where: dict[str, list[float]], **measured: float) -> None:
        for name, value in measured.items():
            where.setdefault(name, []).append(value)
        print("   ", *(f"{name} {value:.3g}" for name, value in measured.items()), file=sys.stderr, flush=True)

    def _ratio(self, measured: dict[str, list[float]], other: str) -> float:
        return round(median(a / b for a, b in zip(measured["ours"], measured[other], strict=True)), 3)


@asynccontextmanager
async def _contest(folder: Path) -> AsyncIterator[_Contest]:
    """All have the same weights, as many threads as there are cores, and the batch that suits the bare model best."""
    made, older = folder / "siglip", folder / "siglip-4"
    await asyncio.to_thread(save_siglip, made)
    save_for_older_transformers(older, made)
    files = [folder / f"{i}.jpg" for i in range(PICTURES)]
    for file, picture in zip(files, _pictures(PICTURES), strict=True):
        file.write_bytes(picture)
    async with BareSiglip.started(made) as bare:
        batch = await _best_batch(bare)
        environment = {
            "CHIASM_EMBEDDER_MODELS": str(made),
            "CHIASM_EMBEDDER_MAX_BATCH_TOKENS": str(batch * TOKENS),
            "CHIASM_EMBEDDER_CACHE_BYTES": "0",
        }
        async with (
            embedder(folder / "embedder", environment) as address,
            AsyncClient(address, timeout_s=TIMEOUT_S) as client,
            infinity(older, batch=batch, log=folder / "infinity.log") as other,
        ):
            contest = _Contest(bare, client, other, batch, files)
            await asyncio.gather(*(client.embed(images=[file.read_bytes()]) for file in files[: 2 * batch]))
            await asyncio.gather(*(other.embed(file.read_bytes()) for file in files[: 2 * batch]))
            yield contest


async def _best_batch(bare: BareSiglip) -> int:
    """The one with the least seconds a picture, over several rounds in turns."""
    seconds = dict.fromkeys(BATCHES, 0.0)
    for _ in range(BATCH_ROUNDS):
        for batch in BATCHES:
            seconds[batch] += await bare.forward_s(max(BATCHES), batch)
    told = ", ".join(f"{batch} {BATCH_ROUNDS * max(BATCHES) / took:.2f}" for batch, took in seconds.items())
    best = min(seconds, key=seconds.__getitem__)
    print(f"  the bare model's best batch is {best}; pictures a second: {told}", file=sys.stderr, flush=True)
    return best


async def _seconds(work: Awaitable[object]) -> float:
    begun = time.perf_counter()
    await work
    return time.perf_counter() - begun


def _pictures(count: int) -> list[bytes]:
    return [encoded(sample_scene(seed).draw(320, 240), "JPEG") for seed in range(count)]


SHOWS = (one_bad_picture, speed)
