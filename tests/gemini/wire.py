"""Bodies as they travel: names in two spellings, answers, and errors as the API writes them."""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from typing import Any

from aiohttp import web

TYPE = "type.googleapis.com/google.rpc."
STATUS = {
    400: ("INVALID_ARGUMENT", "Request contains an invalid argument."),
    403: ("PERMISSION_DENIED", "Permission denied: Consumer 'api_key:{key}' has been suspended."),
    404: ("NOT_FOUND", "Requested entity was not found."),
    409: ("ALREADY_EXISTS", "Requested entity already exists"),
    429: ("RESOURCE_EXHAUSTED", "Resource has been exhausted (e.g. check quota)."),
    500: ("INTERNAL", "An internal error has occurred. Please retry or report in https://ai.google.dev/support"),
    503: ("UNAVAILABLE", "The model is overloaded. Please try again later."),
    504: ("DEADLINE_EXCEEDED", "Deadline expired before operation could complete."),
}


class ApiError(Exception):
    """An answer that is no answer. Nothing of it is billed."""

    def __init__(self, code: int, message: str = "", details: Sequence[Mapping[str, Any]] = ()) -> None:
        self.code = code
        self.status, default = STATUS[code]
        self.message = message or default
        self.details = details
        super().__init__(self.message)

    def body(self, key: str = "") -> dict[str, Any]:
        """As told to whoever called with `key`."""
        message = self.message.replace("{key}", key)
        error: dict[str, Any] = {"code": self.code, "message": message, "status": self.status}
        if self.details:
            error["details"] = list(self.details)
        return {"error": error}


def key_of(request: web.Request) -> str:
    """The key it came with; empty for none."""
    return request.headers.get("x-goog-api-key", "")


@cache
def _snake(name: str) -> str:
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name)


def get(body: Mapping[str, Any], name: str, default: Any = None) -> Any:
    """The field `name` (camelCase). google-genai sends some in snake_case, and protobuf's JSON takes either."""
    value = body.get(name)
    return body.get(_snake(name), default) if value is None else value


def spellings(*names: str) -> frozenset[str]:
    """Both spellings of the fields `names` (camelCase), for `known`."""
    return frozenset(names) | {_snake(name) for name in names}


def known(body: Mapping[str, Any], names: frozenset[str]) -> None:
    """Raises ApiError where `body` has a field that is none of `names`, as the API does."""
    for name in body.keys() - names:
        raise ApiError(400, f'Invalid JSON payload received. Unknown name "{name}": Cannot find field.')


async def read_json(request: web.Request) -> dict[str, Any]:
    try:
        body = json.loads(await request.read())
    except ValueError as error:
        raise ApiError(400, f"Invalid JSON payload received. {error}") from None
    if not isinstance(body, dict):
        raise ApiError(400, "Invalid JSON payload received.")
    return body


def json_answer(body: Mapping[str, Any], status: int = 200) -> web.Response:
    return web.Response(
        body=json.dumps(body).encode(), status=status, headers={"Content-Type": "application/json; charset=UTF-8"}
    )


def page_of(items: Sequence[Mapping[str, Any]], field: str, request: web.Request) -> dict[str, Any]:
    """One page of a list by `pageSize` and `pageToken`, under the name `field`."""
    start = int(request.query.get("pageToken", 0))
    end = start + int(request.query.get("pageSize", 50))
    return {field: items[start:end]} | ({"nextPageToken": str(end)} if end < len(items) else {})


def timestamp(micros: int) -> str:
    """RFC 3339 of microseconds since 1970."""
    seconds, rest = divmod(micros, 1_000_000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest:06d}Z"


def candidate(text: str | None, finish: str | None, *, thought: str | None = None) -> dict[str, Any]:
    """One candidate; `text` None has no content, `finish` None is not the end."""
    parts = [{"text": thought, "thought": True}] if thought else []
    if text is not None:
        parts.append({"text": text})
    body: dict[str, Any] = {"index": 0}
    if parts:
        body["content"] = {"role": "model", "parts": parts}
    if finish:
        body["finishReason"] = finish
    return body


def quota_error(violations: Sequence[tuple[str, str, str, int]], retry_delay_s: float) -> ApiError:
    """A 429. `violations`: quota metric, quota id, model, limit (https://ai.google.dev/gemini-api/docs/rate-limits)."""
    delay = f"{retry_delay_s:.3f}".rstrip("0").rstrip(".") + "s"
    failure = {
        "@type": f"{TYPE}QuotaFailure",
        "violations": [
            {
                "quotaMetric": metric,
                "quotaId": quota_id,
                "quotaDimensions": {"location": "global"} | ({"model": model} if model else {}),
                "quotaValue": str(limit),
            }
            for metric, quota_id, model, limit in violations
        ],
    }
    links = [
        {
            "description": "Learn more about Gemini API quotas",
            "url": "https://ai.google.dev/gemini-api/docs/rate-limits",
        }
    ]
    message = (
        "You exceeded your current quota, please check your plan and billing details. For more information on this"
        " error, head to: https://ai.google.dev/gemini-api/docs/rate-limits.\n"
        + "\n".join(f"* Quota exceeded for metric: {metric}, limit: {limit}" for metric, _, _, limit in violations)
        + f"\nPlease retry in {delay}."
    )
    help_ = {"@type": f"{TYPE}Help", "links": links}
    return ApiError(429, message, [failure, help_, {"@type": f"{TYPE}RetryInfo", "retryDelay": delay}])
