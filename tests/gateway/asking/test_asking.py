"""Questions to a collection: what is read, what is cited, what is dropped and why."""

import asyncio
from pathlib import Path

import grpc
import pytest

from chiasm.v1 import generation_pb2, media_pb2, search_pb2
from services.gateway.asking import checking, voting
from services.gateway.asking.asking import NOTHING_FOUND
from services.gateway.asking.prompt import of_picture
from services.gateway.asking.questions import AT_ONCE, Wording
from services.gateway.tenants.keys import digest
from tests.client.scripted import fail
from tests.client.scripted_embedder import Context, hit
from tests.gateway.asking.scene import COST_NANOUSD, library, statements, whole_or_alone
from tests.gateway.embedders.test_forwarding import told
from tests.gateway.routing.asks import large, small

NO_SUCH = search_pb2.DROPPED_REASON_NO_SUCH_SOURCE
NOT_USED = search_pb2.DROPPED_REASON_NOT_USED
NOT_SUPPORTING = search_pb2.DROPPED_REASON_NOT_SUPPORTING
PAGES = [
    hit("report.pdf", 0.9, text="Total revenue in 2024 was 42 million euros.", picture=b"first page", page=1),
    hit("photo.jpg", 0.8, picture=b"red car"),
    hit("note.txt", 0.7, text="The car was sold in May."),
]


def dropped(response: search_pb2.AskResponse) -> list[tuple[int, int]]:
    return [(each.number, each.reason) for each in response.dropped]


def seen(shown: bytes) -> str:
    """What each source alone says: a picture, or a text before the question."""
    says = {b"red car": "red", b"first page": "42 million", b"Total": "42 million", b"The car": "It was sold in May."}
    return next(answer for beginning, answer in says.items() if shown.startswith(beginning))


async def test_what_holds_is_cited_in_the_order_of_the_answer(tmp_path: Path) -> None:
    whole = statements(
        ("The car was sold in May", [(3, "sold in May")]),
        ("and it is red.", [(2, "")]),
        ("Revenue was 42 million.", [(1, "Revenue, in 2024, was 42 million")]),
    )
    async with library(tmp_path, PAGES, (large(), whole_or_alone(whole, seen))) as given:
        response = await given.ask()
        first, *checks = given.models[0].requests
    assert response.text == "The car was sold in May [1] and it is red. [2] Revenue was 42 million. [3]"
    assert [(each.number, each.hit.document_id) for each in response.citations] == [
        (1, "note.txt"),
        (2, "photo.jpg"),
        (3, "report.pdf"),
    ]
    assert [each.quote for each in response.citations] == ["sold in May", "", "Revenue, in 2024, was 42 million"]
    assert dropped(response) == []
    assert response.confidence == pytest.approx(0.8)
    assert response.route.attempts[-1].model == "models/large"
    assert response.usage.cost_nanousd == 3 * COST_NANOUSD
    assert response.usage.input_tokens == 3 * 100 + 9
    assert [part.WhichOneof("kind") for part in first.messages[0].parts] == ["text", "media", "text", "media"] + [
        "text"
    ] * 2
    shown = {(check.messages[0].parts[0].media.data, check.messages[0].parts[0].text) for check in checks}
    assert shown == {(b"red car", ""), (b"", f"{PAGES[0].text}\n\nWhat colour?")}


@pytest.mark.parametrize(
    ("statement", "quote", "detail"),
    [
        ("The CEO was arrested for fraud in 1987.", "Total revenue in", "it says: 42 million"),
        ("Revenue was 99 billion.", "a", "does not hold: a"),
        ("Revenue was 92 million in 2023.", "Total revenue in 2023 was 92 million euros", "does not hold: Total"),
        ("Total revenue in 2024 was not 42 million euros.", "", "it says: 42 million"),
        ("Total revenue in 1999 was 42 million euros.", "", "it says: 42 million"),
    ],
)
async def test_a_source_that_says_something_else_is_dropped_whatever_is_quoted(
    tmp_path: Path, statement: str, quote: str, detail: str
) -> None:
    whole = statements((statement, [(1, quote)]))
    async with library(tmp_path, PAGES[:1], (large(), whole_or_alone(whole, seen))) as given:
        response = await given.ask("What was the revenue?")
    assert response.text == statement
    assert dropped(response) == [(1, NOT_SUPPORTING)]
    assert detail in response.dropped[0].detail


