"""The calls of UsageService, as both clients have them."""

from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator, Sequence
from datetime import datetime
from itertools import chain

from chiasm import usage_convert as convert
from chiasm.channel import Caller
from chiasm.errors import rpc_errors
from chiasm.usage import Budget, LedgerEntry, Reconciliation, UsageFilter, UsageGroup, UsageSums
from chiasm.v1 import usage_pb2
from chiasm.v1.usage_pb2_grpc import UsageServiceStub

PAGE_SIZE = 500
EVERYTHING = UsageFilter()


class UsageCalls(Caller):
    """What was used and what it cost. Every method raises a ChiasmError when the call fails."""

    _usage: UsageServiceStub

    def usage(
        self,
        wanted: UsageFilter = EVERYTHING,
        *,
        group_by: Sequence[UsageGroup] = (),
        timeout_s: float | None = None,
    ) -> UsageSums:
        """Sums over the ledger, split by `group_by`."""
        request = convert.query_request(wanted, group_by)
        with rpc_errors():
            return convert.sums(self._usage.QueryUsage(request, **self._options(timeout_s)))

    def ledger(
        self, wanted: UsageFilter = EVERYTHING, *, page_size: int = PAGE_SIZE, timeout_s: float | None = None
    ) -> Iterator[LedgerEntry]:
        """Entries of the ledger, newest first, fetched as they are read; `timeout_s` is for each page."""
        token, more = "", True
        while more:
            request = convert.entries_request(wanted, page_size, token)
            with rpc_errors():
                page = self._usage.ListLedgerEntries(request, **self._options(timeout_s))
            yield from map(convert.entry, page.entries)
            token = page.next_page_token
            more = bool(token)

    def export_ledger(self, wanted: UsageFilter = EVERYTHING, *, timeout_s: float | None = None) -> Iterator[bytes]:
        """The ledger as CSV, oldest entry first, in pieces to be put together."""
        call = self._usage.ExportLedger(convert.export_request(wanted), **self._options(timeout_s))
        try:
            with rpc_errors():
                for response in call:
                    yield response.data
        finally:
            call.cancel()

    def budgets(self, tenant: str = "", *, timeout_s: float | None = None) -> list[Budget]:
        """Each budget, or the tenant's, and what is spent and held of it."""
        with rpc_errors():
            response = self._usage.ListBudgets(convert.budgets_request(tenant), **self._options(timeout_s))
        return [convert.budget(budget) for budget in response.budgets]

    def reconcile(
        self,
        pieces: Iterable[bytes],
        *,
        whole: tuple[datetime, datetime] | None = None,
        timeout_s: float | None = None,
    ) -> Reconciliation:
        """Corrects the ledger with the provider's own record, JSON lines in pieces of up to a few MiB each.

        `whole`: aware times between which the record holds every call, so that what it does not tell of was not served.
        """
        requests = chain([convert.reconcile_start(whole)], map(convert.reconcile_request, pieces))
        with rpc_errors():
            return convert.reconciliation(self._usage.ReconcileUsage(requests, **self._options(timeout_s)))


class AsyncUsageCalls(Caller):
    """What was used and what it cost. Every method raises a ChiasmError when the call fails."""

    _usage: UsageServiceStub

    async def usage(
        self,
        wanted: UsageFilter = EVERYTHING,
        *,
        group_by: Sequence[UsageGroup] = (),
        timeout_s: float | None = None,
    ) -> UsageSums:
        """Sums over the ledger, split by `group_by`."""
        request = convert.query_request(wanted, group_by)
        with rpc_errors():
            return convert.sums(await self._usage.QueryUsage(request, **self._options(timeout_s)))

    async def ledger(
        self, wanted: UsageFilter = EVERYTHING, *, page_size: int = PAGE_SIZE, timeout_s: float | None = None
    ) -> AsyncIterator[LedgerEntry]:
        """Entries of the ledger, newest first, fetched as they are read; `timeout_s` is for each page."""
        token, more = "", True
        while more:
            request = convert.entries_request(wanted, page_size, token)
            with rpc_errors():
                page = await self._usage.ListLedgerEntries(request, **self._options(timeout_s))
            for message in page.entries:
                yield convert.entry(message)
            token = page.next_page_token
            more = bool(token)

    async def export_ledger(
        self, wanted: UsageFilter = EVERYTHING, *, timeout_s: float | None = None
    ) -> AsyncIterator[bytes]:
        """The ledger as CSV, oldest entry first, in pieces to be put together."""
        call = self._usage.ExportLedger(convert.export_request(wanted), **self._options(timeout_s))
        try:
            with rpc_errors():
                async for response in call:
                    yield response.data
        finally:
            call.cancel()

    async def budgets(self, tenant: str = "", *, timeout_s: float | None = None) -> list[Budget]:
        """Each budget, or the tenant's, and what is spent and held of it."""
        with rpc_errors():
            response = await self._usage.ListBudgets(convert.budgets_request(tenant), **self._options(timeout_s))
        return [convert.budget(budget) for budget in response.budgets]

    async def reconcile(
        self,
        pieces: AsyncIterable[bytes],
        *,
        whole: tuple[datetime, datetime] | None = None,
        timeout_s: float | None = None,
    ) -> Reconciliation:
        """Corrects the ledger with the provider's own record, JSON lines in pieces of up to a few MiB each.

        `whole`: aware times between which the record holds every call, so that what it does not tell of was not served.
        """

        async def requests_of() -> AsyncIterator[usage_pb2.ReconcileUsageRequest]:
            yield convert.reconcile_start(whole)
            async for piece in pieces:
                yield convert.reconcile_request(piece)

        requests = requests_of()
        with rpc_errors():
            return convert.reconciliation(await self._usage.ReconcileUsage(requests, **self._options(timeout_s)))
