"""From a question about a picture to the pieces of its answer."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass

from services.paligemma.adapters import Adapter
from services.paligemma.config import PaligemmaSettings
from services.paligemma.engine import Engine, Sampling
from services.paligemma.locations import Box, Token, geometric_mean, read_locations
from services.paligemma.masks import MaskDecoder, PlacedMask, place_mask
from services.paligemma.prompts import Task, build_prompt
from services.runtime.errors import FailedPrecondition
from services.runtime.media import ImageLimits, Picture, decode_image


@dataclass(frozen=True)
class Question:
    """One picture, what is asked of it, and by which adapter (None is the base model) it shall be answered.

    The `_field`s name where they stood in the request.
    """

    task: Task
    text: str
    text_field: str
    image: bytes
    image_field: str
    mime_type: str
    sampling: Sampling
    adapter: Adapter | None = None


@dataclass(frozen=True)
class Detection:
    """One thing found, in pixels of the original picture."""

    label: str
    box: Box
    mask: PlacedMask | None
    confidence: float


@dataclass(frozen=True)
class Piece:
    """The answer goes on."""

    text: str
    tokens: tuple[Token, ...]


@dataclass(frozen=True)
class End:
    """The answer is complete. `finish_reason` is "stop" or "length"."""

    finish_reason: str
    input_tokens: int
    image_tokens: int
    output_tokens: int
    confidence: float | None
    detections: tuple[Detection, ...]


class Answerer:
    """Answers questions with one engine."""

    def __init__(self, settings: PaligemmaSettings, engine: Engine) -> None:
        """Raises BadSetting when the mask decoder's file is given and cannot be read."""
        self._engine = engine
        self._limits = ImageLimits(settings.max_media_bytes, settings.max_image_pixels)
        self._masks = MaskDecoder(settings.mask_decoder_file) if settings.mask_decoder_file else None

    @property
    def segments(self) -> bool:
        """Whether masks can be decoded."""
        return self._masks is not None

    async def answer(self, question: Question) -> AsyncIterator[Piece | End]:
        """Pieces, then one End. Closing the iterator frees the engine's slot.

        Raises InvalidArgument, FailedPrecondition (no mask decoder) or Unavailable (engine died).
        """
        if question.task is Task.SEGMENT and self._masks is None:
            raise FailedPrecondition(
                "segmentation needs the mask decoder's weights: "
                "set CHIASM_PALIGEMMA_MASK_DECODER_FILE to Google's vae-oid.npz"
            )
        words = build_prompt(question.task, question.text, field=question.text_field)
        prompt = await asyncio.to_thread(self._engine.encode, words, field=question.text_field)
        side = self._engine.facts.image_size
        picture = await decode_image(
            question.image,
            field=question.image_field,
            mime_type=question.mime_type,
            limits=self._limits,
            resize=lambda width, height: (side, side),
        )
        sampling = question.sampling.with_default_max_tokens(question.task.max_tokens)
        tokens: list[Token] = []
        prompt_tokens, finish_reason = 0, ""
        async with aclosing(self._engine.generate(prompt, picture.image, sampling, question.adapter)) as outputs:
            async for output in outputs:
                tokens += output.tokens
                prompt_tokens = output.prompt_tokens or prompt_tokens
                finish_reason = output.finish_reason or finish_reason
                if output.text or output.tokens:
                    yield Piece(output.text, output.tokens)
        yield End(
            finish_reason=finish_reason,
            input_tokens=prompt_tokens,
            image_tokens=self._engine.facts.image_tokens,
            output_tokens=len(tokens),
            confidence=geometric_mean(tokens) if tokens else None,
            detections=await self._detections(question.task, tokens, picture),
        )

    async def _detections(self, task: Task, tokens: list[Token], picture: Picture) -> tuple[Detection, ...]:
        if not task.finds:
            return ()
        return await asyncio.to_thread(self._read_detections, task, tokens, picture)

    def _read_detections(self, task: Task, tokens: list[Token], picture: Picture) -> tuple[Detection, ...]:
        detections = []
        for found in read_locations(tokens, self._engine.vocabulary, picture.width, picture.height):
            mask = None
            if task is Task.SEGMENT and self._masks is not None and found.codes:
                mask = place_mask(self._masks.decode(found.codes), found.box, picture.width, picture.height)
            detections.append(Detection(found.label, found.box, mask, found.confidence))
        return tuple(detections)