async def test_what_does_not_hold_is_dropped_and_said_so(tmp_path: Path) -> None:
    whole = statements(
        ("Revenue was 43 million.", [(1, "revenue was 99 billion dollars"), (7, "")]),
        ("The car is blue.", [(2, "")]),
        ("", [(3, "sold in May")]),
        ("It was sold [3].", [(3, "")]),
    )
    async with library(tmp_path, PAGES, (large(), whole_or_alone(whole, seen))) as given:
        response = await given.ask()
    assert response.text == "Revenue was 43 million. The car is blue. It was sold. [1]"
    assert [each.hit.document_id for each in response.citations] == ["note.txt"]
    assert dropped(response) == [(1, NOT_SUPPORTING), (2, NOT_SUPPORTING), (3, NOT_USED), (7, NO_SUCH)]
    details = {each.number: each.detail for each in response.dropped}
    assert "99 billion" in details[1]
    assert "it says: red" in details[2]
    assert not response.dropped[-1].HasField("hit")


async def test_pictures_come_back_where_they_are_asked_for(tmp_path: Path) -> None:
    whole = statements(("It is red.", [(2, ""), (9, "")]))
    async with library(tmp_path, PAGES, (large(), whole_or_alone(whole, seen))) as given:
        without = await given.ask()
        with_them = await given.ask(search={"with_picture": True})
        assert all(request.with_picture for request in given.scene.embedder.requests)
        assert [request.limit for request in given.scene.embedder.requests] == [4, 4]
    assert not without.citations[0].hit.HasField("picture")
    assert with_them.citations[0].hit.picture.data == b"red car"


async def test_where_nothing_is_found_no_model_is_asked(tmp_path: Path) -> None:
    async with library(tmp_path, [], (large(), lambda request: "x")) as given:
        response = await given.ask()
        assert given.models[0].requests == []
    assert (response.text, response.usage.input_tokens) == (NOTHING_FOUND, 9)
    assert list(response.citations) == []


async def test_models_of_one_picture_are_asked_of_each_and_vote(tmp_path: Path) -> None:
    hits = [hit(name, score, picture=name.encode()) for name, score in (("a", 0.5), ("b", 0.4), ("c", 0.3), ("d", 0.2))]

    def alone(request: generation_pb2.GenerateRequest) -> str:
        (media,) = [part.media.data for part in request.messages[0].parts if part.HasField("media")]
        return {b"a": "blue", b"b": "Red.", b"c": "red", b"d": "the red"}[media]

    async with library(tmp_path, hits, (small(), alone), confidence=lambda text: 0.5) as given:
        response = await given.ask()
        assert len(given.models[0].requests) == 4
    assert response.text == "Red. [1][2][3]"
    assert [each.hit.document_id for each in response.citations] == ["b", "c", "d"]
    assert dropped(response) == [(1, NOT_USED)]
    assert "blue" in response.dropped[0].detail
    assert response.usage.cost_nanousd == 4 * COST_NANOUSD


async def test_a_blank_answer_is_no_vote(tmp_path: Path) -> None:
    hits = [hit(name, score, picture=name.encode()) for name, score in (("a", 0.9), ("b", 0.8), ("c", 0.8))]

    def alone(request: generation_pb2.GenerateRequest) -> str:
        return says[request.messages[0].parts[0].media.data]

    async with library(tmp_path, hits, (small(), alone)) as given:
        says = {b"a": "red", b"b": " ", b"c": "."}
        response = await given.ask()
        says = dict.fromkeys(says, " ")
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await given.ask("What else?")
    assert response.text == "red [1]"
    assert dropped(response) == [(2, NOT_USED), (3, NOT_USED)]
    assert caught.value.code() is grpc.StatusCode.ABORTED


async def test_what_may_be_spent_is_shared_among_those_that_are_asked_at_once(tmp_path: Path) -> None:
    hits = [hit(name, picture=name.encode()) for name in "abcde"]
    routing = generation_pb2.Routing(max_cost_nanousd=AT_ONCE * COST_NANOUSD)
    async with library(tmp_path, hits, (small(), lambda request: "red")) as given:
        response = await given.ask(routing=routing, search={"limit": len(hits)})
        shares = [request.routing.max_cost_nanousd for request in given.models[0].requests]
    assert shares == [COST_NANOUSD] * AT_ONCE
    assert response.text == "red [1][2][3][4]"  # for the fifth nothing is left
    assert response.usage.cost_nanousd == routing.max_cost_nanousd


async def test_where_the_answer_leaves_nothing_to_spend_it_is_not_checked(tmp_path: Path) -> None:
    whole = statements(("It is red.", [(2, "")]))
    async with library(tmp_path, PAGES, (large(), whole_or_alone(whole, seen))) as given:
        (model,) = given.models
        model.cost_nanousd = 10**9
        response = await given.ask(routing=generation_pb2.Routing(max_cost_nanousd=10**9))
        assert len(model.requests) == 1
    assert response.text == "It is red."
    assert response.usage.cost_nanousd == 10**9
    assert [each.number for each in response.dropped] == [2]
    assert response.dropped[0].detail.startswith("could not be checked: no model answers for so little")


