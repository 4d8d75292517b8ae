"""gemini_proxy: limits and budgets under many replicas, crashes and cancels; estimates before the call."""

import sys
from itertools import chain

from evals.figures import Figure
from tests.gemini_proxy.documented import FORMATS, VIDEOS, pdfs, pictures, tiled_pictures, videos, worst_error
from tests.integration.gemini_load import press_budget, press_limits

BUDGET_NANOUSD = 100_000_000


async def limits() -> list[Figure]:
    """8 processes x 50 callers for two minutes against 1,500 requests a minute"""
    limited = await press_limits(replicas=8, callers=50, seconds=120, requests_per_minute=1_500)
    for what, times in limited.unexpected.items():
        print(f"  {times} x {what}", file=sys.stderr)
    return [
        Figure("gemini_429s_caused_by_us", limited.refused_upstream, "==", 0),
        Figure("gemini_first_minute_of_quota", limited.minutes[0] / limited.quota, ">=", 0.97),
        Figure("gemini_second_minute_of_quota", limited.minutes[1] / limited.quota, ">=", 0.97),
        Figure("gemini_calls_with_another_error", limited.unexpected.total(), "==", 0),
    ]


async def budget() -> list[Figure]:
    """500 calls at once against $0.10: a replica of five killed (-9), 20 % cancelled, 10 % of the streams cut"""
    spent = await press_budget(calls=500, budget_nanousd=BUDGET_NANOUSD)
    ends = ", ".join(f"{times} {end}" for end, times in spent.calls.most_common())
    print(f"  calls: {ends}", file=sys.stderr)
    print(f"  bill {spent.bill:,}; ledger {spent.ledger_before:,} before reconciling", file=sys.stderr)
    return [
        Figure("gemini_bill_over_budget", spent.bill / spent.budget, "<=", 1),
        Figure("gemini_reservations_left_after_a_lease", spent.held, "==", 0),
        Figure(
            "gemini_bill_beyond_ledger_before_reconciling_nanousd", max(0, spent.bill - spent.ledger_before), "==", 0
        ),
        Figure("gemini_ledger_minus_bill_nanousd", spent.ledger_minus_bill, "==", 0),
        Figure("gemini_attempts_that_differ", spent.attempts_that_differ, "==", 0),
    ]


async def estimates() -> list[Figure]:
    """Tokens before the call, from the headers of real files, against the documented rules"""
    every_picture = chain(pictures(), *map(tiled_pictures, FORMATS))
    every_video = chain.from_iterable(videos(*video) for video in VIDEOS)
    return [
        Figure("gemini_estimate_error_pictures", await worst_error(every_picture), "==", 0),
        Figure("gemini_estimate_error_pdfs", await worst_error(pdfs()), "==", 0),
        Figure("gemini_estimate_error_videos", await worst_error(every_video), "<=", 0.05),
    ]


SHOWS = (estimates, limits, budget)
