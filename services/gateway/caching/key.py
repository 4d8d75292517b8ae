"""What makes two questions the same."""

import asyncio
import hashlib
import unicodedata

from chiasm.v1 import generation_pb2
from services.gateway.answerer import Ask

HASHED_OFF_THE_LOOP_BYTES = 256 * 2**10


async def key_of(ask: Ask, generation: str) -> str:
    """64 hexadecimal digits, the same for two questions if and only if one's answer serves the other.

    `generation` names the policy and the revisions of the models that are served: an answer of other ones is another.
    Large media are hashed in a thread.
    """
    if ask.weight.bytes > HASHED_OFF_THE_LOOP_BYTES:
        return await asyncio.to_thread(_key, ask, generation)
    return _key(ask, generation)


def question_of(ask: Ask, generation: str) -> str:
    """The key of the question whatever its pictures show: theirs are left out."""
    return _digest(ask.tenant, generation, _canonical(ask.request, with_media=False))


def _key(ask: Ask, generation: str) -> str:
    return _digest(ask.tenant, generation, _canonical(ask.request, with_media=True))


def _digest(tenant: str, generation: str, request: generation_pb2.GenerateRequest) -> str:
    digest = hashlib.sha256()
    for part in (tenant.encode(), generation.encode(), request.SerializeToString(deterministic=True)):
        digest.update(len(part).to_bytes(8) + part)
    return digest.hexdigest()


def _canonical(request: generation_pb2.GenerateRequest, *, with_media: bool) -> generation_pb2.GenerateRequest:
    """A copy without what does not change the answer: a field that is new to the contract counts until left out here.

    Text is in Unicode's normal form C, and media's bytes are their content's name.
    """
    canonical = generation_pb2.GenerateRequest()
    canonical.CopyFrom(request)
    canonical.ClearField("request_id")
    canonical.routing.ClearField("priority")
    canonical.routing.ClearField("cache_control")
    for name in ("routing", "config"):
        if not getattr(canonical, name).ByteSize():
            canonical.ClearField(name)
    if canonical.task == generation_pb2.TASK_OPEN:
        canonical.task = generation_pb2.TASK_UNSPECIFIED
    for message in canonical.messages:
        if message.role == generation_pb2.ROLE_USER:
            message.role = generation_pb2.ROLE_UNSPECIFIED
        for part in message.parts:
            if part.HasField("text"):
                part.text = unicodedata.normalize("NFC", part.text)
            elif not with_media:
                part.media.Clear()
            elif part.media.HasField("data"):
                part.media.name = f"media/sha256-{hashlib.sha256(part.media.data).hexdigest()}"
    return canonical
