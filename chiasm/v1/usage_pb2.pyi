import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class UsageGroup(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    USAGE_GROUP_UNSPECIFIED: _ClassVar[UsageGroup]
    USAGE_GROUP_TENANT: _ClassVar[UsageGroup]
    USAGE_GROUP_MODEL: _ClassVar[UsageGroup]
    USAGE_GROUP_MEMBER: _ClassVar[UsageGroup]
    USAGE_GROUP_DAY: _ClassVar[UsageGroup]

class AttemptOutcome(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ATTEMPT_OUTCOME_UNSPECIFIED: _ClassVar[AttemptOutcome]
    ATTEMPT_OUTCOME_OK: _ClassVar[AttemptOutcome]
    ATTEMPT_OUTCOME_CANCELLED: _ClassVar[AttemptOutcome]
    ATTEMPT_OUTCOME_FAILED: _ClassVar[AttemptOutcome]
    ATTEMPT_OUTCOME_SUPERSEDED: _ClassVar[AttemptOutcome]
    ATTEMPT_OUTCOME_LOST: _ClassVar[AttemptOutcome]

class LedgerEntryKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    LEDGER_ENTRY_KIND_UNSPECIFIED: _ClassVar[LedgerEntryKind]
    LEDGER_ENTRY_KIND_SETTLED: _ClassVar[LedgerEntryKind]
    LEDGER_ENTRY_KIND_ESTIMATED: _ClassVar[LedgerEntryKind]
    LEDGER_ENTRY_KIND_CORRECTION: _ClassVar[LedgerEntryKind]

class BudgetPeriod(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    BUDGET_PERIOD_UNSPECIFIED: _ClassVar[BudgetPeriod]
    BUDGET_PERIOD_DAY: _ClassVar[BudgetPeriod]
    BUDGET_PERIOD_MONTH: _ClassVar[BudgetPeriod]
USAGE_GROUP_UNSPECIFIED: UsageGroup
USAGE_GROUP_TENANT: UsageGroup
USAGE_GROUP_MODEL: UsageGroup
USAGE_GROUP_MEMBER: UsageGroup
USAGE_GROUP_DAY: UsageGroup
ATTEMPT_OUTCOME_UNSPECIFIED: AttemptOutcome
ATTEMPT_OUTCOME_OK: AttemptOutcome
ATTEMPT_OUTCOME_CANCELLED: AttemptOutcome
ATTEMPT_OUTCOME_FAILED: AttemptOutcome
ATTEMPT_OUTCOME_SUPERSEDED: AttemptOutcome
ATTEMPT_OUTCOME_LOST: AttemptOutcome
LEDGER_ENTRY_KIND_UNSPECIFIED: LedgerEntryKind
LEDGER_ENTRY_KIND_SETTLED: LedgerEntryKind
LEDGER_ENTRY_KIND_ESTIMATED: LedgerEntryKind
LEDGER_ENTRY_KIND_CORRECTION: LedgerEntryKind
BUDGET_PERIOD_UNSPECIFIED: BudgetPeriod
BUDGET_PERIOD_DAY: BudgetPeriod
BUDGET_PERIOD_MONTH: BudgetPeriod

class Usage(_message.Message):
    __slots__ = ("input_tokens", "output_tokens", "media_input_tokens", "cached_input_tokens", "reasoning_output_tokens", "cost_nanousd")
    INPUT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    MEDIA_INPUT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    CACHED_INPUT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    REASONING_OUTPUT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    COST_NANOUSD_FIELD_NUMBER: _ClassVar[int]
    input_tokens: int
    output_tokens: int
    media_input_tokens: int
    cached_input_tokens: int
    reasoning_output_tokens: int
    cost_nanousd: int
    def __init__(self, input_tokens: _Optional[int] = ..., output_tokens: _Optional[int] = ..., media_input_tokens: _Optional[int] = ..., cached_input_tokens: _Optional[int] = ..., reasoning_output_tokens: _Optional[int] = ..., cost_nanousd: _Optional[int] = ...) -> None: ...

class Price(_message.Message):
    __slots__ = ("input_nanousd_per_million_tokens", "output_nanousd_per_million_tokens")
    INPUT_NANOUSD_PER_MILLION_TOKENS_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_NANOUSD_PER_MILLION_TOKENS_FIELD_NUMBER: _ClassVar[int]
    input_nanousd_per_million_tokens: int
    output_nanousd_per_million_tokens: int
    def __init__(self, input_nanousd_per_million_tokens: _Optional[int] = ..., output_nanousd_per_million_tokens: _Optional[int] = ...) -> None: ...

class UsageFilter(_message.Message):
    __slots__ = ("since_day", "until_day", "tenant", "model", "member")
    SINCE_DAY_FIELD_NUMBER: _ClassVar[int]
    UNTIL_DAY_FIELD_NUMBER: _ClassVar[int]
    TENANT_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    MEMBER_FIELD_NUMBER: _ClassVar[int]
    since_day: str
    until_day: str
    tenant: str
    model: str
    member: str
    def __init__(self, since_day: _Optional[str] = ..., until_day: _Optional[str] = ..., tenant: _Optional[str] = ..., model: _Optional[str] = ..., member: _Optional[str] = ...) -> None: ...

class QueryUsageRequest(_message.Message):
    __slots__ = ("filter", "group_by")
    FILTER_FIELD_NUMBER: _ClassVar[int]
    GROUP_BY_FIELD_NUMBER: _ClassVar[int]
    filter: UsageFilter
    group_by: _containers.RepeatedScalarFieldContainer[UsageGroup]
    def __init__(self, filter: _Optional[_Union[UsageFilter, _Mapping]] = ..., group_by: _Optional[_Iterable[_Union[UsageGroup, str]]] = ...) -> None: ...

class UsageRow(_message.Message):
    __slots__ = ("tenant", "model", "member", "day", "attempts", "failed_attempts", "estimated_attempts", "usage")
    TENANT_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    MEMBER_FIELD_NUMBER: _ClassVar[int]
    DAY_FIELD_NUMBER: _ClassVar[int]
    ATTEMPTS_FIELD_NUMBER: _ClassVar[int]
    FAILED_ATTEMPTS_FIELD_NUMBER: _ClassVar[int]
    ESTIMATED_ATTEMPTS_FIELD_NUMBER: _ClassVar[int]
    USAGE_FIELD_NUMBER: _ClassVar[int]
    tenant: str
    model: str
    member: str
    day: str
    attempts: int
    failed_attempts: int
    estimated_attempts: int
    usage: Usage
    def __init__(self, tenant: _Optional[str] = ..., model: _Optional[str] = ..., member: _Optional[str] = ..., day: _Optional[str] = ..., attempts: _Optional[int] = ..., failed_attempts: _Optional[int] = ..., estimated_attempts: _Optional[int] = ..., usage: _Optional[_Union[Usage, _Mapping]] = ...) -> None: ...

class QueryUsageResponse(_message.Message):
    __slots__ = ("rows", "total")
    ROWS_FIELD_NUMBER: _ClassVar[int]
    TOTAL_FIELD_NUMBER: _ClassVar[int]
    rows: _containers.RepeatedCompositeFieldContainer[UsageRow]
    total: UsageRow
    def __init__(self, rows: _Optional[_Iterable[_Union[UsageRow, _Mapping]]] = ..., total: _Optional[_Union[UsageRow, _Mapping]] = ...) -> None: ...

class LedgerEntry(_message.Message):
    __slots__ = ("name", "time", "kind", "attempt_id", "request_id", "tenant", "member", "model_asked", "model_answered", "outcome", "batch", "usage", "estimated_input_tokens")
    NAME_FIELD_NUMBER: _ClassVar[int]
    TIME_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_ID_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    TENANT_FIELD_NUMBER: _ClassVar[int]
    MEMBER_FIELD_NUMBER: _ClassVar[int]
    MODEL_ASKED_FIELD_NUMBER: _ClassVar[int]
    MODEL_ANSWERED_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    BATCH_FIELD_NUMBER: _ClassVar[int]
    USAGE_FIELD_NUMBER: _ClassVar[int]
    ESTIMATED_INPUT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    name: str
    time: _timestamp_pb2.Timestamp
    kind: LedgerEntryKind
    attempt_id: str
    request_id: str
    tenant: str
    member: str
    model_asked: str
    model_answered: str
    outcome: AttemptOutcome
    batch: bool
    usage: Usage
    estimated_input_tokens: int
    def __init__(self, name: _Optional[str] = ..., time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., kind: _Optional[_Union[LedgerEntryKind, str]] = ..., attempt_id: _Optional[str] = ..., request_id: _Optional[str] = ..., tenant: _Optional[str] = ..., member: _Optional[str] = ..., model_asked: _Optional[str] = ..., model_answered: _Optional[str] = ..., outcome: _Optional[_Union[AttemptOutcome, str]] = ..., batch: _Optional[bool] = ..., usage: _Optional[_Union[Usage, _Mapping]] = ..., estimated_input_tokens: _Optional[int] = ...) -> None: ...

class ListLedgerEntriesRequest(_message.Message):
    __slots__ = ("filter", "page_size", "page_token")
    FILTER_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    filter: UsageFilter
    page_size: int
    page_token: str
    def __init__(self, filter: _Optional[_Union[UsageFilter, _Mapping]] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListLedgerEntriesResponse(_message.Message):
    __slots__ = ("entries", "next_page_token")
    ENTRIES_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    entries: _containers.RepeatedCompositeFieldContainer[LedgerEntry]
    next_page_token: str
    def __init__(self, entries: _Optional[_Iterable[_Union[LedgerEntry, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class ExportLedgerRequest(_message.Message):
    __slots__ = ("filter",)
    FILTER_FIELD_NUMBER: _ClassVar[int]
    filter: UsageFilter
    def __init__(self, filter: _Optional[_Union[UsageFilter, _Mapping]] = ...) -> None: ...

class ExportLedgerResponse(_message.Message):
    __slots__ = ("data",)
    DATA_FIELD_NUMBER: _ClassVar[int]
    data: bytes
    def __init__(self, data: _Optional[bytes] = ...) -> None: ...

class Budget(_message.Message):
    __slots__ = ("tenant", "period", "hard", "limit_nanousd", "spent_nanousd", "held_nanousd", "resets_at")
    TENANT_FIELD_NUMBER: _ClassVar[int]
    PERIOD_FIELD_NUMBER: _ClassVar[int]
    HARD_FIELD_NUMBER: _ClassVar[int]
    LIMIT_NANOUSD_FIELD_NUMBER: _ClassVar[int]
    SPENT_NANOUSD_FIELD_NUMBER: _ClassVar[int]
    HELD_NANOUSD_FIELD_NUMBER: _ClassVar[int]
    RESETS_AT_FIELD_NUMBER: _ClassVar[int]
    tenant: str
    period: BudgetPeriod
    hard: bool
    limit_nanousd: int
    spent_nanousd: int
    held_nanousd: int
    resets_at: _timestamp_pb2.Timestamp
    def __init__(self, tenant: _Optional[str] = ..., period: _Optional[_Union[BudgetPeriod, str]] = ..., hard: _Optional[bool] = ..., limit_nanousd: _Optional[int] = ..., spent_nanousd: _Optional[int] = ..., held_nanousd: _Optional[int] = ..., resets_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class ListBudgetsRequest(_message.Message):
    __slots__ = ("tenant",)
    TENANT_FIELD_NUMBER: _ClassVar[int]
    tenant: str
    def __init__(self, tenant: _Optional[str] = ...) -> None: ...

class ListBudgetsResponse(_message.Message):
    __slots__ = ("budgets",)
    BUDGETS_FIELD_NUMBER: _ClassVar[int]
    budgets: _containers.RepeatedCompositeFieldContainer[Budget]
    def __init__(self, budgets: _Optional[_Iterable[_Union[Budget, _Mapping]]] = ...) -> None: ...

class ReconcileUsageRequest(_message.Message):
    __slots__ = ("data", "whole_since", "whole_until")
    DATA_FIELD_NUMBER: _ClassVar[int]
    WHOLE_SINCE_FIELD_NUMBER: _ClassVar[int]
    WHOLE_UNTIL_FIELD_NUMBER: _ClassVar[int]
    data: bytes
    whole_since: _timestamp_pb2.Timestamp
    whole_until: _timestamp_pb2.Timestamp
    def __init__(self, data: _Optional[bytes] = ..., whole_since: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., whole_until: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class ReconcileUsageResponse(_message.Message):
    __slots__ = ("rows", "corrected", "skipped", "difference_nanousd")
    ROWS_FIELD_NUMBER: _ClassVar[int]
    CORRECTED_FIELD_NUMBER: _ClassVar[int]
    SKIPPED_FIELD_NUMBER: _ClassVar[int]
    DIFFERENCE_NANOUSD_FIELD_NUMBER: _ClassVar[int]
    rows: int
    corrected: int
    skipped: int
    difference_nanousd: int
    def __init__(self, rows: _Optional[int] = ..., corrected: _Optional[int] = ..., skipped: _Optional[int] = ..., difference_nanousd: _Optional[int] = ...) -> None: ...
