"""What a failed command tells its user: an exit code, and a message to act on."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import typer

from chiasm import errors

EXIT_CODES = (
    "Exit codes: 0 done; 1 a figure of `chiasm eval` is short, a file of `chiasm index` is at fault, or a service of "
    "`chiasm up` failed; 2 the request or its usage is wrong; 3 no server is available, or it is overloaded; 4 the "
    "time ran out; 5 a fault of the server; 130 interrupted."
)

_EXIT_CODES: dict[type[errors.ChiasmError], int] = {
    errors.InvalidArgument: 2,
    errors.NotFound: 2,
    errors.AlreadyExists: 2,
    errors.FailedPrecondition: 2,
    errors.Unauthenticated: 2,
    errors.PermissionDenied: 2,
    errors.Overloaded: 3,
    errors.Unavailable: 3,
    errors.Cancelled: 3,
    errors.DeadlineExceeded: 4,
    errors.Aborted: 5,
    errors.Internal: 5,
}
SHORT = 1
"""The command did its work, but not all is well with what it was given."""
INTERRUPTED = 130
MORE_TIME = "give it more with --timeout"


@contextmanager
def explained(address: str, *, as_json: bool = False, late: str = MORE_TIME) -> Iterator[dict[str, object]]:
    """Ends the command with a message and an exit code when what it wraps fails as a call may.

    `address` is the server that was asked, and `late` what to do where its time ran out. With `as_json` the message is
    an object on stdout, else text on stderr. What the block puts into the mapping is in that object, too.
    """
    told: dict[str, object] = {}
    try:
        yield told
    except errors.ChiasmError as error:
        _print(error, explanation(error, address, late), told if as_json else None)
        raise typer.Exit(_EXIT_CODES[type(error)]) from None
    except KeyboardInterrupt:
        _print(errors.Cancelled("interrupted"), "interrupted", told if as_json else None)
        raise typer.Exit(INTERRUPTED) from None


def _print(error: errors.ChiasmError, message: str, told: dict[str, object] | None) -> None:
    if told is None:
        print(f"chiasm: {message}", file=sys.stderr)
        return
    fault = {"code": error.code, "reason": error.reason, "message": message, "field": error.field}
    print(json.dumps(told | {"error": fault}, ensure_ascii=False), flush=True)


def explanation(error: errors.ChiasmError, address: str, late: str) -> str:
    """What went wrong with a call to `address`, which field, and what to do; `late` where its time ran out."""
    match error:
        case errors.InvalidArgument() if error.field:
            return f"{error.message} (field: {error.field})"
        case errors.NotFound() if error.reason == "MODEL_NOT_FOUND":
            return f"{error.message}: see `chiasm models`"
        case errors.NotFound() if error.reason == "COLLECTION_NOT_FOUND":
            return f"{error.message}: see `chiasm collections`"
        case errors.Unavailable() if _unreachable(error):
            return f"no Chiasm gateway answers at {address}: start one with `chiasm up`, or name another with --address"
        case errors.Unavailable() if not error.reason:
            return f"the connection to {address} broke: {error.message}; try again"
        case errors.Overloaded() | errors.Unavailable() if error.retry_after_s is not None:
            return f"{error.message}; try again in {error.retry_after_s:g} s"
        case errors.Overloaded() | errors.Unavailable() | errors.Cancelled():
            return f"{error.message}; try again"
        case errors.DeadlineExceeded():
            return f"no whole answer came from {address} in time: {late} ({error.message})"
        case errors.Internal() if error.correlation_id:
            return f"the server failed: {error.message}; its logs know this as {error.correlation_id}"
        case errors.Internal():
            return f"the server failed: {error.message}"
    return error.message


def _unreachable(error: errors.Unavailable) -> bool:
    """Whether gRPC itself never reached a server. It says so in words alone."""
    words = error.message.lower()
    return not error.reason and any(sign in words for sign in ("failed to connect", "resolving", "resolution"))
