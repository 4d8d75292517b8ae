"""Pages of models (AIP-158)."""

import base64
from collections.abc import Iterable

from chiasm.v1 import models_pb2
from services.runtime.errors import InvalidArgument

DEFAULT_PAGE_SIZE = 50
MAX_PAGE_SIZE = 1_000


def list_models(
    request: models_pb2.ListModelsRequest, models: Iterable[models_pb2.Model]
) -> models_pb2.ListModelsResponse:
    """The page of `models`, by name, that `request` asks for; the token names the last model of the page before.

    Raises InvalidArgument naming `page_size` or `page_token`.
    """
    if not 0 <= request.page_size <= MAX_PAGE_SIZE:
        raise InvalidArgument(f"{request.page_size} is not from 0 to {MAX_PAGE_SIZE:,}", field="page_size")
    after = _name(request.page_token)
    rest = sorted((model for model in models if model.name > after), key=lambda model: model.name)
    size = request.page_size or DEFAULT_PAGE_SIZE
    page, more = rest[:size], len(rest) > size
    return models_pb2.ListModelsResponse(models=page, next_page_token=_token(page[-1].name) if more else "")


def _token(name: str) -> str:
    return base64.urlsafe_b64encode(name.encode()).decode()


def _name(token: str) -> str:
    try:
        return base64.b64decode(token, altchars=b"-_", validate=True).decode()
    except ValueError as error:
        raise InvalidArgument("not a token that this server gave", field="page_token") from error
