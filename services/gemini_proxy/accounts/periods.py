"""The days and months that limits and budgets go by. Redis's scripts, which know no time zones, are told them."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from itertools import pairwise
from zoneinfo import ZoneInfo

PACIFIC = ZoneInfo("America/Los_Angeles")
"""Gemini's requests of a day begin anew at midnight there (https://ai.google.dev/gemini-api/docs/rate-limits)."""


@dataclass(frozen=True)
class Period:
    """Half-open."""

    name: str
    """`YYYY-MM-DD` or `YYYY-MM`."""
    begins_ms: int
    """Milliseconds since 1970."""
    ends_ms: int


def day_at(now_ms: float, zone: tzinfo) -> Period:
    return _day(_date(now_ms, zone), zone)


def days_around(now_ms: float, zone: tzinfo) -> list[Period]:
    """The day before, this one and the next: enough for a clock that differs by less than a day."""
    today = _date(now_ms, zone)
    return [_day(today + timedelta(days=shift), zone) for shift in (-1, 0, 1)]


def month_at(now_ms: float) -> Period:
    return months_around(now_ms)[1]


def months_around(now_ms: float) -> list[Period]:
    """The month before, this one and the next, of UTC."""
    first = _date(now_ms, UTC).replace(day=1)
    firsts = [(first - timedelta(days=1)).replace(day=1), first]
    for _ in range(2):
        firsts.append((firsts[-1] + timedelta(days=32)).replace(day=1))
    return [
        Period(f"{begin:%Y-%m}", _midnight_ms(begin, UTC), _midnight_ms(end, UTC)) for begin, end in pairwise(firsts)
    ]


def _date(now_ms: float, zone: tzinfo) -> date:
    return datetime.fromtimestamp(now_ms / 1000, zone).date()


def _day(day: date, zone: tzinfo) -> Period:
    return Period(day.isoformat(), _midnight_ms(day, zone), _midnight_ms(day + timedelta(days=1), zone))


def _midnight_ms(day: date, zone: tzinfo) -> int:
    return round(datetime.combine(day, time(), zone).timestamp() * 1000)
