import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.gemini_proxy.accounts.books import Dimension
from services.gemini_proxy.failures import AttemptFailed, Kind, Quota, read_quota, to_error
from services.runtime.errors import to_status
from tests.gemini_proxy.statuses import details

PER_MINUTE = {
    "quotaMetric": "generativelanguage.googleapis.com/generate_requests_per_model",
    "quotaId": "GenerateRequestsPerMinutePerProjectPerModel",
    "quotaDimensions": {"location": "global", "model": "gemini-3.8-flash"},
    "quotaValue": "60",
}
TOKENS = PER_MINUTE | {"quotaId": "GenerateContentPaidTierInputTokensPerModelPerMinute", "quotaValue": "1000000"}
PER_DAY = PER_MINUTE | {"quotaId": "GenerateRequestsPerDayPerProjectPerModel-FreeTier", "quotaValue": "250"}
TOKENS_PER_DAY = PER_MINUTE | {"quotaId": "GenerateContentInputTokensPerModelPerDay-FreeTier", "quotaValue": "0"}
SPEND = PER_MINUTE | {"quotaId": "SpendPerProjectPerTenMinutes", "quotaValue": "50"}
CONCURRENT = PER_MINUTE | {"quotaId": "ConcurrentRequestsPerProject", "quotaValue": "8"}

QUOTA = Quota("GenerateRequestsPerMinutePerProjectPerModel", Dimension.REQUESTS_PER_MINUTE, 60, 22.0)


