"""Answers about pictures that look alike: off unless the policy has it on."""

from collections.abc import Callable
from io import BytesIO

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from PIL import Image

from services.gateway.answerer import Ask, Events
from services.gateway.caching import near, observation
from services.gateway.caching.near import Look, NearIndex, look_of
from tests.client.scripted import delta, finished, started
from tests.gateway.flights.answering import Answering, ask, landed, whole
from tests.gateway.flights.replicas import Replicas
from tests.pictures import encoded, scene_png

PNG = scene_png(7)[1]
AGAIN = encoded(Image.open(BytesIO(PNG)).resize((300, 300)))
OTHER = scene_png(8)[1]

Counted = Callable[[], dict[tuple[str, str], int]]


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Counted:
    """What was counted so far, by metric and result."""
    reader = InMemoryMetricReader()
    meter = MeterProvider([reader]).get_meter("test")
    monkeypatch.setattr(observation, "_lookups", meter.create_counter("lookups"))
    monkeypatch.setattr(observation, "_verified", meter.create_counter("verified"))

    def counts() -> dict[tuple[str, str], int]:
        data = reader.get_metrics_data()
        scopes = [scope for resource in data.resource_metrics for scope in resource.scope_metrics] if data else []
        return {
            (metric.name, point.attributes["result"]): point.value
            for scope in scopes
            for metric in scope.metrics
            for point in metric.data.data_points
        }

    return counts


@pytest.fixture
def inner() -> Answering:
    inner = Answering()
    inner.go.set()
    return inner


async def stored(replicas: Replicas, inner: Answering, verify_share: float) -> Callable[[Ask], Events]:
    """A layer that has the answer about `PNG`."""
    replicas.set_cache(near_duplicates={"similarity": 0.97, "verify_share": verify_share})
    layer = replicas.make(inner)
    await whole(layer.events(ask(picture=PNG)))
    await landed()
    return layer.events


async def test_off_by_default(replicas: Replicas, inner: Answering) -> None:
    layer = replicas.make(inner)
    await whole(layer.events(ask(picture=PNG)))
    await whole(layer.events(ask(picture=AGAIN)))
    assert len(inner.asks) == 2


async def test_a_picture_that_looks_alike_has_the_same_answer(
    replicas: Replicas, inner: Answering, counted: Counted
) -> None:
    events = await stored(replicas, inner, 0)
    answer = await whole(events(ask(picture=AGAIN)))
    assert (answer.text, answer.finished.usage.cost_nanousd) == ("two circles", 0)
    assert answer.finished.route.attempts[0].status == "CACHED"
    assert len(inner.asks) == 1
    assert counted() == {("lookups", "miss"): 1, ("lookups", "near"): 1}


async def test_another_picture_question_or_tenant_has_its_own(replicas: Replicas, inner: Answering) -> None:
    events = await stored(replicas, inner, 0)
    others = (
        ask(picture=OTHER),
        ask("how few?", AGAIN),
        ask(picture=AGAIN, tenant="other"),
        ask(picture=b"no picture"),
    )
    for other in others:
        await whole(events(other))
    assert len(inner.asks) == 1 + len(others)


@pytest.mark.parametrize(("said", "result"), [("two  circles", "agree"), ("three", "differ")])
async def test_what_is_verified_is_answered_afresh(
    replicas: Replicas, inner: Answering, counted: Counted, said: str, result: str
) -> None:
    async def says(ask: Ask) -> Events:
        for event in (started(), delta(said), finished()):
            yield event

    events = await stored(replicas, inner, 1)
    inner.script = says
    assert (await whole(events(ask(picture=AGAIN)))).text == said
    assert counted()["verified", result] == 1
    assert len(inner.asks) == 2


async def test_an_answer_that_is_gone_serves_nobody(replicas: Replicas, inner: Answering) -> None:
    replicas.set_cache(ttl_s=0, near_duplicates={"similarity": 0.97, "verify_share": 0})
    layer = replicas.make(inner)
    for picture in (PNG, AGAIN):
        await whole(layer.events(ask(picture=picture)))
        await landed()
    assert len(inner.asks) == 2


async def test_the_look_says_which_picture_it_is() -> None:
    seen = [await look_of(ask(picture=scene_png(seed)[1]), "g") for seed in range(12)]
    again = [
        await look_of(ask(picture=encoded(Image.open(BytesIO(scene_png(seed)[1])), "JPEG", quality=95)), "g")
        for seed in range(12)
    ]
    index = NearIndex()
    for seed, look in enumerate(seen):
        index.add(look, str(seed))
    assert [index.nearest(look, 0.95) for look in again] == [str(seed) for seed in range(12)]


def test_the_index_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MAX_TENANTS", "MAX_QUESTIONS", "MAX_PICTURES"):
        monkeypatch.setattr(near, name, 2)
    index = NearIndex()
    looks = [Look(tenant, question, bits) for tenant in "abc" for question in "xyz" for bits in (0, 7 << 50, 7 << 90)]
    for look in looks:
        index.add(look, str(look))
    kept = [look for look in looks if index.nearest(look, 1) is not None]
    assert kept == [look for look in looks if look.tenant in "bc" and look.question in "yz" and look.bits]
