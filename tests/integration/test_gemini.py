"""The short form of gemini_proxy's shows: real processes that share a Valkey, before an emulated Gemini."""

from tests.integration.gemini_load import press_budget, press_limits


async def test_replicas_together_use_a_quota_and_never_exceed_it() -> None:
    limited = await press_limits(replicas=2, callers=20, seconds=8, requests_per_minute=150)
    assert limited.refused_upstream == 0
    assert limited.refused_here > 0
    assert limited.minutes[0] == limited.quota
    assert not limited.unexpected


async def test_a_budget_holds_through_a_kill_cancels_and_cuts() -> None:
    spent = await press_budget(calls=60, budget_nanousd=12_000_000, replicas=3)
    assert 0 < spent.bill <= min(spent.budget, spent.ledger_before)
    assert spent.held == 0
    assert spent.attempts_that_differ == 0
    assert spent.ledger_minus_bill == 0
