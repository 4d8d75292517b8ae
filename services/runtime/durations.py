"""Spans of time on the wire."""

from google.protobuf.duration_pb2 import Duration


def duration_of(seconds: float | None) -> Duration | None:
    """To the nanosecond; None stays None, so that the field is left out."""
    if seconds is None:
        return None
    duration = Duration()
    duration.FromNanoseconds(round(seconds * 1e9))
    return duration
