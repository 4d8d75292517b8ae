"""The embedder: replicas over one bucket, one of them killed in the midst of indexing."""

import asyncio
import sys
import tempfile
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import AsyncExitStack
from pathlib import Path

import grpc

from chiasm.command.stack import Stack
from chiasm.v1 import media_pb2, search_pb2, search_pb2_grpc
from evals.figures import Figure
from tests.pictures import scene_png
from tests.s3_server import BUCKET, s3_server
from tests.shows.embedder_stack import TINY_SIGLIP, embedder_stack
from tests.stacks import READY_TIMEOUT_S

OWN, SHARED = 150, 50
KILLED_AFTER = 60
MAX_STALENESS_S = 1.0
TIMEOUT_S = 300
_NAME = "collections/shared"
_METADATA = (("chiasm-tenant", "show"),)


async def replicas() -> list[Figure]:
    """two replicas index at once into one S3 bucket, one is killed (kill -9), a third joins"""
    pictures = {f"{seed}.png": scene_png(seed, 112, 112)[1] for seed in range(2 * OWN + SHARED)}
    names = list(pictures)
    shared = names[2 * OWN :]
    with tempfile.TemporaryDirectory(prefix="chiasm-show-") as folder:
        (Path(folder) / "s3").mkdir()
        with s3_server(Path(folder) / "s3") as environment:
            return await _replicas(pictures, names[:OWN] + shared, names[OWN : 2 * OWN] + shared, environment, folder)


async def _replicas(
    pictures: Mapping[str, bytes], of_first: list[str], of_second: list[str], environment: Mapping[str, str], logs: str
) -> list[Figure]:
    async with AsyncExitStack() as stacks:
        first, second = [
            await stacks.enter_async_context(_replica(name, environment, logs)) for name in ("first", "second")
        ]
        await asyncio.gather(*(stack.wait_ready(READY_TIMEOUT_S) for stack in (first, second)))
        stub = await stacks.enter_async_context(_stub(first))
        other = await stacks.enter_async_context(_stub(second))
        collection = search_pb2.Collection(name=_NAME)
        await stub.CreateCollection(
            search_pb2.CreateCollectionRequest(collection=collection), metadata=_METADATA, timeout=TIMEOUT_S
        )
        acknowledged: set[str] = set()
        enough = asyncio.Event()

        async def note(stub: search_pb2_grpc.SearchServiceStub, names: Iterable[str]) -> None:
            try:
                async for response in _index(stub, pictures, names):
                    if response.HasField("indexed"):
                        acknowledged.add(response.document_id)
                    if len(acknowledged) >= KILLED_AFTER:
                        enough.set()
            except grpc.aio.AioRpcError as error:
                print(f"  a stream ended with {error.code().name}", file=sys.stderr)

        streams = [asyncio.create_task(note(stub, of_first)), asyncio.create_task(note(other, of_second))]
        async with asyncio.timeout(TIMEOUT_S):
            await enough.wait()
            second.services["embedder"].kill()
            await asyncio.gather(*streams)
        cut_short = len(set(of_first + of_second) - acknowledged)
        third = await stacks.enter_async_context(_replica("third", environment, logs))
        await third.wait_ready(READY_TIMEOUT_S)
        joined = await stacks.enter_async_context(_stub(third))
        return [
            Figure("replicas_documents_left_by_the_kill", cut_short, ">=", 1),
            Figure(
                "replicas_acknowledged_not_found_by_the_third", await _lost(joined, pictures, acknowledged), "==", 0
            ),
            *await _resumed(joined, stub, pictures),
        ]


async def _resumed(
    joined: search_pb2_grpc.SearchServiceStub, first: search_pb2_grpc.SearchServiceStub, pictures: Mapping[str, bytes]
) -> list[Figure]:
    """Both replicas that live index everything at once, so that each document has two writers."""

    async def failed(stub: search_pb2_grpc.SearchServiceStub) -> int:
        return sum([response.HasField("error") async for response in _index(stub, pictures, pictures)])

    failures = sum(await asyncio.gather(failed(joined), failed(first)))
    await asyncio.sleep(2 * MAX_STALENESS_S)  # what the promise of `max_staleness` is about
    counts = []
    for stub in (joined, first):
        response = await stub.GetCollection(
            search_pb2.GetCollectionRequest(name=_NAME), metadata=_METADATA, timeout=TIMEOUT_S
        )
        counts.append(response.collection.entry_count)
    return [
        Figure("replicas_failures_of_concurrent_writers", failures, "==", 0),
        Figure("replicas_entries_seen_by_the_first", counts[1], "==", len(pictures)),
        Figure("replicas_entries_seen_by_the_third", counts[0], "==", len(pictures)),
        Figure("replicas_not_found_by_the_first", await _lost(first, pictures, pictures), "==", 0),
    ]


async def _lost(stub: search_pb2_grpc.SearchServiceStub, pictures: Mapping[str, bytes], names: Iterable[str]) -> int:
    """Pictures that are not the nearest to themselves, or that an equal one hides."""
    lost = 0
    for name in names:
        request = search_pb2.SearchRequest(
            collection=_NAME, image=media_pb2.Media(data=pictures[name]), limit=10, exact=True
        )
        response = await stub.Search(request, metadata=_METADATA, timeout=TIMEOUT_S)
        lost += not any(hit.document_id == name and hit.score > 0.999 for hit in response.hits)
    return lost


async def _index(
    stub: search_pb2_grpc.SearchServiceStub, pictures: Mapping[str, bytes], names: Iterable[str]
) -> AsyncIterator[search_pb2.IndexResponse]:
    async def requests() -> AsyncIterator[search_pb2.IndexRequest]:
        yield search_pb2.IndexRequest(collection=_NAME)
        for name in names:
            document = search_pb2.Document(id=name, media=media_pb2.Media(data=pictures[name]))
            yield search_pb2.IndexRequest(document=document)

    async for response in stub.Index(requests(), metadata=_METADATA, timeout=TIMEOUT_S):
        yield response


def _replica(name: str, environment: Mapping[str, str], logs: str) -> Stack:
    settings = {
        "CHIASM_EMBEDDER_MODELS": str(TINY_SIGLIP),
        "CHIASM_EMBEDDER_INDEX_URI": f"s3://{BUCKET}/index",
        "CHIASM_EMBEDDER_MAX_STALENESS_S": str(MAX_STALENESS_S),
    }
    return embedder_stack(Path(logs) / name, settings | dict(environment))


class _Stub:
    """A replica's SearchService, whose channel closes at the end."""

    def __init__(self, address: str) -> None:
        self._channel = grpc.aio.insecure_channel(address)

    async def __aenter__(self) -> search_pb2_grpc.SearchServiceStub:
        return search_pb2_grpc.SearchServiceStub(self._channel)

    async def __aexit__(self, *_: object) -> None:
        await self._channel.close()


def _stub(stack: Stack) -> _Stub:
    return _Stub(stack.services["embedder"].address)


SHOWS = (replicas,)
