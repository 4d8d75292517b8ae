"""What the gateway does with a request before an embedder gets it: the tenant's models, its media, room for their
bytes."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager, asynccontextmanager
from typing import Any, TypeVar

import grpc
from google.protobuf.message import Message

from chiasm.v1 import errors_pb2, search_pb2
from services.gateway.admission.byte_room import ByteRoom
from services.gateway.admission.priority import Priority, at_most
from services.gateway.config import GatewaySettings
from services.gateway.embedders.replicas import Replica, Replicas
from services.gateway.forwarding import Method, Terms, answer
from services.gateway.media.contents import media_of
from services.gateway.media.resolving import Resolver
from services.gateway.tenants import door
from services.runtime.boundary import Upstream
from services.runtime.deadline import remaining_s
from services.runtime.errors import InvalidArgument, NotFound, PermissionDenied, Unavailable
from services.runtime.requests import check_names, name_request

R = TypeVar("R", bound=Message)

_MOST_ASKED = 2
"""Replicas for one answer."""


class Intake:
    """Of the calls that are passed on to embedders."""

    def __init__(self, settings: GatewaySettings, replicas: Replicas, resolver: Resolver, room: ByteRoom) -> None:
        self._settings = settings
        self._replicas = replicas
        self._resolver = resolver
        self._room = room

    def replica(self, terms: Terms, collection: str = "") -> Replica:
        """Whom to pass the call on to: always the same one for a collection, as long as it is there.

        Raises FailedPrecondition.
        """
        return self._replicas_for(terms, collection)[0]

    def terms(self, context: grpc.aio.ServicerContext) -> Terms:
        """Of the call that is being answered. Raises DeadlineExceeded."""
        return Terms.of_call(remaining_s(context, self._settings.default_timeout_s, self._settings.max_timeout_s))

    async def answer(
        self, method: Callable[[Replica], Method], request: Message, terms: Terms, *, collection: str = ""
    ) -> Any:
        """The embedder's, whole; of a method that changes nothing, so that where one is lost the next one is asked.

        Raises Upstream, and what `taken` and `replica` do.
        """
        replicas = self._replicas_for(terms, collection)[:_MOST_ASKED]
        async with self.taken(request, terms) as resolved:
            for replica in replicas:
                try:
                    with replica.noting():
                        return await answer(method(replica), resolved, terms)
                except Upstream as error:
                    error.was_retried = error.code is Unavailable.code  # by the channel at least
                    if not error.was_retried or replica is replicas[-1]:
                        raise

    async def search(self, request: search_pb2.SearchRequest, terms: Terms) -> search_pb2.SearchResponse:
        """Raises what `answer`, `allowed` and `check_collection` do."""
        if request.model:
            self.allowed(request.model)
        await self.check_collection(request.collection, terms)
        return await self.answer(lambda replica: replica.search.Search, request, terms, collection=request.collection)

    async def check_collection(self, name: str, terms: Terms) -> None:
        """Whether the tenant may use the model that a collection's vectors are of.

        Raises NotFound and InvalidArgument naming `collection`, and what `answer` does.
        """
        if door.identity().policy.may_use_all:
            return
        request = search_pb2.GetCollectionRequest(name=name)
        try:
            found = await self.answer(lambda replica: replica.search.GetCollection, request, terms, collection=name)
        except Upstream as error:
            if error.code is InvalidArgument.code:
                raise InvalidArgument(error.message, field="collection", reason=error.reason) from error
            raise
        self.allowed(found.collection.model, "collection")

    def name(self, request: Any) -> None:
        """Checks the request's names, gives it one where it has none, and tells the audit log of it.

        Raises InvalidArgument.
        """
        check_names(request)
        entry = door.entry()
        entry.model, entry.request_id = request.model, name_request(request)

    def allowed(self, model: str, field: str = "model") -> str:
        """The model that the request may have; empty where the embedder decides.

        Args:
            model: as the request has it, or empty.
            field: what the request calls it.

        Raises:
            NotFound: the tenant may not use it.
            PermissionDenied: none is named, and the tenant may use none that is served.
            InvalidArgument: none is named, and the tenant may use several, but not all.
            Unavailable: none is named, and it is not known yet which are served.
        """
        may_use = door.identity().may_use
        if model:
            if not may_use(model):
                raise NotFound(f"{model!r} is not served here", field=field)
            return model
        if not (served := self._replicas.models):
            self._replicas.in_order()  # says what to set where there is none
            raise Unavailable("no embedder is ready yet, or none can be reached")
        usable = [name for name in served if may_use(name)]
        if len(usable) == len(served):
            return ""
        if not usable:
            raise PermissionDenied("this tenant may use none of the embedding models served here", field=field)
        if len(usable) > 1:
            raise InvalidArgument(
                f"name one of {', '.join(sorted(usable))}", field=field, reason=errors_pb2.ERROR_REASON_FIELD_REQUIRED
            )
        return usable[0]

    def held(self, size: int, field: str) -> AbstractContextManager[None]:
        """Counts `size` bytes of the request's `field` as in flight while the block runs.

        Raises what `ByteRoom.held` does.
        """
        account = door.identity().policy
        return self._room.held(account.name, size, at_most(Priority.NORMAL, account), field=field)

    @asynccontextmanager
    async def taken(self, request: R, terms: Terms) -> AsyncIterator[R]:
        """The request with its media as bytes, which count as in flight while the block runs.

        Raises what `Resolver.resolve` and `ByteRoom.held` do.
        """
        resolved = await self._resolved(request, terms)
        field, size = _media_size(resolved)
        with self.held(size, field):
            yield resolved

    @asynccontextmanager
    async def taken_in_turn(self, request: R, terms: Terms) -> AsyncIterator[R]:
        """The same of a part of a stream, which waits for room before its media are loaded.

        Raises what `Resolver.resolve` and `ByteRoom.held_in_turn` do.
        """
        account = door.identity().policy
        field, size = _media_size(request)
        # What is not there yet may be smaller than it could be.
        most = max(size, min(self._resolver.most_bytes(request), self._room.most))
        turn = self._room.held_in_turn(account.name, most, at_most(Priority.LOW, account), terms.deadline, field=field)
        async with turn as resize:
            resolved = await self._resolved(request, terms)
            resize(_media_size(resolved)[1])
            yield resolved

    async def _resolved(self, request: R, terms: Terms) -> R:
        return await self._resolver.resolve(request, terms.tenant, terms.deadline, door.identity().policy.may_read)

    def _replicas_for(self, terms: Terms, collection: str) -> list[Replica]:
        return self._replicas.in_order(f"{terms.tenant}\0{collection}" if collection else "")


def _media_size(request: Message) -> tuple[str, int]:
    """The field of the first media, and the bytes of all."""
    sizes = {field: media.ByteSize() for field, media in media_of(request)}
    return next(iter(sizes), ""), sum(sizes.values())
