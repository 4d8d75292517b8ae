"""A model server that knows the right answers of suites, and says them as surely and as dearly as a test wants."""

import hashlib
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import grpc.aio

from chiasm import Task
from chiasm.v1 import generation_pb2, models_pb2, usage_pb2
from chiasm.v1.generation_pb2_grpc import add_GenerationServiceServicer_to_server
from chiasm.v1.models_pb2_grpc import add_ModelServiceServicer_to_server
from evals.suite import Item
from services.runtime.generation import GenerationServer
from services.runtime.paging import list_models

INPUT_TOKENS, OUTPUT_TOKENS = 258, 4
INPUT_NANOUSD, OUTPUT_NANOUSD = 300, 2_500
COST_NANOUSD = INPUT_TOKENS * INPUT_NANOUSD + OUTPUT_TOKENS * OUTPUT_NANOUSD
"""Of an answer of the large model: $0.30 a million tokens in, $2.50 a million out."""
_MILLION = 10**6

Luck = Callable[[int], float]
"""Gives for each number a draw from 0 to 1 that a question has once and for all."""


@dataclass(frozen=True)
class Said:
    """Whether an answer is right, and how sure its model says to be; None where it says nothing of it."""

    right: bool
    confidence: float | None = None


def right_in(share: float) -> Callable[[Luck], Said]:
    """Right in so many of the questions, and silent about its confidence."""
    return lambda luck: Said(luck(0) < share)


class EmulatedModel(GenerationServer):
    """Knows questions by their text and the bytes of their picture, and answers the same one always alike."""

    def __init__(self, name: str, items: Iterable[Item], skill: Callable[[Luck], Said], *, priced: bool = True) -> None:
        """Blocks: draws every picture. `name` is as `models/NAME`; without a price its answers cost nothing."""
        self._skill = skill
        self._right = {_key(item.task, item.prompts[0], item.pictures[0]()): item.answers[0] for item in items}
        self._priced = priced
        self.model = models_pb2.Model(
            name=name,
            revision="emulated",
            provider="emulated",
            tasks=[generation_pb2.TASK_ANSWER, generation_pb2.TASK_READ_TEXT],
            modalities=[models_pb2.MODALITY_IMAGE],
            limits=models_pb2.ModelLimits(
                max_context_tokens=8_192, max_output_tokens=256, min_media=1, max_media=1, max_media_bytes=2**20
            ),
            price=usage_pb2.Price(
                input_nanousd_per_million_tokens=INPUT_NANOUSD * _MILLION,
                output_nanousd_per_million_tokens=OUTPUT_NANOUSD * _MILLION,
            )
            if priced
            else None,
            ready=True,
        )
        self.asked = 0
        """Questions so far."""

    async def ListModels(
        self, request: models_pb2.ListModelsRequest, context: grpc.aio.ServicerContext
    ) -> models_pb2.ListModelsResponse:
        return list_models(request, [self.model])

    async def GetModel(
        self, request: models_pb2.GetModelRequest, context: grpc.aio.ServicerContext
    ) -> models_pb2.GetModelResponse:
        return models_pb2.GetModelResponse(model=self.model)

    async def events(
        self, request: generation_pb2.GenerateRequest, context: grpc.aio.ServicerContext
    ) -> AsyncIterator[generation_pb2.StreamGenerateResponse]:
        self.asked += 1
        picture = next(part.media.data for part in request.messages[0].parts if part.HasField("media"))
        words = "".join(part.text for part in request.messages[0].parts)
        key = _key(Task(generation_pb2.Task.Name(request.task).removeprefix("TASK_").lower()), words, picture)
        said = self._skill(lambda number: _draw(f"{self.model.name} {key} {number}"))
        text = self._right[key] if said.right else f"not {self._right[key]}"
        usage = usage_pb2.Usage(
            input_tokens=INPUT_TOKENS, output_tokens=OUTPUT_TOKENS, cost_nanousd=COST_NANOUSD if self._priced else 0
        )
        finished = generation_pb2.Finished(
            finish_reason=generation_pb2.FINISH_REASON_STOP, usage=usage, confidence=said.confidence
        )
        started = generation_pb2.Started(model=self.model.name, attempt=1, request_id=request.request_id)
        yield generation_pb2.StreamGenerateResponse(started=started)
        yield generation_pb2.StreamGenerateResponse(delta=generation_pb2.Delta(text=text))
        yield generation_pb2.StreamGenerateResponse(finished=finished)


@asynccontextmanager
async def serving(model: EmulatedModel) -> AsyncIterator[str]:
    """Serves it on a free port; its address."""
    server = grpc.aio.server()
    add_GenerationServiceServicer_to_server(model, server)
    add_ModelServiceServicer_to_server(model, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.stop(None)


def _key(task: Task, words: str, picture: bytes) -> str:
    return f"{task} {words} {hashlib.sha256(picture).hexdigest()}"


def _draw(key: str) -> float:
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:6]) / 2**48