async def test_what_was_found_counts_as_in_flight_until_the_answer(tmp_path: Path) -> None:
    hits = [hit(name, picture=name.encode() * 1_000) for name in "ab"]
    async with library(tmp_path, hits, (small(), lambda request: "red")) as given, asyncio.timeout(30):
        model = given.models[0]
        model.go_on.clear()
        asking = asyncio.ensure_future(given.ask())
        while len(model.requests) < len(hits):  # noqa: ASYNC110 - it rings for the first one alone
            await asyncio.sleep(0.01)
        assert given.scene.room.bytes >= sum(each.ByteSize() for each in hits) + 2 * 1_000
        model.go_on.set()
        await asking
        assert given.scene.room.bytes == 0


async def test_a_question_is_made_when_it_is_its_turn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = []

    def counted(question: str, source: search_pb2.Hit) -> Wording:
        made.append(source)
        return of_picture(question, source)

    monkeypatch.setattr(voting, "of_picture", counted)
    hits = [hit(str(number), picture=b"%d" % number) for number in range(2 * AT_ONCE)]
    async with library(tmp_path, hits, (small(), lambda request: "red")) as given, asyncio.timeout(30):
        model = given.models[0]
        model.go_on.clear()
        asking = asyncio.ensure_future(given.ask(search={"limit": len(hits)}))
        while len(model.requests) < AT_ONCE:  # noqa: ASYNC110 - it rings for the first one alone
            await asyncio.sleep(0.01)
        assert len(made) == AT_ONCE
        model.go_on.set()
        await asking
        assert len(made) == len(model.requests) == len(hits)


async def test_confidence_and_score_outweigh_numbers(tmp_path: Path) -> None:
    hits = [hit("a", 1.0, picture=b"a"), hit("b", 0.3, picture=b"b"), hit("c", 0.3, picture=b"c")]

    def alone(request: generation_pb2.GenerateRequest) -> str:
        return "blue" if request.messages[0].parts[0].media.data == b"a" else "red"

    async with library(tmp_path, hits, (small(), alone)) as given:
        response = await given.ask()
    assert response.text == "blue [1]"


async def test_of_two_models_the_one_that_can_read_all_is_asked_and_the_cheaper_checks(tmp_path: Path) -> None:
    whole = statements(("It is red.", [(2, "")]))
    models = (small(), lambda request: "red"), (large(), whole_or_alone(whole, seen))
    async with library(tmp_path, PAGES, *models) as given:
        response = await given.ask()
        little, much = given.models
        assert len(little.requests) == len(much.requests) == 1
    assert response.text == "It is red. [1]"
    assert response.route.attempts[-1].model == "models/large"


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("not JSON [2]", "not JSON"),
        ('{"statements": [{"text": "\\ud800 \\u001b[31m [2]", "sources": [{"number": 99999999999}]}]}', "?  [31m"),
        ('{"statements": [{"text": "whole", "sources": []}, {"text": "cut o', "whole"),
        ('{"statements": "no"}', None),
        ('{"statements": [1, null, {"text": 3}, {"sources": [true, {"number": 1e99}]}]}', None),
        ("[" * 100_000, None),
        ('{"statements": []}', None),
    ],
)
async def test_what_is_no_answer_is_never_shown_as_one(tmp_path: Path, said: str, shown: str | None) -> None:
    async with library(tmp_path, PAGES, (large(), whole_or_alone(said, lambda _: "nothing of it"))) as given:
        if shown is None:
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await given.ask()
            assert caught.value.code() is grpc.StatusCode.ABORTED
        else:
            response = await given.ask()
            assert response.text == shown
            assert list(response.citations) == []


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"config": generation_pb2.GenerationConfig(json_schema="{}")}, "config.json_schema"),
        ({"search": {"limit": 17}}, "search.limit"),
        ({"question": "x" * 8_193}, "question"),
        ({"question": "a\0b"}, "question"),
        ({"question": " "}, "question"),
        ({"config": generation_pb2.GenerationConfig(temperature=9)}, "config.temperature"),
        ({"search": {"model": "siglip"}}, "search.model"),
        ({"search": {"image": media_pb2.Media(name="media/none")}}, "search.image.name"),
    ],
)
async def test_wrong_fields_are_named_before_anything_is_searched(
    tmp_path: Path, options: dict[str, object], field: str
) -> None:
    async with library(tmp_path, PAGES, (large(), lambda request: "x")) as given:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await given.ask(**options)
        assert given.scene.embedder.requests == []
    assert told(caught.value)[::2] == ("INVALID_ARGUMENT", field)


