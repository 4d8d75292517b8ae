"""Logs on stderr: one JSON object a line for machines, or plain text for people."""

import logging
import sys
from datetime import UTC, datetime
from typing import Any

from opentelemetry import trace
from pythonjsonlogger.json import JsonFormatter

_TEXT = "%(asctime)s %(levelname)-7s %(name)s: %(message)s"


def configure(service: str, level: str, log_format: str) -> None:
    """Sends all logs of the process to stderr.

    Args:
        service: the short name, such as `gateway`; each line carries `chiasm-gateway`.
        level: the least severity that is logged: `DEBUG`, `INFO`, `WARNING` or `ERROR`.
        log_format: `json` or `text`.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JsonFormatter(service) if log_format == "json" else logging.Formatter(_TEXT))
    logging.basicConfig(level=level, handlers=[handler], force=True)


class _JsonFormatter(JsonFormatter):
    def __init__(self, service: str) -> None:
        super().__init__("%(message)s", static_fields={"service": f"chiasm-{service}"})

    def add_fields(self, log_data: dict[str, Any], record: logging.LogRecord, message_dict: dict[str, Any]) -> None:
        log_data["timestamp"] = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        log_data["severity"] = record.levelname
        log_data["logger"] = record.name
        span = trace.get_current_span().get_span_context()
        if span.is_valid:
            log_data["trace_id"] = trace.format_trace_id(span.trace_id)
            log_data["span_id"] = trace.format_span_id(span.span_id)
        super().add_fields(log_data, record, message_dict)
