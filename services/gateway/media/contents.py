"""The media in a request, and what a field with them is called."""

from collections.abc import Iterator

from google.protobuf.message import Message

from chiasm.v1 import media_pb2


def media_of(request: Message) -> Iterator[tuple[str, media_pb2.Media]]:
    """Each media, wherever in the request, after its field: `messages[0].parts[1].media`, `items[0].media`, `image`."""
    for field, value in request.ListFields():
        kind = field.message_type
        if kind is None or kind.GetOptions().map_entry:
            continue
        if not field.is_repeated:
            yield from _media_in(field.name, value)
            continue
        for i, item in enumerate(value):
            yield from _media_in(f"{field.name}[{i}]", item)


def _media_in(name: str, value: Message) -> Iterator[tuple[str, media_pb2.Media]]:
    if isinstance(value, media_pb2.Media):
        yield name, value
        return
    for inner, media in media_of(value):
        yield f"{name}.{inner}", media
