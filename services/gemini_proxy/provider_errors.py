"""What an exception of google-genai's, or of its transport's, means for an attempt."""

import re

import aiohttp
import pydantic
from google.auth import exceptions as auth
from google.genai import errors

from services.gemini_proxy.failures import AttemptFailed, Kind, read_quota

# A 400 whose reason says that the key is no key. https://ai.google.dev/gemini-api/docs/troubleshooting
_BAD_KEY = "API_KEY_INVALID"
_KEY = re.compile(r"api_key:[^\s'\"]+|AIza[\w-]{20,}")
# Not the caller's fault, though they are 4xx: the provider took too long, or gave up.
_TOO_SLOW = (408, 499)


def to_failure(error: Exception) -> AttemptFailed:
    """Raises the exception itself where it means nothing here."""
    match error:
        case AttemptFailed():
            return error
        case errors.APIError():
            return _api_failure(error)
        # Before TimeoutError, which the third is too: nothing was sent.
        case aiohttp.ClientConnectorError() | aiohttp.ClientHttpProxyError() | aiohttp.ConnectionTimeoutError():
            return AttemptFailed(Kind.UNREACHABLE, "the provider cannot be reached")
        case TimeoutError():
            return AttemptFailed(Kind.TIMEOUT, "no answer in time")
        case aiohttp.ClientPayloadError() | aiohttp.ServerDisconnectedError() | aiohttp.ClientOSError():
            return AttemptFailed(Kind.CUT, "the connection ended")
        case aiohttp.ClientError():
            return AttemptFailed(Kind.MALFORMED, "not HTTP as it should be")
        case auth.GoogleAuthError():
            return _auth_failure(error)
        case errors.UnknownApiResponseError() | pydantic.ValidationError() | ValueError() | KeyError():
            return AttemptFailed(Kind.MALFORMED, "not an answer as the provider's reference has it")
    raise error


def without_key(text: str, key: str = "") -> str:
    """The provider's words for people, cut and fit for a proto; it names the key of a project that it has suspended."""
    if key:
        text = text.replace(key, "(key)")
    return _KEY.sub("(key)", text)[:200].encode(errors="replace").decode()


def _api_failure(error: errors.APIError) -> AttemptFailed:
    request = getattr(error.response, "request_info", None)
    key = request.headers.get("x-goog-api-key", "") if request else ""
    message = without_key(str(error.message or error.status or "no reason given"), key)
    if error.code == 429:
        return AttemptFailed(Kind.QUOTA, message, quota=read_quota(error.details))
    # A region that is not served, or an account without billing, are 400 FAILED_PRECONDITION.
    if error.code in (401, 403) or error.status == "FAILED_PRECONDITION" or _BAD_KEY in str(error.details):
        return AttemptFailed(Kind.DENIED, message)
    if error.code is not None and 400 <= error.code < 500 and error.code not in _TOO_SLOW:
        return AttemptFailed(Kind.REFUSED, message)
    return AttemptFailed(Kind.BROKEN, f"it answered {error.code} {error.status or ''}".rstrip())


def _auth_failure(error: auth.GoogleAuthError) -> AttemptFailed:
    """Of fetching an access token, before anything was sent."""
    if isinstance(error, auth.TransportError | auth.TimeoutError) or error.retryable:
        return AttemptFailed(Kind.UNREACHABLE, "the server of access tokens cannot be reached")
    return AttemptFailed(Kind.DENIED, "this server's credentials give no access token")
