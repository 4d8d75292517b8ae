"""Explicit caches: made where they pay, paid for to the nano-dollar, and done without where they have gone."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import SecretStr

from services.gemini_proxy.accounts.books import Outcome
from services.gemini_proxy.catalogue import MediaResolution
from services.gemini_proxy.config import BudgetSettings, MemberSettings
from services.gemini_proxy.question import Question, Task, Text, Turn
from tests.gemini.bill import Line
from tests.gemini.config import TEST_KEY, Fault, FaultRule, default_config
from tests.gemini.conftest import Clock, client_of
from tests.gemini.server import Emulator, emulator
from tests.gemini_proxy.lossy import Loss, lossy
from tests.gemini_proxy.placing import Replica, asked, replica
from tests.media_files import pdf, picture

DOCUMENT = pdf(pages=100)
DOCUMENT_TOKENS = 100 * 560
# With an hour's life a cache pays from the third use in an hour on: (0.75 + 1) / (0.75 - 0.075) = 2.6.
HOUR = {"caching": True, "cache_ttl_s": 3600}


@pytest.fixture
async def gemini() -> AsyncIterator[Emulator]:
    async with emulator(default_config()) as running:
        yield running


@pytest.fixture
def clock() -> Clock:
    return Clock()


def lines(gemini: Emulator, kind: str) -> list[Line]:
    return [line for line in gemini.bill.lines if line.kind == kind]


def cached(gemini: Emulator) -> list[int]:
    """Tokens that each call found cached."""
    return [sum(line.usage.cached.values()) for line in lines(gemini, "generate")]


async def bill_is_kept(gemini: Emulator, of: Replica) -> bool:
    await gemini.idle()
    return await of.cost() == gemini.bill.total_nanousd > 0


async def ask(one: Replica, times: int, question: Question | None = None) -> None:
    question = question or await asked("What is it about?", DOCUMENT)
    for _ in range(times):
        await one.answer(question)


async def test_twenty_uses_of_a_large_document_cost_less_and_are_booked_exactly(
    tmp_path: Path, redis_url: str, gemini: Emulator
) -> None:
    async with emulator(default_config()) as plain, replica(tmp_path / "plain", plain) as without:
        await ask(without, 20)
    async with replica(tmp_path, gemini, redis_url, caching=True) as one:
        await ask(one, 20)
        # In ten minutes 1.5 uses must be expected: nine in the last hour.
        assert cached(gemini) == [0] * 8 + [DOCUMENT_TOKENS] * 12
        (write,) = lines(gemini, "cache_write")
        assert write.usage.input == {"DOCUMENT": DOCUMENT_TOKENS}
        assert gemini.bill.total_nanousd < plain.bill.total_nanousd * 2 / 3
        assert await bill_is_kept(gemini, one)


async def test_the_cache_is_an_entry_of_the_tenant_who_caused_it(
    tmp_path: Path, redis_url: str, gemini: Emulator
) -> None:
    async with replica(tmp_path, gemini, redis_url, **HOUR) as one:
        await ask(one, 2, await asked("What is it about?", DOCUMENT, tenant="first"))
        await ask(one, 1, await asked("What is it about?", DOCUMENT, tenant="second"))
        made = [entry for entry in await one.entries() if entry.sums.usage.answer == 0]
        write, storage = lines(gemini, "cache_write")[0], lines(gemini, "cache_storage")[0]
        assert [(entry.tenant, entry.outcome, entry.model) for entry in made] == [
            ("second", Outcome.OK, "gemini-3.8-flash")
        ]
        assert made[0].sums.cost_nanousd == write.cost_nanousd + storage.cost_nanousd
        assert made[0].sums.usage.input == {"DOCUMENT": DOCUMENT_TOKENS}


async def test_nothing_is_cached_unless_it_is_asked_for(tmp_path: Path, gemini: Emulator) -> None:
    async with replica(tmp_path, gemini, cache_ttl_s=3600) as one:
        await ask(one, 5)
    assert cached(gemini) == [0] * 5


@pytest.mark.parametrize("what", ["few uses", "a short beginning", "different beginnings"])
async def test_what_does_not_pay_is_not_done(tmp_path: Path, gemini: Emulator, what: str) -> None:
    async with replica(tmp_path, gemini, **HOUR) as one:
        if what == "few uses":
            await ask(one, 2)
        elif what == "a short beginning":
            await ask(one, 5, await asked("What is it about?", pdf(pages=7)))
        else:
            for number in range(5):
                await ask(one, 1, await asked("What is it about?", DOCUMENT, system=f"You are number {number}."))
    assert {line.kind for line in gemini.bill.lines} == {"generate"}


async def test_uses_long_ago_do_not_count(tmp_path: Path, gemini: Emulator, clock: Clock) -> None:
    async with replica(tmp_path, gemini, clock=clock, **HOUR) as one:
        await ask(one, 2)
        clock.now_s += 2 * 3600
        await ask(one, 2)
    assert cached(gemini) == [0] * 4


async def test_replicas_make_one_cache_together(tmp_path: Path, redis_url: str, gemini: Emulator) -> None:
    async with (
        replica(tmp_path / "one", gemini, redis_url, **HOUR) as one,
        replica(tmp_path / "two", gemini, redis_url, **HOUR) as two,
    ):
        asking = await asked("What is it about?", DOCUMENT)
        await asyncio.gather(*(each.answer(asking) for each in (one, two) for _ in range(10)))
        assert len(lines(gemini, "cache_write")) == 1
        assert sorted(cached(gemini)) == [0] * 2 + [DOCUMENT_TOKENS] * 18
        assert await bill_is_kept(gemini, one)


async def test_a_cache_that_has_vanished_is_done_without_and_made_anew(
    tmp_path: Path, redis_url: str, gemini: Emulator
) -> None:
    async with replica(tmp_path, gemini, redis_url, **HOUR) as one, client_of(gemini.base_url) as google:
        await ask(one, 3)
        (cache,) = [cache async for cache in await google.caches.list()]
        await google.caches.delete(name=cache.name)
        end = await one.answer(await asked("What is it about?", DOCUMENT))
        assert len(end.attempts) == 1
        await ask(one, 1)
        assert cached(gemini) == [0, 0, DOCUMENT_TOKENS, 0, DOCUMENT_TOKENS]
        assert len(lines(gemini, "cache_write")) == 2
        assert await bill_is_kept(gemini, one)


async def test_an_expired_cache_is_made_anew_and_not_named(tmp_path: Path, redis_url: str, clock: Clock) -> None:
    async with (
        emulator(default_config(), clock=clock) as gemini,
        replica(tmp_path, gemini, redis_url, clock=clock, **HOUR) as one,
    ):
        await ask(one, 3)
        clock.now_s += 3600
        await ask(one, 1)
        assert cached(gemini) == [0, 0, DOCUMENT_TOKENS, DOCUMENT_TOKENS]
        assert len(lines(gemini, "cache_write")) == 2
        assert await bill_is_kept(gemini, one)


async def test_a_cache_in_use_is_prolonged_and_paid_for(tmp_path: Path, redis_url: str, clock: Clock) -> None:
    async with (
        emulator(default_config(), clock=clock) as gemini,
        replica(tmp_path, gemini, redis_url, clock=clock, **HOUR) as one,
    ):
        await ask(one, 3)
        clock.now_s += 0.6 * 3600
        asking = await asked("What is it about?", DOCUMENT)
        await asyncio.gather(*(one.answer(asking) for _ in range(5)))
        first, second = lines(gemini, "cache_storage")
        assert second.cost_nanousd == first.cost_nanousd
        clock.now_s += 0.6 * 3600
        await ask(one, 1)
        assert cached(gemini)[3:] == [DOCUMENT_TOKENS] * 6
        assert len(lines(gemini, "cache_write")) == 1
        assert await bill_is_kept(gemini, one)


async def test_a_cache_that_is_hardly_used_is_left_to_end(tmp_path: Path, redis_url: str, clock: Clock) -> None:
    async with (
        emulator(default_config(), clock=clock) as gemini,
        replica(tmp_path, gemini, redis_url, clock=clock, caching=True, cache_ttl_s=4 * 3600) as one,
    ):
        # (0.75 + 4) / 0.675 = 7.04 uses in four hours pay for it.
        await ask(one, 2)
        assert len(lines(gemini, "cache_storage")) == 1
        clock.now_s += 3 * 3600
        await ask(one, 1)
        assert len(lines(gemini, "cache_storage")) == 1, "one use an hour saves less than it costs to keep"
        assert cached(gemini) == [0, DOCUMENT_TOKENS, DOCUMENT_TOKENS]


async def test_a_budget_without_room_for_the_cache_has_room_for_the_calls(
    tmp_path: Path, redis_url: str, gemini: Emulator
) -> None:
    # Four calls cost 4 x 42 m$ and a little; the cache 42 + 56 m$.
    budget = BudgetSettings(tenant="tests", day_nanousd=215_000_000)
    async with replica(tmp_path, gemini, redis_url, budgets=(budget,), **HOUR) as one:
        await ask(one, 4)
        assert cached(gemini) == [0] * 4
        assert await bill_is_kept(gemini, one)


@pytest.mark.parametrize("code", [400, 403, 429])
async def test_a_cache_that_cannot_be_made_is_done_without(
    tmp_path: Path, redis_url: str, clock: Clock, code: int
) -> None:
    config = default_config(faults=(FaultRule(Fault("error", code=code, times=1), at="cache"),))
    async with emulator(config) as gemini, replica(tmp_path, gemini, redis_url, clock=clock, **HOUR) as one:
        await ask(one, 5)
        assert cached(gemini) == [0] * 5, "it is not tried again at every use"
        assert await bill_is_kept(gemini, one)
        clock.now_s += 61
        await ask(one, 1)
        assert cached(gemini)[-1] == DOCUMENT_TOKENS
        assert await bill_is_kept(gemini, one)


@pytest.mark.parametrize("code", [500, None])
async def test_a_cache_of_which_nothing_is_heard_is_booked_at_its_worst_case(
    tmp_path: Path, redis_url: str, gemini: Emulator, code: int | None
) -> None:
    async with (
        lossy(gemini.base_url, Loss("POST", "/cachedContents", code)) as between,
        replica(tmp_path, gemini, redis_url, base_url=between.base_url, **HOUR) as one,
    ):
        await ask(one, 3)
        await gemini.idle()
        (estimate,) = [entry for entry in await one.entries() if not entry.final]
        billed = sum(line.cost_nanousd for line in gemini.bill.lines if line.kind != "generate")
        assert between.struck
    assert estimate.sums.cost_nanousd >= billed > 0


@pytest.mark.parametrize("loss", [Loss("PATCH", "/cachedContents", 500), Loss("PATCH", "/cachedContents")])
async def test_a_prolongation_of_which_nothing_is_heard_is_found_out_and_booked_once(
    tmp_path: Path, redis_url: str, clock: Clock, loss: Loss
) -> None:
    async with (
        emulator(default_config(), clock=clock) as gemini,
        lossy(gemini.base_url, loss) as between,
        replica(tmp_path, gemini, redis_url, clock=clock, base_url=between.base_url, **HOUR) as one,
    ):
        await ask(one, 3)
        clock.now_s += 0.6 * 3600
        await ask(one, 3)
        assert between.struck == [loss]
        assert len(lines(gemini, "cache_storage")) == 2
        assert await bill_is_kept(gemini, one)


async def test_a_prolongation_that_was_not_made_costs_nothing_and_is_made_at_the_next_use(
    tmp_path: Path, redis_url: str, clock: Clock
) -> None:
    loss = Loss("PATCH", "/cachedContents", 503, done=False)
    async with (
        emulator(default_config(), clock=clock) as gemini,
        lossy(gemini.base_url, loss) as between,
        replica(tmp_path, gemini, redis_url, clock=clock, base_url=between.base_url, **HOUR) as one,
    ):
        await ask(one, 3)
        clock.now_s += 0.6 * 3600
        await ask(one, 1)
        assert len(lines(gemini, "cache_storage")) == 1
        assert await bill_is_kept(gemini, one)
        await ask(one, 2)
        assert len(lines(gemini, "cache_storage")) == 2
        assert await bill_is_kept(gemini, one)


async def test_a_prolongation_that_cannot_be_found_out_is_booked_once_at_its_worst_case(
    tmp_path: Path, redis_url: str, clock: Clock
) -> None:
    losses = Loss("PATCH", "/cachedContents"), Loss("GET", "/cachedContents", 500)
    async with (
        emulator(default_config(), clock=clock) as gemini,
        lossy(gemini.base_url, *losses) as between,
        replica(tmp_path, gemini, redis_url, clock=clock, base_url=between.base_url, **HOUR) as one,
    ):
        await ask(one, 3)
        clock.now_s += 0.6 * 3600
        await ask(one, 3)
        assert between.struck == list(losses)
        await gemini.idle()
        entries = await one.entries()
        assert len([entry for entry in entries if not entry.final]) == 1
        assert sum(entry.sums.cost_nanousd for entry in entries) == gemini.bill.total_nanousd


async def test_media_at_another_resolution_are_not_cached_but_instructions_are(
    tmp_path: Path, gemini: Emulator
) -> None:
    async with replica(tmp_path, gemini, **HOUR) as one:
        low = {"media_resolution": MediaResolution.LOW}
        await ask(one, 3, await asked("What is it about?", DOCUMENT, **low))
        await ask(one, 3, await asked("What is it about?", DOCUMENT, system="word " * 4_000, **low))
    (write,) = lines(gemini, "cache_write")
    assert write.usage.input == {"TEXT": 5_000}
    assert cached(gemini) == [0] * 5 + [5_000]


async def test_the_rest_of_a_conversation_follows_the_cached_beginning(tmp_path: Path, gemini: Emulator) -> None:
    one_turn = await asked("What is it about?", DOCUMENT, picture(), system="Be brief.")
    (opening,) = one_turn.turns
    more = (
        Turn(by_model=True, pieces=(Text("Paper."),)),
        Turn(by_model=False, pieces=(one_turn.files[1], Text("And this?"))),
    )
    caption = Turn(by_model=False, pieces=one_turn.files)
    questions = [
        one_turn,
        replace(one_turn, turns=(opening, *more)),
        replace(one_turn, turns=(caption,), task=Task.CAPTION),
    ]
    async with emulator(default_config()) as plain, replica(tmp_path / "plain", plain) as without:
        for each in questions:
            await without.answer(each)
    async with replica(tmp_path, gemini, **HOUR) as one:
        await ask(one, 3, one_turn)
        for each in questions:
            await one.answer(each)
    whole, rest = lines(plain, "generate"), lines(gemini, "generate")[3:]
    assert [line.usage.input for line in rest] == [line.usage.input for line in whole]
    assert [line.usage.answer for line in rest] == [line.usage.answer for line in whole]
    prefix = {"DOCUMENT": DOCUMENT_TOKENS, "IMAGE": 1_120, "TEXT": 3}
    assert [line.usage.cached for line in rest] == [prefix] * 3


async def test_a_turn_of_media_alone_is_not_cached(tmp_path: Path, gemini: Emulator) -> None:
    question = await asked("", DOCUMENT)
    (document,) = question.files
    turns = (
        Turn(by_model=False, pieces=(document,)),
        Turn(by_model=True, pieces=(Text("Yes?"),)),
        Turn(by_model=False, pieces=(Text("What is it about?"),)),
    )
    async with replica(tmp_path, gemini, **HOUR) as one:
        await ask(one, 4, replace(question, turns=turns))
    assert cached(gemini) == [0] * 4, "nothing would be left of the turn to follow what is cached"


async def test_a_large_document_is_cached_by_its_file(tmp_path: Path, redis_url: str, gemini: Emulator) -> None:
    settings = HOUR | {"files_threshold_bytes": 1_000}
    async with (
        replica(tmp_path, gemini, redis_url, **settings) as one,
        client_of(gemini.base_url) as google,
    ):
        await ask(one, 4)
        assert cached(gemini) == [0, 0, DOCUMENT_TOKENS, DOCUMENT_TOKENS]
        assert len([file async for file in await google.files.list()]) == 1
        await one.files.delete(hashlib.sha256(DOCUMENT).hexdigest())
        await ask(one, 1)
        assert cached(gemini)[-1] == DOCUMENT_TOKENS
        assert [file async for file in await google.files.list()] == [], "what is cached does not need its file"
        assert await bill_is_kept(gemini, one)


async def test_vertex_caches_too(tmp_path: Path, redis_url: str, gemini: Emulator) -> None:
    member = MemberSettings(name="one", vertex=True, api_key=SecretStr(TEST_KEY), base_url=gemini.base_url)
    settings = HOUR | {"api_key": None, "base_url": None, "members": (member,)}
    async with replica(tmp_path, gemini, redis_url, **settings) as one:
        await ask(one, 4)
        assert cached(gemini) == [0, 0, DOCUMENT_TOKENS, DOCUMENT_TOKENS]
        assert await bill_is_kept(gemini, one)
