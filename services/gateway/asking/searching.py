"""The first step of a question: finding what may hold the answer."""

from collections.abc import Iterator
from contextlib import contextmanager

from google.rpc import error_details_pb2, status_pb2

from chiasm.v1 import search_pb2
from services.gateway.embedders.intake import Intake
from services.gateway.forwarding import Terms
from services.runtime.errors import ChiasmError
from services.runtime.requests import check_names

DEFAULT_SOURCES = 4


async def find(intake: Intake, request: search_pb2.AskRequest, terms: Terms) -> search_pb2.SearchResponse:
    """Raises what `Intake.search` does, and InvalidArgument; fields as `AskRequest` has them."""
    query = search_pb2.SearchRequest()
    query.CopyFrom(request.search)
    query.limit = query.limit or DEFAULT_SOURCES
    query.with_picture = True
    query.request_id = request.request_id
    with _fields_within("search"):
        check_names(query)
        return await intake.search(query, terms)


@contextmanager
def _fields_within(name: str) -> Iterator[None]:
    """Errors of the block name their field as one of the message in the field `name`."""
    try:
        yield
    except ChiasmError as error:
        if error.field is not None:
            error.field = f"{name}.{error.field}"
        if error.forwarded is not None:
            error.forwarded = _within(error.forwarded, name)
        raise


def _within(status: status_pb2.Status, name: str) -> status_pb2.Status:
    moved = status_pb2.Status(code=status.code, message=status.message)
    for detail in status.details:
        bad = error_details_pb2.BadRequest()
        if detail.Unpack(bad):
            for violation in bad.field_violations:
                violation.field = f"{name}.{violation.field}"
            moved.details.add().Pack(bad)
        else:
            moved.details.append(detail)
    return moved