async def test_what_the_embedder_says_of_a_field_is_said_of_the_search(tmp_path: Path) -> None:
    async def refuse(context: Context) -> None:
        await fail(context, grpc.StatusCode.NOT_FOUND, "there is none", "COLLECTION_NOT_FOUND", field="collection")

    async with library(tmp_path, PAGES, (large(), lambda request: "x")) as given:
        given.scene.embedder.before = refuse
        with pytest.raises(grpc.aio.AioRpcError, match="there is none") as caught:
            await given.ask()
    assert told(caught.value) == ("NOT_FOUND", "COLLECTION_NOT_FOUND", "search.collection")


async def test_a_question_of_its_own_is_asked_of_what_the_query_finds(tmp_path: Path) -> None:
    async with library(tmp_path, PAGES[1:2], (small(), lambda request: "red")) as given:
        await given.ask("a car", question="which colour has it?")
        assert given.scene.embedder.requests[0].text == "a car"
        assert given.models[0].requests[0].messages[0].parts[-1].text == "which colour has it?"


async def test_no_model_is_the_error_of_no_model(tmp_path: Path) -> None:
    async with library(tmp_path, PAGES, (small(), lambda request: "x")) as given:
        with pytest.raises(grpc.aio.AioRpcError, match="absent") as caught:
            await given.ask(model="models/absent")
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND


async def test_the_deadline_holds_for_all_together(tmp_path: Path) -> None:
    async with library(tmp_path, PAGES, (small(), lambda request: "x")) as given, asyncio.timeout(60):
        model = given.models[0]
        model.go_on.clear()
        for timeout_s in (0.3, 3, 30):  # until the model is reached in time
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await given.ask(timeout=timeout_s)
            assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
            if model.begun.is_set():
                break
        await model.ended.wait()


async def test_checks_that_take_too_long_leave_the_answer_without_citations(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checking, "TIME_SHARE", 0.01)
    whole = statements(("It is red.", [(2, "")]), ("The car was sold in May.", [(3, "")]))
    async with library(tmp_path, PAGES, (large(), whole_or_alone(whole, seen))) as given:
        given.models[0].go_on.clear()
        given.models[0].goes_on = lambda request: bool(request.config.json_schema)
        response = await given.ask(timeout=30)
    assert response.text == "It is red. The car was sold in May. [1]"
    assert [(each.number, each.detail) for each in response.dropped] == [(2, "not checked in time")]


async def test_a_caller_that_leaves_ends_all_of_it(tmp_path: Path) -> None:
    async with library(tmp_path, PAGES, (small(), lambda request: "x")) as given, asyncio.timeout(30):
        given.models[0].go_on.clear()
        asking = asyncio.ensure_future(given.ask())
        await given.models[0].begun.wait()
        asking.cancel()
        await given.models[0].ended.wait()
        with pytest.raises(asyncio.CancelledError):
            await asking


async def test_it_is_on_the_tenants_account(tmp_path: Path) -> None:
    policy, audit = tmp_path / "policy.yaml", tmp_path / "audit.jsonl"
    may_use = "models: [models/small, models/tiny-siglip]"
    policy.write_text(f"tenants:\n  - {{name: acme, api_keys: ['{digest('chk_acme')}'], {may_use}}}\n")
    models = (small(), lambda request: "red"), (large(), lambda request: "x")
    settings = {"policy_file": policy, "audit_file": audit}
    async with library(tmp_path, PAGES[1:2], *models, **settings) as given:
        given.keep("models/tiny-siglip")
        response = await given.ask(metadata=[("authorization", "Bearer chk_acme")])
        assert given.models[0].tenants == {"acme"}
        assert given.models[1].requests == []
        assert given.scene.embedder.metadata[-1]["chiasm-tenant"] == "acme"
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await given.ask(search={"model": "models/not-its"}, metadata=[("authorization", "Bearer chk_acme")])
        assert told(caught.value) == ("NOT_FOUND", "MODEL_NOT_FOUND", "search.model")
        given.keep("models/not-its")
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await given.ask(metadata=[("authorization", "Bearer chk_acme")])
        assert told(caught.value) == ("NOT_FOUND", "MODEL_NOT_FOUND", "search.collection")
    assert response.text == "red [1]"
    assert f'"cost_nanousd": {COST_NANOUSD}' in audit.read_text()
