"""Pages of what has a name (AIP-158)."""

import base64
from collections.abc import Iterable
from typing import Protocol, TypeVar

from chiasm.v1 import models_pb2
from services.runtime.errors import InvalidArgument

DEFAULT_PAGE_SIZE = 50
MAX_PAGE_SIZE = 1_000


class PageRequest(Protocol):
    page_size: int
    page_token: str


class Named(Protocol):
    @property
    def name(self) -> str: ...


T = TypeVar("T", bound=Named)


def page_of(request: PageRequest, named: Iterable[T]) -> tuple[list[T], str]:
    """The page of `named`, by name, that `request` asks for, and the token of the next one, empty where there is none;
    a token names the last of the page before.

    Raises InvalidArgument naming `page_size` or `page_token`.
    """
    if not 0 <= request.page_size <= MAX_PAGE_SIZE:
        raise InvalidArgument(f"{request.page_size} is not from 0 to {MAX_PAGE_SIZE:,}", field="page_size")
    after = _name(request.page_token)
    rest = sorted((one for one in named if one.name > after), key=lambda one: one.name)
    size = request.page_size or DEFAULT_PAGE_SIZE
    page, more = rest[:size], len(rest) > size
    return page, _token(page[-1].name) if more else ""


def list_models(
    request: models_pb2.ListModelsRequest, models: Iterable[models_pb2.Model]
) -> models_pb2.ListModelsResponse:
    """The page of `models` that `request` asks for. Raises InvalidArgument as `page_of` does."""
    page, token = page_of(request, models)
    return models_pb2.ListModelsResponse(models=page, next_page_token=token)


def _token(name: str) -> str:
    return base64.urlsafe_b64encode(name.encode()).decode()


def _name(token: str) -> str:
    try:
        return base64.b64decode(token, altchars=b"-_", validate=True).decode()
    except ValueError as error:
        raise InvalidArgument("not a token that this server gave", field="page_token") from error
