"""Asks a model server, or the gateway before it, about an item."""

import asyncio
from dataclasses import replace

from chiasm import Answer, AsyncClient, Options
from evals.suite import Ask, Item, Reply


def asking(client: AsyncClient, options: Options) -> Ask:
    """Puts each prompt of an item to the server with its pictures, one after the other."""

    async def ask(item: Item) -> tuple[Reply, ...]:
        pictures = [await asyncio.to_thread(picture) for picture in item.pictures]
        answers = [await client.generate(prompt, pictures, item.task, **options) for prompt in item.prompts]
        return tuple(_reply(answer) for answer in answers)

    return ask


def _reply(answer: Answer) -> Reply:
    return Reply(
        text=answer.text,
        detections=tuple(replace(found, mask=None) for found in answer.detections),  # no suite scores masks yet
        model=answer.model,
        revision=answer.route.attempts[-1].revision if answer.route.attempts else "",
        input_tokens=answer.usage.input_tokens,
        output_tokens=answer.usage.output_tokens,
        cost_nanousd=answer.usage.cost_nanousd,
        confidence=answer.confidence,
        seconds=answer.total_s,
    )
