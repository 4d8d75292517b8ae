"""An answer as one JSON object, and as one line for a person."""

import json
from dataclasses import asdict

from chiasm.results import Answer, Detection, Route


def as_json(answer: Answer) -> str:
    """One JSON object on one line. Times in milliseconds, money in nano-US-dollars, boxes in pixels."""
    return json.dumps(
        {
            "text": answer.text,
            "model": answer.model,
            "finish_reason": answer.finish_reason,
            "usage": asdict(answer.usage),
            "confidence": answer.confidence,
            "boxes": [
                {"label": found.label, **asdict(found.box), "confidence": found.confidence}
                for found in answer.detections
            ],
            "route": _route(answer.route),
            "request_id": answer.request_id,
            "time_to_first_token_ms": _milliseconds(answer.time_to_first_token_s),
            "total_ms": _milliseconds(answer.total_s),
        },
        ensure_ascii=False,
    )


def summary(answer: Answer) -> str:
    """Model, times, tokens and cost, in a line."""
    usage = answer.usage
    first = "" if answer.time_to_first_token_s is None else f"first token {answer.time_to_first_token_s:.2f} s · "
    cut = "" if answer.finish_reason == "stop" else f" · ended by {answer.finish_reason}"
    return (
        f"{answer.model} · {first}total {answer.total_s:.2f} s · "
        f"{usage.input_tokens} + {usage.output_tokens} tokens · {dollars(usage.cost_nanousd)}{cut}"
    )


def found_line(detection: Detection) -> str:
    """Label, box in pixels and confidence, in a line."""
    box = detection.box
    sure = "" if detection.confidence is None else f"  confidence {detection.confidence:.2f}"
    return f"{detection.label}  ({box.x_min:.0f}, {box.y_min:.0f}) to ({box.x_max:.0f}, {box.y_max:.0f}){sure}"


def dollars(nanousd: int) -> str:
    """The exact amount: `$0.00000125` for 1,250; `$0` for nothing."""
    whole, part = divmod(nanousd, 10**9)
    return f"${whole}.{part:09}".rstrip("0").rstrip(".") if part else f"${whole}"


def _route(route: Route) -> dict[str, object]:
    return {
        "attempts": [
            {
                "model": attempt.model,
                "revision": attempt.revision,
                "status": attempt.status,
                "time_to_first_token_ms": _milliseconds(attempt.time_to_first_token_s),
                "duration_ms": _milliseconds(attempt.duration_s),
            }
            for attempt in route.attempts
        ],
        "time_to_first_token_ms": _milliseconds(route.time_to_first_token_s),
        "duration_ms": _milliseconds(route.duration_s),
    }


def _milliseconds(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1000, 3)
