"""Between UsageService's messages and the client's own types."""

from collections.abc import Sequence
from datetime import UTC, date, datetime

from chiasm import usage
from chiasm.convert import model_name, usage_of, word
from chiasm.errors import InvalidArgument
from chiasm.v1 import usage_pb2


def query_request(wanted: usage.UsageFilter, group_by: Sequence[usage.UsageGroup]) -> usage_pb2.QueryUsageRequest:
    """Asks for sums."""
    groups = [usage_pb2.UsageGroup.Value(f"USAGE_GROUP_{group.name}") for group in group_by]
    return usage_pb2.QueryUsageRequest(filter=_filter(wanted), group_by=groups)


def entries_request(
    wanted: usage.UsageFilter, page_size: int, page_token: str = ""
) -> usage_pb2.ListLedgerEntriesRequest:
    """Asks for a page of entries. Raises InvalidArgument for a size of more than 32 bits."""
    try:
        return usage_pb2.ListLedgerEntriesRequest(filter=_filter(wanted), page_size=page_size, page_token=page_token)
    except ValueError as error:
        raise InvalidArgument(str(error), reason="FIELD_INVALID", field="page_size") from error


def export_request(wanted: usage.UsageFilter) -> usage_pb2.ExportLedgerRequest:
    """Asks for the ledger as CSV."""
    return usage_pb2.ExportLedgerRequest(filter=_filter(wanted))


def budgets_request(tenant: str) -> usage_pb2.ListBudgetsRequest:
    """Asks for a tenant's budgets; for all where it is empty."""
    return usage_pb2.ListBudgetsRequest(tenant=tenant)


def reconcile_start(whole: tuple[datetime, datetime] | None) -> usage_pb2.ReconcileUsageRequest:
    """Begins the provider's record: between which times it holds every call."""
    start = usage_pb2.ReconcileUsageRequest()
    if whole is not None:
        start.whole_since.FromDatetime(whole[0])
        start.whole_until.FromDatetime(whole[1])
    return start


def reconcile_request(data: bytes) -> usage_pb2.ReconcileUsageRequest:
    """A piece of the provider's record."""
    return usage_pb2.ReconcileUsageRequest(data=data)


def sums(response: usage_pb2.QueryUsageResponse) -> usage.UsageSums:
    """The sums in a response."""
    return usage.UsageSums(tuple(_row(row) for row in response.rows), _row(response.total))


def entry(message: usage_pb2.LedgerEntry) -> usage.LedgerEntry:
    """An entry of the ledger."""
    return usage.LedgerEntry(
        name=message.name,
        time=message.time.ToDatetime(UTC),
        kind=word(usage_pb2.LedgerEntryKind, message.kind),
        attempt_id=message.attempt_id,
        request_id=message.request_id,
        tenant=message.tenant,
        member=message.member,
        model_asked=message.model_asked,
        model_answered=message.model_answered,
        outcome=word(usage_pb2.AttemptOutcome, message.outcome),
        batch=message.batch,
        usage=usage_of(message.usage),
        estimated_input_tokens=message.estimated_input_tokens,
    )


def budget(message: usage_pb2.Budget) -> usage.Budget:
    """A tenant's budget."""
    return usage.Budget(
        tenant=message.tenant,
        period=word(usage_pb2.BudgetPeriod, message.period),
        hard=message.hard,
        limit_nanousd=message.limit_nanousd,
        spent_nanousd=message.spent_nanousd,
        held_nanousd=message.held_nanousd,
        resets_at=message.resets_at.ToDatetime(UTC),
    )


def reconciliation(message: usage_pb2.ReconcileUsageResponse) -> usage.Reconciliation:
    """What the provider's record changed."""
    return usage.Reconciliation(message.rows, message.corrected, message.skipped, message.difference_nanousd)


def _filter(wanted: usage.UsageFilter) -> usage_pb2.UsageFilter:
    return usage_pb2.UsageFilter(
        since_day=wanted.since.isoformat() if wanted.since else "",
        until_day=wanted.until.isoformat() if wanted.until else "",
        tenant=wanted.tenant,
        model=model_name(wanted.model),
        member=wanted.member,
    )


def _row(message: usage_pb2.UsageRow) -> usage.UsageRow:
    return usage.UsageRow(
        tenant=message.tenant,
        model=message.model,
        member=message.member,
        day=date.fromisoformat(message.day) if message.day else None,
        attempts=message.attempts,
        failed_attempts=message.failed_attempts,
        estimated_attempts=message.estimated_attempts,
        usage=usage_of(message.usage),
    )
