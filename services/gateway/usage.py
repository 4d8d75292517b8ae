"""UsageService, passed on to the server that keeps the ledger: to tenants of the policy, their own part of it."""

from collections.abc import AsyncIterator

import grpc

from chiasm.v1 import errors_pb2, usage_pb2, usage_pb2_grpc
from services.gateway.config import GatewaySettings
from services.gateway.tenants import door
from services.runtime.boundary import Upstream
from services.runtime.channel import open_channel
from services.runtime.deadline import remaining_s
from services.runtime.errors import FailedPrecondition, PermissionDenied
from services.runtime.telemetry import traced_metadata

NO_TARGET = "no server keeps the usage of this gateway: set CHIASM_GATEWAY_USAGE_TARGET to a gemini_proxy's host:port"


class UsageForwarder(usage_pb2_grpc.UsageServiceServicer):
    """What the caller has left of its deadline is what the target gets. Raises Upstream from every call."""

    def __init__(self, settings: GatewaySettings) -> None:
        self._settings = settings
        self._channel: grpc.aio.Channel | None = None
        self._stub: usage_pb2_grpc.UsageServiceStub | None = None

    def open(self) -> None:
        """To be called before the first call. Raises OSError when a certificate cannot be read."""
        settings = self._settings
        if settings.usage_target is not None:
            self._channel = open_channel(
                settings.usage_target,
                max_message_bytes=settings.max_message_bytes,
                ca_file=settings.target_ca_file,
                certificate_file=settings.target_certificate_file,
                key_file=settings.target_key_file,
                only_ready=False,  # one without a key for its provider still has its ledger
            )
            self._stub = usage_pb2_grpc.UsageServiceStub(self._channel)

    async def close(self) -> None:
        if self._channel is not None:
            await self._channel.close()

    async def QueryUsage(
        self, request: usage_pb2.QueryUsageRequest, context: grpc.aio.ServicerContext
    ) -> usage_pb2.QueryUsageResponse:
        _narrow(request.filter)
        return await self._answer("QueryUsage", request, context)

    async def ListLedgerEntries(
        self, request: usage_pb2.ListLedgerEntriesRequest, context: grpc.aio.ServicerContext
    ) -> usage_pb2.ListLedgerEntriesResponse:
        _narrow(request.filter)
        return await self._answer("ListLedgerEntries", request, context)

    async def ListBudgets(
        self, request: usage_pb2.ListBudgetsRequest, context: grpc.aio.ServicerContext
    ) -> usage_pb2.ListBudgetsResponse:
        _narrow(request)
        return await self._answer("ListBudgets", request, context)

    async def ReconcileUsage(
        self, requests: AsyncIterator[usage_pb2.ReconcileUsageRequest], context: grpc.aio.ServicerContext
    ) -> usage_pb2.ReconcileUsageResponse:
        if not door.identity().may_see_all:
            raise PermissionDenied("only who may act for every tenant may correct the ledger")
        return await self._answer("ReconcileUsage", requests, context)

    async def ExportLedger(
        self, request: usage_pb2.ExportLedgerRequest, context: grpc.aio.ServicerContext
    ) -> AsyncIterator[usage_pb2.ExportLedgerResponse]:
        _narrow(request.filter)
        call = self._call("ExportLedger", request, context)
        try:
            async for response in call:
                yield response
        except grpc.aio.AioRpcError as error:
            raise Upstream(error) from error
        finally:
            call.cancel()

    async def _answer(self, method: str, request: object, context: grpc.aio.ServicerContext) -> object:
        try:
            return await self._call(method, request, context)
        except grpc.aio.AioRpcError as error:
            raise Upstream(error) from error

    def _call(self, method: str, request: object, context: grpc.aio.ServicerContext) -> grpc.aio.Call:
        if self._stub is None:
            raise FailedPrecondition(NO_TARGET, reason=errors_pb2.ERROR_REASON_PROVIDER_NOT_CONFIGURED)
        timeout_s = remaining_s(context, self._settings.default_timeout_s, self._settings.max_timeout_s)
        return getattr(self._stub, method)(request, timeout=timeout_s, metadata=traced_metadata())


def _narrow(whose: usage_pb2.UsageFilter | usage_pb2.ListBudgetsRequest) -> None:
    """To what the caller may see. Raises PermissionDenied where it asks for another tenant's."""
    identity = door.identity()
    if identity.may_see_all:
        return
    if whose.tenant not in ("", identity.tenant):
        raise PermissionDenied(f"{identity.caller} may not see what {whose.tenant} uses")
    whose.tenant = identity.tenant
