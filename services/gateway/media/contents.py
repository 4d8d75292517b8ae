"""The media in a request, and what a field with them is called."""

from collections.abc import Iterator

from chiasm.v1 import embedding_pb2, generation_pb2, media_pb2

Request = generation_pb2.GenerateRequest | embedding_pb2.EmbedRequest


def media_of(request: Request) -> Iterator[tuple[str, media_pb2.Media]]:
    """Each media, after its field: `messages[0].parts[1].media` or `items[0].media`."""
    if isinstance(request, embedding_pb2.EmbedRequest):
        for i, item in enumerate(request.items):
            if item.HasField("media"):
                yield f"items[{i}].media", item.media
        return
    for m, message in enumerate(request.messages):
        for p, part in enumerate(message.parts):
            if part.HasField("media"):
                yield f"messages[{m}].parts[{p}].media", part.media
