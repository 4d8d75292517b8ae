"""How an attempt at the provider can fail, and what the caller is told of it."""

import re
from dataclasses import dataclass
from enum import Enum

from chiasm.v1 import errors_pb2
from services.gemini_proxy.accounts.books import Dimension
from services.runtime.errors import (
    Aborted,
    ChiasmError,
    DeadlineExceeded,
    FailedPrecondition,
    InvalidArgument,
    QuotaExhausted,
    Unavailable,
    Violation,
)


class Kind(Enum):
    """What went wrong. The value says whether another attempt could fare better."""

    QUOTA = "quota", True
    """429: a limit of the provider's."""
    DENIED = "denied", False
    """401, 403, a key that is no key, or a region or an account that is not served."""
    REFUSED = "refused", False
    """400, 404, 413: the request itself."""
    BROKEN = "broken", True
    """500, 503, whatever else of 5xx, and the 4xx that are not the caller's fault."""
    UNREACHABLE = "unreachable", True
    """No connection: the request was never sent."""
    TIMEOUT = "timeout", True
    """No answer in time."""
    CUT = "cut", True
    """The connection ended amid the answer, or the answer without its end."""
    MALFORMED = "malformed", True
    """What came is not what the provider's own reference says."""
    UNFIT = "unfit", True
    """The answer is whole and not of the form asked for."""
    STOPPED = "stopped", False
    """This server cut it."""

    def __init__(self, label: str, may_retry: bool) -> None:
        self.label = label
        self.may_retry = may_retry


@dataclass(frozen=True)
class Quota:
    """What a 429 says of the limit."""

    quota_id: str
    """The provider's name for it; may be empty."""
    dimension: Dimension
    limit: int | None
    retry_after_s: float | None
    """None where it will not recover within any deadline."""


class AttemptFailed(Exception):
    """An attempt came to nothing, or to a part of an answer.

    Args:
        kind: what went wrong.
        message: for people; holds no key and no address.
        quota: of a QUOTA failure.
        field: where in the request the fault lies.
    """

    def __init__(self, kind: Kind, message: str, *, quota: Quota | None = None, field: str = "messages") -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.quota = quota
        self.field = field

    @property
    def reached_provider(self) -> bool:
        return self.kind is not Kind.UNREACHABLE

    @property
    def bill_is_known(self) -> bool:
        """Whether nothing is billed: requests that fail with 4xx or 5xx are not charged, nor those never sent.

        https://ai.google.dev/gemini-api/docs/billing
        """
        return self.kind not in (Kind.TIMEOUT, Kind.CUT, Kind.MALFORMED, Kind.STOPPED)

    @property
    def goes_on_unheard(self) -> bool:
        """Whether the provider may write on, and bill, after we have heard the last of it."""
        return self.kind in (Kind.TIMEOUT, Kind.MALFORMED, Kind.STOPPED)


class ProviderFailed(Unavailable):
    """The provider failed every attempt allowed. A caller that tried again at once would multiply the attempts."""

    default_reason = errors_pb2.ERROR_REASON_PROVIDER_FAILED
    default_retry_after_s = None


def to_error(failure: AttemptFailed, *, model: str, delivered: bool) -> ChiasmError:
    """What the caller is told, after the last attempt. `delivered`: a part of an answer has reached it."""
    if delivered:
        return Aborted(f"the answer of {model!r} broke off: {failure.message}")
    match failure.kind:
        case Kind.QUOTA if failure.quota is not None:
            quota = failure.quota
            return QuotaExhausted(
                f"the provider's limit {quota.quota_id or quota.dimension.value} is used up for {model!r}",
                violation=Violation(f"models/{model}", quota.quota_id or quota.dimension.value, quota.limit or 0),
                retry_after_s=quota.retry_after_s,
            )
        case Kind.DENIED:
            return FailedPrecondition(
                f"the provider denies {model!r} to this server's key: {failure.message}",
                reason=errors_pb2.ERROR_REASON_PROVIDER_DENIED,
            )
        case Kind.REFUSED:
            return InvalidArgument(
                f"the provider refuses the request: {failure.message}",
                field=failure.field,
                reason=errors_pb2.ERROR_REASON_PROVIDER_REFUSED,
            )
        case Kind.TIMEOUT:
            return DeadlineExceeded(f"{model!r} gave no answer in time")
        case Kind.MALFORMED:
            return Aborted(f"the answer of {model!r} cannot be read: {failure.message}")
        case Kind.UNFIT:
            return Aborted(
                f"the answer of {model!r} is not of the form asked for: {failure.message}",
                reason=errors_pb2.ERROR_REASON_ANSWER_MALFORMED,
            )
    return ProviderFailed(f"{model!r} cannot be had: {failure.message}")


_SECONDS = re.compile(r"([0-9]{1,6}(?:\.[0-9]{1,9})?)s")
# The first that matches holds, and of several violations the one that stands first here: it recovers last.
_DIMENSIONS = (
    (re.compile(r"PerDay", re.IGNORECASE), Dimension.REQUESTS_PER_DAY),
    (re.compile(r"Spend|Cost|Billing", re.IGNORECASE), Dimension.SPEND_PER_10_MINUTES),
    (re.compile(r"Token.*PerMinute", re.IGNORECASE), Dimension.INPUT_TOKENS_PER_MINUTE),
    (re.compile(r"Concurrent", re.IGNORECASE), Dimension.CONCURRENCY),
    (re.compile(r""), Dimension.REQUESTS_PER_MINUTE),
)


def read_quota(body: object) -> Quota:
    """What a 429's body says (https://ai.google.dev/gemini-api/docs/rate-limits); sensible where it says nothing.

    A limit per day recovers within no deadline.
    """
    retry_after_s, violations = 1.0, []
    for detail in _details(body):
        kind = str(detail.get("@type", ""))
        if kind.endswith("RetryInfo") and (match := _SECONDS.fullmatch(str(detail.get("retryDelay", "")))):
            retry_after_s = float(match[1])
        if kind.endswith("QuotaFailure"):
            violations += [_violation(v) for v in _list(detail.get("violations")) if isinstance(v, dict)]
    rank, quota_id, limit = min(violations or [_violation({})], key=lambda violation: violation[0])
    dimension = _DIMENSIONS[rank][1]
    return Quota(quota_id, dimension, limit, None if dimension is Dimension.REQUESTS_PER_DAY else retry_after_s)


def _violation(said: dict) -> tuple[int, str, int | None]:
    """Its place in `_DIMENSIONS`, the quota's name and the limit."""
    quota_id, value = str(said.get("quotaId", ""))[:128], str(said.get("quotaValue", ""))
    rank = next(place for place, (pattern, _) in enumerate(_DIMENSIONS) if pattern.search(quota_id))
    return rank, quota_id, int(value) if value.isdecimal() and len(value) < 16 else None


def _details(body: object) -> list[dict]:
    error = body.get("error", body) if isinstance(body, dict) else {}
    return [d for d in _list(error.get("details") if isinstance(error, dict) else None) if isinstance(d, dict)]


def _list(value: object) -> list:
    return value if isinstance(value, list) else []
