"""Finds what may hold the answer, has models read it, and cites what holds.

Where a model takes all sources at once and writes JSON to a schema, it answers in statements, each with its sources,
which are then checked. Where none does, as PaliGemma, each source is asked alone, and the sources vote.
"""

from chiasm.v1 import errors_pb2, generation_pb2, search_pb2
from services.gateway.asking.checking import Checker
from services.gateway.asking.citing import Cited, cite, without_pictures
from services.gateway.asking.prompt import of_all
from services.gateway.asking.questions import Questions
from services.gateway.asking.reading import statements_of
from services.gateway.asking.searching import find
from services.gateway.asking.voting import vote
from services.gateway.embedders.intake import Intake
from services.gateway.forwarding import Terms
from services.gateway.layers import Layers
from services.gateway.tenants import door
from services.gateway.usage_sum import sum_of
from services.runtime.errors import InvalidArgument
from services.runtime.requests import check_text

MOST_SOURCES = 16
MAX_QUESTION_BYTES = 8 * 2**10
NOTHING_FOUND = "Nothing was found in the collection that could answer this."


class Asking:
    """`SearchService.Ask`."""

    def __init__(self, intake: Intake, layers: Layers) -> None:
        self._intake = intake
        self._layers = layers

    async def answer(self, request: search_pb2.AskRequest, terms: Terms) -> search_pb2.AskResponse:
        """To be bounded by `terms.deadline`.

        Raises InvalidArgument naming the field, what `find` does, what the gateway's own models raise, and Aborted
        where what they say is no answer.
        """
        question = _checked_question(request)
        questions = Questions(self._layers, request, terms)
        questions.check(question)
        found = await find(self._intake, request, terms)
        questions.usages.append(found.usage)
        response = search_pb2.AskResponse(text=NOTHING_FOUND, request_id=request.request_id)
        try:
            if found.hits:
                # The questions hold what they copy of them, each for itself.
                with self._intake.held(sum(hit.ByteSize() for hit in found.hits), "search.limit"):
                    cited, finished = await _read(questions, question, found.hits)
                response = _response(cited, finished, request)
        finally:
            usage = sum_of(questions.usages)
            door.entry().cost_nanousd = usage.cost_nanousd
        response.usage.CopyFrom(usage)
        return response


async def _read(
    questions: Questions, question: str, hits: list[search_pb2.Hit]
) -> tuple[Cited, generation_pb2.Finished]:
    answered = await _answer_of_all(questions, question, hits)
    if answered is None:
        return await vote(questions, question, hits)
    checked = await Checker(questions, question, hits).check(statements_of(answered.text, len(hits)))
    return cite(checked, hits), answered.finished


async def _answer_of_all(
    questions: Questions, question: str, hits: list[search_pb2.Hit]
) -> generation_pb2.GenerateResponse | None:
    """None where no model takes all at once."""
    whole = await questions.made(of_all(question, hits))
    return await questions.answer(whole) if questions.can_be_answered(whole) else None


def _checked_question(request: search_pb2.AskRequest) -> str:
    """What is asked. Raises InvalidArgument."""
    if request.config.json_schema:
        raise InvalidArgument("the answer is a text with citations: leave it out", field="config.json_schema")
    if not 0 <= request.search.limit <= MOST_SOURCES:
        raise InvalidArgument(f"{request.search.limit} is not from 0 to {MOST_SOURCES}", field="search.limit")
    field, question = ("question", request.question) if request.question else ("search.text", request.search.text)
    if not question.strip():
        raise InvalidArgument("nothing is asked", field="question", reason=errors_pb2.ERROR_REASON_FIELD_REQUIRED)
    if (size := len(question.encode())) > MAX_QUESTION_BYTES:
        raise InvalidArgument(
            f"the question has {size:,} bytes; at most {MAX_QUESTION_BYTES:,} are taken",
            field=field,
            reason=errors_pb2.ERROR_REASON_PROMPT_TOO_LONG,
        )
    check_text(question, field, MAX_QUESTION_BYTES)
    return question


def _response(
    cited: Cited, finished: generation_pb2.Finished, request: search_pb2.AskRequest
) -> search_pb2.AskResponse:
    response = search_pb2.AskResponse(
        text=cited.text,
        citations=cited.citations,
        dropped=cited.dropped,
        confidence=finished.confidence if finished.HasField("confidence") else None,
        route=finished.route,
        request_id=request.request_id,
    )
    return response if request.search.with_picture else without_pictures(response)
