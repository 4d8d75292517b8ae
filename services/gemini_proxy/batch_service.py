"""BatchService's RPCs: protos in, protos out."""

import re
from collections.abc import Callable

import grpc

from chiasm.v1 import batch_pb2, batch_pb2_grpc, errors_pb2
from services.gemini_proxy import batch_convert as convert
from services.gemini_proxy.batches import Batches
from services.gemini_proxy.catalogue import Model
from services.gemini_proxy.config import NO_KEY, GeminiSettings
from services.gemini_proxy.convert import question_from_proto
from services.gemini_proxy.pool import Pool
from services.gemini_proxy.question import Question
from services.runtime.deadline import remaining_s, within
from services.runtime.errors import ChiasmError, FailedPrecondition, InvalidArgument
from services.runtime.paging import DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE
from services.runtime.requests import check_generate, name_request
from services.runtime.tenant import tenant_of

NO_REDIS = "batches are kept in Redis: set CHIASM_GEMINI_PROXY_REDIS_URL"
MAX_REQUESTS = 1_000
MAX_BYTES = 14 * 2**20
"""Of a batch: 20 MB are sent inline at most, in base64. https://ai.google.dev/gemini-api/docs/batch-api"""
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{0,128}")
_PAGE_BYTES = 8 * 2**20
_RESULTS_AT_ONCE = 50


class BatchServer(batch_pb2_grpc.BatchServiceServicer):
    """Args:
    batches: None where no Redis keeps them: then every call fails with FailedPrecondition.
    model_of: the model that a name and the field it is in mean; raises NotFound.
    """

    def __init__(
        self,
        settings: GeminiSettings,
        pool: Pool,
        batches: Batches | None,
        model_of: Callable[[str, str], Model],
    ) -> None:
        self._settings = settings
        self._pool = pool
        self._kept_batches = batches
        self._model_of = model_of

    async def StartBatch(
        self, request: batch_pb2.StartBatchRequest, context: grpc.aio.ServicerContext
    ) -> batch_pb2.StartBatchResponse:
        seconds, tenant = self._remaining_s(context), tenant_of(context)
        batches = self._batches
        if not self._pool.names:
            raise FailedPrecondition(NO_KEY, reason=errors_pb2.ERROR_REASON_PROVIDER_NOT_CONFIGURED)
        if not _REQUEST_ID.fullmatch(request.request_id):
            raise InvalidArgument("1 to 128 letters, digits, `.`, `_` or `-`", field="request_id")
        name_request(request)
        async with within(seconds):
            questions = await self._questions(request, tenant)
            record = await batches.start(questions, request_id=request.request_id)
        return batch_pb2.StartBatchResponse(batch=convert.batch_to_proto(record))

    async def GetBatch(
        self, request: batch_pb2.GetBatchRequest, context: grpc.aio.ServicerContext
    ) -> batch_pb2.GetBatchResponse:
        batches = self._batches
        async with within(self._remaining_s(context)):
            record = await batches.get(convert.id_of(request.name), tenant_of(context))
        return batch_pb2.GetBatchResponse(batch=convert.batch_to_proto(record))

    async def ListBatches(
        self, request: batch_pb2.ListBatchesRequest, context: grpc.aio.ServicerContext
    ) -> batch_pb2.ListBatchesResponse:
        batches = self._batches
        size, below = _page_size(request), convert.place_of(request.page_token)
        async with within(self._remaining_s(context)):
            records = await batches.page(tenant_of(context), below=below, size=size + 1)
        page = records[:size]
        return batch_pb2.ListBatchesResponse(
            batches=[convert.batch_to_proto(record) for record in page],
            next_page_token=convert.token_of(page[-1].id) if len(records) > size else "",
        )

    async def CancelBatch(
        self, request: batch_pb2.CancelBatchRequest, context: grpc.aio.ServicerContext
    ) -> batch_pb2.CancelBatchResponse:
        batches = self._batches
        async with within(self._remaining_s(context)):
            record = await batches.cancel(convert.id_of(request.name), tenant_of(context))
        return batch_pb2.CancelBatchResponse(batch=convert.batch_to_proto(record))

    async def ListBatchResults(
        self, request: batch_pb2.ListBatchResultsRequest, context: grpc.aio.ServicerContext
    ) -> batch_pb2.ListBatchResultsResponse:
        batches = self._batches
        size, place = _page_size(request), convert.place_of(request.page_token) or "0"
        if not place.isdecimal() or len(place) > 4:
            raise InvalidArgument("not a token that this server gave", field="page_token")
        response, index = batch_pb2.ListBatchResultsResponse(), int(place)
        async with within(self._remaining_s(context)):
            record = await batches.get(convert.id_of(request.name), tenant_of(context))
            end = min(record.count, index + size) if record.state.ended else index
            while index < end and response.ByteSize() < _PAGE_BYTES:
                some = range(index, min(end, index + _RESULTS_AT_ONCE))
                for data in await batches.results(record, some):
                    if response.ByteSize() + len(data) > 2 * _PAGE_BYTES:
                        break
                    response.results.append(batch_pb2.BatchResult.FromString(data))
                index = response.results[-1].index + 1
        if record.state.ended and index < record.count:
            response.next_page_token = convert.token_of(str(index))
        return response

    @property
    def _batches(self) -> Batches:
        if self._kept_batches is None:
            raise FailedPrecondition(NO_REDIS, reason=errors_pb2.ERROR_REASON_PROVIDER_NOT_CONFIGURED)
        return self._kept_batches

    def _remaining_s(self, context: grpc.aio.ServicerContext) -> float:
        return remaining_s(context, self._settings.default_timeout_s, self._settings.max_timeout_s)

    async def _questions(self, request: batch_pb2.StartBatchRequest, tenant: str) -> list[Question]:
        """Raises InvalidArgument naming the first field that is out of its range."""
        if not 1 <= len(request.requests) <= MAX_REQUESTS:
            raise InvalidArgument(f"1 to {MAX_REQUESTS:,} requests", field="requests")
        if (size := request.ByteSize()) > MAX_BYTES:
            raise InvalidArgument(
                f"{size:,} bytes; at most {MAX_BYTES:,} are taken",
                field="requests",
                reason=errors_pb2.ERROR_REASON_MEDIA_SIZE,
            )
        questions: list[Question] = []
        for index, each in enumerate(request.requests):
            try:
                check_generate(each)
                model = self._model_of(each.model, "model")
                if questions and model.name != questions[0].model:
                    raise InvalidArgument("a batch is of one model", field="model")
                each.request_id = each.request_id or request.request_id
                question = await question_from_proto(each, model=model, tenant=tenant, settings=self._settings)
            except ChiasmError as error:
                error.field = error.field and f"requests[{index}].{error.field}"
                raise
            questions.append(question)
        return questions


def _page_size(request: batch_pb2.ListBatchesRequest | batch_pb2.ListBatchResultsRequest) -> int:
    if not 0 <= request.page_size <= MAX_PAGE_SIZE:
        raise InvalidArgument(f"{request.page_size} is not from 0 to {MAX_PAGE_SIZE:,}", field="page_size")
    return request.page_size or DEFAULT_PAGE_SIZE
