"""`chiasm answer`: answer a question from a collection, with its sources."""

import json as json_text
import sys
from dataclasses import asdict
from typing import Annotated

import typer

from chiasm.client import Client
from chiasm.command.failures import explained
from chiasm.command.hits import chosen_collection, hit_as_json, part_of
from chiasm.command.options import (
    DEFAULT_ADDRESS,
    DEFAULT_TIMEOUT_S,
    Address,
    Collection,
    Json,
    Mode,
    Model,
    Sheet,
    Timeout,
    Where,
)
from chiasm.command.report import dollars
from chiasm.command.telemetry import command_span
from chiasm.command.terminal import note, printable
from chiasm.command.where import conditions
from chiasm.search import CitedAnswer, Hit, SearchMode


def answer(
    question: Annotated[str, typer.Argument(help="What to ask, in words.", show_default=False)],
    collection: Collection = "",
    query: Annotated[str, typer.Option(help="What finds the answer, where it is other than the question.")] = "",
    limit: Annotated[int, typer.Option(min=1, max=16, help="How many entries are read.")] = 4,
    mode: Mode = SearchMode.MEANING,
    where: Where = None,
    model: Model = "",
    out: Sheet = None,
    address: Address = DEFAULT_ADDRESS,
    timeout: Timeout = DEFAULT_TIMEOUT_S,
    json: Json = False,
) -> None:
    """Answer a question from what is found in a collection, and say from where."""
    with explained(address, as_json=json), command_span("answer"), Client(address, timeout_s=timeout) as client:
        if out:
            from chiasm.command.draw import check_writable

            check_writable(out)
        name = chosen_collection(client, collection)
        filters = conditions(where, client.get_collection(name).fields) if where else []
        answered = client.ask_collection(
            name,
            question,
            query=query,
            search={"limit": limit, "mode": mode, "where": filters, "with_picture": out is not None},
            model=model,
        )
        if out:
            from chiasm.command.sheet import write_sheet

            write_sheet([citation.hit for citation in answered.citations], out, title=f"{question} {answered.text}")
            note(f"drawn in {out}")
        if json:
            print(json_text.dumps(_as_json(answered), ensure_ascii=False), flush=True)
        else:
            _show(answered)


def _show(answered: CitedAnswer) -> None:
    print(printable(answered.text, sys.stdout))
    for citation in answered.citations:
        quote = f': "{citation.quote}"' if citation.quote else ""
        print(printable(f"[{citation.number}] {_place(citation.hit)}{quote}", sys.stdout))
    sys.stdout.flush()
    for dropped in answered.dropped:
        source = _place(dropped.hit) if dropped.hit else f"source {dropped.number}"
        why = _REASONS.get(dropped.reason, "does not hold")  # a reason may be newer than this client
        note(printable(f"dropped: {source} {why}: {dropped.detail}", sys.stderr))
    models = ", ".join(attempt.model for attempt in answered.route.attempts[-1:])
    usage = answered.usage
    note(
        f"{models or 'no model was asked'} · {usage.input_tokens} + {usage.output_tokens} tokens · "
        f"{dollars(usage.cost_nanousd)}"
    )


_REASONS = {
    "no_such_source": "is none that was given",
    "not_used": "is not used",
    "not_supporting": "does not say so",
}


def _place(hit: Hit) -> str:
    return ", ".join(filter(None, (hit.document_id, part_of(hit))))


def _as_json(answered: CitedAnswer) -> dict[str, object]:
    return {
        "text": answered.text,
        "citations": [
            {"number": each.number, "quote": each.quote, "hit": hit_as_json(each.hit)} for each in answered.citations
        ],
        "dropped": [
            {
                "number": each.number,
                "reason": each.reason,
                "detail": each.detail,
                "hit": hit_as_json(each.hit) if each.hit else None,
            }
            for each in answered.dropped
        ],
        "confidence": answered.confidence,
        "usage": asdict(answered.usage),
        "request_id": answered.request_id,
    }
