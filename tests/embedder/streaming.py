"""EmbedStream as tests call it."""

from collections.abc import Iterable

import grpc
import numpy as np
from google.rpc import error_details_pb2, status_pb2

from chiasm.v1 import embedding_pb2, embedding_pb2_grpc, media_pb2


def item(thing: str | bytes) -> embedding_pb2.EmbedItem:
    if isinstance(thing, str):
        return embedding_pb2.EmbedItem(text=thing)
    return embedding_pb2.EmbedItem(media=media_pb2.Media(data=thing))


async def streamed(
    channel: grpc.aio.Channel, things: Iterable[str | bytes], timeout_s: float = 60, **first: object
) -> dict[int, embedding_pb2.EmbedStreamResponse]:
    """The responses by their items' numbers; `first` is of the first request, which has no item."""
    requests = [embedding_pb2.EmbedStreamRequest(**first)]
    requests += [embedding_pb2.EmbedStreamRequest(item=item(thing)) for thing in things]
    call = embedding_pb2_grpc.EmbeddingServiceStub(channel).EmbedStream(iter(requests), timeout=timeout_s)
    responses = [response async for response in call]
    assert len({response.index for response in responses}) == len(responses)
    return {response.index: response for response in responses}


def status_of(response: embedding_pb2.EmbedStreamResponse) -> status_pb2.Status:
    status = status_pb2.Status()
    assert response.error.Unpack(status)
    return status


def field_of(status: status_pb2.Status) -> str:
    """That the status says is at fault."""
    bad = error_details_pb2.BadRequest()
    assert any(detail.Unpack(bad) for detail in status.details)
    return bad.field_violations[0].field


def numbers(tensor: embedding_pb2.Tensor) -> np.ndarray:
    """Of a float32 tensor."""
    assert tensor.dtype == embedding_pb2.DATA_TYPE_FLOAT32
    return np.frombuffer(tensor.data, "<f4").reshape(tensor.shape)
