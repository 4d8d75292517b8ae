"""Between UsageService's messages and the ledger's own types."""

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta

from google.protobuf.timestamp_pb2 import Timestamp

from chiasm.v1 import errors_pb2, usage_pb2
from services.gemini_proxy.accounts.books import Outcome
from services.gemini_proxy.accounts.ledger import (
    MAX_DAYS,
    BudgetState,
    Entry,
    EntryKind,
    Filter,
    Group,
    Sums,
    UsageRow,
)
from services.gemini_proxy.reconciling import Span
from services.gemini_proxy.usage import TokenUsage
from services.runtime.errors import InvalidArgument

_EARLIEST_S, _LATEST_S = datetime(2020, 1, 1, tzinfo=UTC).timestamp(), datetime(2100, 1, 1, tzinfo=UTC).timestamp()
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")

_GROUPS = {
    usage_pb2.USAGE_GROUP_TENANT: Group.TENANT,
    usage_pb2.USAGE_GROUP_MODEL: Group.MODEL,
    usage_pb2.USAGE_GROUP_MEMBER: Group.MEMBER,
    usage_pb2.USAGE_GROUP_DAY: Group.DAY,
}
_KINDS = {
    EntryKind.SETTLED: usage_pb2.LEDGER_ENTRY_KIND_SETTLED,
    EntryKind.ESTIMATED: usage_pb2.LEDGER_ENTRY_KIND_ESTIMATED,
    EntryKind.CORRECTION: usage_pb2.LEDGER_ENTRY_KIND_CORRECTION,
}
_OUTCOMES = {
    Outcome.OK: usage_pb2.ATTEMPT_OUTCOME_OK,
    Outcome.CANCELLED: usage_pb2.ATTEMPT_OUTCOME_CANCELLED,
    Outcome.FAILED: usage_pb2.ATTEMPT_OUTCOME_FAILED,
    Outcome.SUPERSEDED: usage_pb2.ATTEMPT_OUTCOME_SUPERSEDED,
    Outcome.LOST: usage_pb2.ATTEMPT_OUTCOME_LOST,
}
_PERIODS = {"day": usage_pb2.BUDGET_PERIOD_DAY, "month": usage_pb2.BUDGET_PERIOD_MONTH}


def span_from_proto(message: usage_pb2.ReconcileUsageRequest) -> Span | None:
    """The time of which the record holds every call. Raises InvalidArgument naming the field."""
    if not message.HasField("whole_since") and not message.HasField("whole_until"):
        return None
    span = Span(*(_time_from_proto(message, field) for field in ("whole_since", "whole_until")))
    if span.since > span.until:
        raise InvalidArgument("before `whole_since`", field="whole_until")
    return span


def _time_from_proto(message: usage_pb2.ReconcileUsageRequest, field: str) -> datetime:
    if not message.HasField(field):
        raise InvalidArgument("set both ends or none", field=field, reason=errors_pb2.ERROR_REASON_FIELD_REQUIRED)
    seconds = getattr(message, field).seconds
    if not _EARLIEST_S <= seconds <= _LATEST_S:
        raise InvalidArgument("not a time from 2020 to 2100", field=field)
    return datetime.fromtimestamp(seconds, UTC)


def filter_from_proto(message: usage_pb2.UsageFilter) -> Filter:
    """Raises InvalidArgument naming the field. Without days it reaches as far back as a filter can."""
    # A day more than ours: another clock than ours says which day an attempt is of.
    tomorrow = datetime.now(UTC).date() + timedelta(days=1)
    until = _day(message.until_day, "filter.until_day") or tomorrow
    earliest = date.fromordinal(max(1, until.toordinal() - MAX_DAYS))
    since = _day(message.since_day, "filter.since_day") or earliest
    if since > until:
        raise InvalidArgument(f"{since} is after {until}", field="filter.since_day")
    if since < earliest:
        raise InvalidArgument(f"more than {MAX_DAYS:,} days before {until}", field="filter.since_day")
    return Filter(
        since=since,
        until=until,
        tenant=message.tenant or None,
        member=message.member or None,
        model=message.model.removeprefix("models/") or None,
    )


def groups_from_proto(groups: Sequence[int]) -> list[Group]:
    """Raises InvalidArgument naming the field."""
    for position, group in enumerate(groups):
        if group not in _GROUPS or group in groups[:position]:
            raise InvalidArgument("not a UsageGroup, or named twice", field=f"group_by[{position}]")
    return [_GROUPS[group] for group in groups]


def row_to_proto(of: Mapping[Group, str], rows: Iterable[UsageRow]) -> usage_pb2.UsageRow:
    """The sum of `rows`, each of one outcome."""
    message = usage_pb2.UsageRow(
        tenant=of.get(Group.TENANT, ""),
        model=_model(of.get(Group.MODEL, "")),
        member=of.get(Group.MEMBER, ""),
        day=of.get(Group.DAY, ""),
    )
    for row in rows:
        message.attempts += row.sums.attempts
        message.estimated_attempts += row.sums.not_final
        if row.of[Group.OUTCOME] != Outcome.OK:
            message.failed_attempts += row.sums.attempts
        _add(message.usage, _usage(row.sums))
    return message


def entry_to_proto(entry: Entry) -> usage_pb2.LedgerEntry:
    return usage_pb2.LedgerEntry(
        name=entry.name,
        time=_timestamp(entry.at),
        kind=_KINDS[entry.kind],
        attempt_id=entry.attempt_id,
        request_id=entry.request_id,
        tenant=entry.tenant,
        member=entry.member,
        model_asked=_model(entry.model),
        model_answered=_model(entry.answered_by),
        outcome=_OUTCOMES[entry.outcome],
        batch=entry.batch,
        usage=_usage(entry.sums),
        estimated_input_tokens=entry.estimated_input_tokens,
    )


def budget_to_proto(budget: BudgetState) -> usage_pb2.Budget:
    return usage_pb2.Budget(
        tenant=budget.tenant,
        period=_PERIODS[budget.period],
        hard=budget.hard,
        limit_nanousd=budget.limit_nanousd,
        spent_nanousd=budget.spent_nanousd,
        held_nanousd=budget.held_nanousd,
        resets_at=_timestamp(budget.resets_at),
    )


def _usage(sums: Sums) -> usage_pb2.Usage:
    tokens: TokenUsage = sums.usage
    return usage_pb2.Usage(
        input_tokens=tokens.input_tokens,
        output_tokens=tokens.output_tokens,
        media_input_tokens=tokens.media_tokens,
        cached_input_tokens=tokens.cached_tokens,
        reasoning_output_tokens=tokens.thinking,
        cost_nanousd=sums.cost_nanousd,
    )


def _add(total: usage_pb2.Usage, usage: usage_pb2.Usage) -> None:
    for field in usage_pb2.Usage.DESCRIPTOR.fields:
        setattr(total, field.name, getattr(total, field.name) + getattr(usage, field.name))


def _day(text: str, field: str) -> date | None:
    if not text:
        return None
    try:
        if _DAY.fullmatch(text):
            return date.fromisoformat(text)
    except ValueError:
        pass
    raise InvalidArgument("a day is written `YYYY-MM-DD`", field=field, reason=errors_pb2.ERROR_REASON_FIELD_INVALID)


def _model(name: str) -> str:
    return f"models/{name}" if name else ""


def _timestamp(at: datetime) -> Timestamp:
    timestamp = Timestamp()
    timestamp.FromDatetime(at)
    return timestamp