def body(*violations: object, delay: object = "22s") -> dict:
    return {
        "error": {
            "code": 429,
            "status": "RESOURCE_EXHAUSTED",
            "message": "You exceeded your current quota.",
            "details": [
                {"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": list(violations)},
                {"@type": "type.googleapis.com/google.rpc.Help", "links": [{"url": "https://ai.google.dev"}]},
                {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": delay},
            ],
        }
    }


@pytest.mark.parametrize(
    ("violation", "dimension", "limit", "retry_after_s"),
    [
        (PER_MINUTE, Dimension.REQUESTS_PER_MINUTE, 60, 22.0),
        (TOKENS, Dimension.INPUT_TOKENS_PER_MINUTE, 1_000_000, 22.0),
        (PER_DAY, Dimension.REQUESTS_PER_DAY, 250, None),
        (TOKENS_PER_DAY, Dimension.REQUESTS_PER_DAY, 0, None),
        (SPEND, Dimension.SPEND_PER_10_MINUTES, 50, 22.0),
        (CONCURRENT, Dimension.CONCURRENCY, 8, 22.0),
    ],
)
def test_the_429_names_its_limit(violation: dict, dimension: Dimension, limit: int, retry_after_s: float) -> None:
    quota = Quota(violation["quotaId"], dimension, limit, retry_after_s)
    assert read_quota(body(violation)) == quota
    assert read_quota(body(violation)["error"]) == quota


@pytest.mark.parametrize("violations", [(PER_MINUTE, TOKENS, PER_DAY), (PER_DAY, PER_MINUTE)])
def test_of_several_limits_that_of_the_day_counts(violations: tuple[dict, ...]) -> None:
    quota = read_quota(body(*violations))
    assert (quota.quota_id, quota.retry_after_s) == (PER_DAY["quotaId"], None)


@pytest.mark.parametrize(
    ("delay", "seconds"), [("0s", 0.0), ("34.074824224s", 34.074824224), ("soon", 1.0), (22, 1.0), ("-5s", 1.0)]
)
def test_the_delay_is_a_duration_or_a_second(delay: object, seconds: float) -> None:
    assert read_quota(body(PER_MINUTE, delay=delay)).retry_after_s == seconds


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
violations = st.fixed_dictionaries(
    {}, optional={"quotaId": json_values | st.sampled_from(["PerDay", "TokenPerMinute"]), "quotaValue": json_values}
)
kinds = st.sampled_from(["x/google.rpc.QuotaFailure", "x/google.rpc.RetryInfo"])
quota_details = st.fixed_dictionaries(
    {"@type": kinds | json_values},
    optional={"violations": st.lists(violations | json_values, max_size=3) | json_values, "retryDelay": json_values},
)
bodies = json_values | st.fixed_dictionaries(
    {"error": st.fixed_dictionaries({"details": st.lists(quota_details | json_values, max_size=4) | json_values})}
)


@given(bodies)
def test_whatever_the_429_says_something_sensible_is_read(said: object) -> None:
    quota = read_quota(said)
    assert quota.retry_after_s is None or 0 <= quota.retry_after_s < 1_000_000
    assert (quota.retry_after_s is None) == (quota.dimension is Dimension.REQUESTS_PER_DAY)
    assert quota.limit is None or 0 <= quota.limit < 10**15
    failure = AttemptFailed(Kind.QUOTA, "used up", quota=quota)
    to_status(to_error(failure, model="gemini-3.8-flash", delivered=False)).SerializeToString()


@pytest.mark.parametrize(
    ("kind", "code", "reason"),
    [
        (Kind.QUOTA, "RESOURCE_EXHAUSTED", "QUOTA_EXHAUSTED"),
        (Kind.DENIED, "FAILED_PRECONDITION", "PROVIDER_DENIED"),
        (Kind.REFUSED, "INVALID_ARGUMENT", "PROVIDER_REFUSED"),
        (Kind.BROKEN, "UNAVAILABLE", "PROVIDER_FAILED"),
        (Kind.UNREACHABLE, "UNAVAILABLE", "PROVIDER_FAILED"),
        (Kind.TIMEOUT, "DEADLINE_EXCEEDED", "DEADLINE"),
        (Kind.CUT, "UNAVAILABLE", "PROVIDER_FAILED"),
        (Kind.MALFORMED, "ABORTED", "ANSWER_BROKEN_OFF"),
        (Kind.UNFIT, "ABORTED", "ANSWER_MALFORMED"),
        (Kind.STOPPED, "UNAVAILABLE", "PROVIDER_FAILED"),
    ],
)
def test_each_kind_has_its_status(kind: Kind, code: str, reason: str) -> None:
    quota = QUOTA if kind is Kind.QUOTA else None
    error = to_error(AttemptFailed(kind, "what happened", quota=quota), model="gemini-3.8-flash", delivered=False)
    assert error.code.name == code
    found = details(error)
    assert (found["ErrorInfo"].domain, found["ErrorInfo"].reason) == ("chiasm", reason)
    assert ("RetryInfo" in found) == ("QuotaFailure" in found) == (kind is Kind.QUOTA)
    assert ("BadRequest" in found) == (kind is Kind.REFUSED)


def test_every_kind_is_tried_above() -> None:
    (mark,) = [m for m in test_each_kind_has_its_status.pytestmark if m.name == "parametrize"]
    assert {kind for kind, *_ in mark.args[1]} == set(Kind)


@pytest.mark.parametrize("kind", Kind)
def test_once_a_part_is_delivered_the_answer_broke_off(kind: Kind) -> None:
    error = to_error(AttemptFailed(kind, "what happened", quota=QUOTA), model="gemini-3.8-flash", delivered=True)
    assert error.code.name == "ABORTED"
    assert details(error)["ErrorInfo"].reason == "ANSWER_BROKEN_OFF"


def test_the_limit_is_named_on_the_wire() -> None:
    error = to_error(AttemptFailed(Kind.QUOTA, "", quota=QUOTA), model="gemini-3.8-flash", delivered=False)
    found = details(error)
    (violation,) = found["QuotaFailure"].violations
    assert (violation.subject, violation.quota_id, violation.quota_value) == (
        "models/gemini-3.8-flash",
        "GenerateRequestsPerMinutePerProjectPerModel",
        60,
    )
    assert violation.description
    assert found["RetryInfo"].retry_delay.seconds == 22


def test_a_limit_of_the_day_is_given_no_time_to_come_again() -> None:
    failure = AttemptFailed(Kind.QUOTA, "", quota=read_quota(body(PER_DAY)))
    assert "RetryInfo" not in details(to_error(failure, model="gemini-3.8-flash", delivered=False))
