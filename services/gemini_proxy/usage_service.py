"""UsageService's RPCs: protos in, protos out."""

import re
from collections.abc import AsyncIterator, Collection
from contextlib import aclosing
from itertools import groupby

import grpc

from chiasm.v1 import errors_pb2, usage_pb2, usage_pb2_grpc
from services.gemini_proxy import usage_convert as convert
from services.gemini_proxy.accounts.books import Books
from services.gemini_proxy.accounts.ledger import Group, Ledger
from services.gemini_proxy.csv_export import csv_pieces
from services.gemini_proxy.prices import Prices
from services.gemini_proxy.reconciling import Reconciler
from services.runtime.deadline import remaining_s, within
from services.runtime.errors import FailedPrecondition, InvalidArgument
from services.runtime.paging import DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE
from services.runtime.streams import each_within

NO_REDIS = "no Redis is configured: set CHIASM_GEMINI_PROXY_REDIS_URL"
QUERY_TIMEOUT_S = 60.0
"""Of a call whose caller gave no deadline."""
MAX_TIMEOUT_S = 600.0
MAX_ROWS = 50_000

_PAGE_TOKEN = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2}/[0-9]{1,19}-[0-9]{1,19})?")


class UsageServer(usage_pb2_grpc.UsageServiceServicer):
    """Args:
    ledger: None where no Redis keeps it; then every call fails with FailedPrecondition.
    books: what corrections are settled in.
    prices: what corrections cost.
    logged: members of the pool whose calls a record can hold: Vertex AI's.
    """

    def __init__(self, ledger: Ledger | None, books: Books, prices: Prices, *, logged: Collection[str] = ()) -> None:
        self._kept_ledger = ledger
        self._books = books
        self._prices = prices
        self._logged = logged

    async def QueryUsage(
        self, request: usage_pb2.QueryUsageRequest, context: grpc.aio.ServicerContext
    ) -> usage_pb2.QueryUsageResponse:
        ledger, wanted = self._ledger, convert.filter_from_proto(request.filter)
        groups = convert.groups_from_proto(request.group_by)
        async with within(_timeout_s(context)):
            sums = await ledger.usage(wanted, [*groups, Group.OUTCOME])
        rows = [
            convert.row_to_proto(dict(zip(groups, names, strict=True)), same)
            for names, same in groupby(sums, key=lambda row: tuple(row.of[group] for group in groups))
        ]
        if len(rows) > MAX_ROWS:
            raise InvalidArgument(f"more than {MAX_ROWS:,} sums: ask for fewer days, or splits", field="group_by")
        return usage_pb2.QueryUsageResponse(rows=rows, total=convert.row_to_proto({}, sums))

    async def ListLedgerEntries(
        self, request: usage_pb2.ListLedgerEntriesRequest, context: grpc.aio.ServicerContext
    ) -> usage_pb2.ListLedgerEntriesResponse:
        ledger, wanted = self._ledger, convert.filter_from_proto(request.filter)
        if not 0 <= request.page_size <= MAX_PAGE_SIZE:
            raise InvalidArgument(f"{request.page_size} is not from 0 to {MAX_PAGE_SIZE:,}", field="page_size")
        if not _PAGE_TOKEN.fullmatch(request.page_token):
            raise InvalidArgument("not a token that this server gave", field="page_token")
        async with within(_timeout_s(context)):
            page = await ledger.entries(
                wanted, page_size=request.page_size or DEFAULT_PAGE_SIZE, cursor=request.page_token
            )
        entries = [convert.entry_to_proto(entry) for entry in page.entries]
        return usage_pb2.ListLedgerEntriesResponse(entries=entries, next_page_token=page.cursor)

    async def ExportLedger(
        self, request: usage_pb2.ExportLedgerRequest, context: grpc.aio.ServicerContext
    ) -> AsyncIterator[usage_pb2.ExportLedgerResponse]:
        entries = self._ledger.export(convert.filter_from_proto(request.filter))
        async with aclosing(each_within(_timeout_s(context), csv_pieces(entries))) as pieces:
            async for data in pieces:
                yield usage_pb2.ExportLedgerResponse(data=data)

    async def ListBudgets(
        self, request: usage_pb2.ListBudgetsRequest, context: grpc.aio.ServicerContext
    ) -> usage_pb2.ListBudgetsResponse:
        ledger = self._ledger
        async with within(_timeout_s(context)):
            budgets = await ledger.budgets([request.tenant] if request.tenant else None)
        return usage_pb2.ListBudgetsResponse(budgets=[convert.budget_to_proto(budget) for budget in budgets])

    async def ReconcileUsage(
        self, requests: AsyncIterator[usage_pb2.ReconcileUsageRequest], context: grpc.aio.ServicerContext
    ) -> usage_pb2.ReconcileUsageResponse:
        reconciler = Reconciler(self._ledger, self._books, self._prices, self._logged)
        async with within(_timeout_s(context)):
            first = await anext(aiter(requests), usage_pb2.ReconcileUsageRequest())
            done = await reconciler.reconcile(_data(first, requests), convert.span_from_proto(first))
        return usage_pb2.ReconcileUsageResponse(
            rows=done.rows,
            corrected=done.corrected,
            skipped=done.skipped,
            difference_nanousd=done.difference_nanousd,
        )

    @property
    def _ledger(self) -> Ledger:
        if self._kept_ledger is None:
            raise FailedPrecondition(NO_REDIS, reason=errors_pb2.ERROR_REASON_PROVIDER_NOT_CONFIGURED)
        return self._kept_ledger


async def _data(
    first: usage_pb2.ReconcileUsageRequest, others: AsyncIterator[usage_pb2.ReconcileUsageRequest]
) -> AsyncIterator[bytes]:
    yield first.data
    async for request in others:
        yield request.data


def _timeout_s(context: grpc.aio.ServicerContext) -> float:
    return remaining_s(context, QUERY_TIMEOUT_S, MAX_TIMEOUT_S)
