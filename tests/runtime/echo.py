"""A real service to drive the runtime with: what it does is in the request's first text.

As a program (`python -m tests.runtime.echo`) it serves on the settings of the environment.
"""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import ClassVar

import grpc
from pydantic import SecretStr

from chiasm.v1 import generation_pb2, generation_pb2_grpc
from services.runtime import errors
from services.runtime.boundary import Upstream
from services.runtime.channel import open_channel
from services.runtime.config import BadSetting, ServiceSettings
from services.runtime.deadline import within
from services.runtime.server import Readiness, main
from services.runtime.telemetry import traced_metadata

REASON = errors.ErrorReason

RAISED = {
    "invalid": lambda: errors.InvalidArgument("too short", field="messages[0]"),
    "not-found": lambda: errors.NotFound("no such model", metadata={"model": "models/x"}),
    "precondition": lambda: errors.FailedPrecondition("needs vae.npz"),
    "deadline": lambda: errors.DeadlineExceeded("too slow"),
    "overloaded": lambda: errors.Overloaded("busy", retry_after_s=2.5),
    "unavailable": lambda: errors.Unavailable("engine down", reason=REASON.ERROR_REASON_ENGINE_FAILED),
    "cancelled": lambda: errors.Cancelled("stopped"),
    "internal": lambda: errors.Internal("the password is hunter2"),
    "unknown": lambda: RuntimeError("the password is hunter2"),
    "long": lambda: errors.NotFound("\N{GRINNING FACE}" * 100_000, field="\N{GRINNING FACE}" * 100_000),
}


class EchoSettings(ServiceSettings):
    service: ClassVar[str] = "echo"

    journal: Path | None = None
    """Where the service writes what happens to it, a word a line."""
    upstream: str | None = None
    """Another echo that `forward` asks."""
    fails: str = ""
    """`start` or `run`: what raises. `setting`: `start` finds this very setting bad."""
    api_key: SecretStr = SecretStr("")


class EchoService(generation_pb2_grpc.GenerationServiceServicer):
    """Echoes, raises, waits or forwards, as it is told."""

    names = ("chiasm.v1.GenerationService",)
    readiness: Readiness

    def __init__(self, settings: EchoSettings) -> None:
        self._settings = settings
        self.release = asyncio.Event()
        self.failure = asyncio.Event()
        self.begun = asyncio.Semaphore(0)
        self.journal: list[str] = []

    def register(self, server: grpc.aio.Server) -> None:
        generation_pb2_grpc.add_GenerationServiceServicer_to_server(self, server)

    async def start(self) -> None:
        if self._settings.fails == "start":
            raise RuntimeError("no engine")
        if self._settings.fails == "setting":
            raise BadSetting("fails", "it should not")
        if self._settings.fails == "slow-start":
            await self.release.wait()

    async def run(self) -> None:
        if self._settings.fails == "run":
            raise RuntimeError("engine died")
        await self.failure.wait()

    async def stop(self) -> None:
        self._note("stop")

    async def Generate(
        self, request: generation_pb2.GenerateRequest, context: grpc.aio.ServicerContext
    ) -> generation_pb2.GenerateResponse:
        return generation_pb2.GenerateResponse(text=await self._do(_text(request), context))

    async def StreamGenerate(
        self, request: generation_pb2.GenerateRequest, context: grpc.aio.ServicerContext
    ) -> AsyncIterator[generation_pb2.StreamGenerateResponse]:
        try:
            yield _delta("begun")
            yield _delta(await self._do(_text(request), context))
        finally:
            self._note("closed")

    async def _do(self, text: str, context: grpc.aio.ServicerContext) -> str:
        self.begun.release()
        match text:
            case "work":
                self._note("begun")
                await asyncio.sleep(1)
            case "wait":
                await self.release.wait()
            case "slow-clean-up":
                await self._clean_up_slowly()
            case "within":
                async with within(0.01):
                    await asyncio.Event().wait()
            case "abort":
                await context.abort(grpc.StatusCode.OUT_OF_RANGE, "mine")
            case "forward" | "forward-invalid" | "forward-unknown-method":
                return await self._forward(text.removeprefix("forward").lstrip("-"))
            case _ if text in RAISED:
                raise RAISED[text]()
        return text

    async def _clean_up_slowly(self) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            self._note("cancelled")
            await asyncio.sleep(0.3)  # clean-up that takes its time, as freeing an engine's slot does
            self._note("clean")

    async def _forward(self, text: str) -> str:
        async with open_channel(self._settings.upstream, max_message_bytes=2**20) as channel:
            stub = generation_pb2_grpc.GenerationServiceStub(channel)
            if text == "unknown-method":
                stub.Generate = channel.unary_unary("/chiasm.v1.Nothing/Here", lambda r: b"", lambda b: b)
            try:
                answer = await stub.Generate(ask(text), metadata=traced_metadata(), timeout=10)
            except grpc.aio.AioRpcError as error:
                raise Upstream(error) from error
        return answer.text

    def _note(self, event: str) -> None:
        self.journal.append(event)
        if self._settings.journal is not None:
            with self._settings.journal.open("a", encoding="utf-8") as file:
                file.write(f"{event}\n")


def ask(text: str) -> generation_pb2.GenerateRequest:
    part = generation_pb2.Part(text=text)
    return generation_pb2.GenerateRequest(messages=[generation_pb2.Message(parts=[part])])


def _text(request: generation_pb2.GenerateRequest) -> str:
    return request.messages[0].parts[0].text


def _delta(text: str) -> generation_pb2.StreamGenerateResponse:
    return generation_pb2.StreamGenerateResponse(delta=generation_pb2.Delta(text=text))


if __name__ == "__main__":
    settings = EchoSettings.load()
    main(lambda: EchoService(settings), settings)
