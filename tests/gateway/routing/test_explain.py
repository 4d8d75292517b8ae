"""Routes explained by a gateway process, to a client and by the command; and its policy file, changed under way."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from chiasm import AsyncClient, InvalidArgument, Task
from chiasm.routes import RouteExplanation
from chiasm.v1 import models_pb2
from tests.client import scripted
from tests.client.conftest import ROOT, run_command
from tests.client.scripted import Context, delta, finished, started
from tests.gateway.routing.asks import PNG, large
from tests.gateway.test_gateway import gateway

POLICY = """\
tasks:
  answer:
    candidates:
      - model: models/tiny
        min_confidence: 0.9
      - model: models/large
"""


async def explained(client: AsyncClient, models: int) -> RouteExplanation:
    """Once the gateway has heard of so many ready models."""
    async with asyncio.timeout(20):
        while len(await client.models()) < models:  # noqa: ASYNC110 - ready at the first of them
            await asyncio.sleep(0.01)
    return await client.explain_route("how many?", [PNG], Task.ANSWER)


async def test_every_model_is_told_of_and_none_is_asked(tmp_path: Path) -> None:
    policy = tmp_path / "policy.yaml"
    policy.write_text(POLICY)
    async with scripted.serving() as one, scripted.serving() as two:
        two.pages = [[large(), models_pb2.Model(name="models/other", ready=True)]]
        settings = {"CHIASM_GATEWAY_POLICY_FILE": str(policy)}
        async with gateway(tmp_path, one.address, two.address, **settings) as client:
            explanation = await explained(client, 3)
            with pytest.raises(InvalidArgument) as caught:
                await client.explain_route("how many?", [b""], Task.ANSWER, max_tokens=0)
    assert caught.value.field == "config.max_tokens"
    assert explanation.refusal == ""
    assert explanation.policy_revision.startswith("sha256-")
    assert [(each.place, each.model, each.server) for each in explanation.considered] == [
        (1, "models/tiny", 1),
        (2, "models/large", 2),
        (0, "models/second", 1),
        (0, "models/other", 2),
    ]
    tiny, big, second, _ = explanation.considered
    assert (tiny.verdict, tiny.min_confidence, tiny.provider) == ("may be asked", pytest.approx(0.9), "vllm")
    assert (tiny.guessed, tiny.outstanding_s) == (True, 0)
    assert 0 < tiny.expected_time_to_first_token_s < tiny.expected_time_s
    assert 0 < tiny.expected_cost_nanousd < big.expected_cost_nanousd
    assert "candidates" in second.verdict
    for server in (one, two):
        assert "GenerateRequest" not in {asked.DESCRIPTOR.name for asked in server.requests}


async def test_why_no_model_would_be_asked_is_told(tmp_path: Path) -> None:
    async with scripted.serving() as server, gateway(tmp_path, server.address) as client:
        explanation = await client.explain_route("what?", [PNG], Task.CAPTION)
        named = await client.explain_route("what?", [PNG], Task.ANSWER, model="absent")
    assert explanation.policy_revision == "default"
    assert "models/tiny does not caption" in explanation.refusal
    assert {each.place for each in (*explanation.considered, *named.considered)} == {0}
    assert "'models/absent' is not served here" in named.refusal


async def test_the_command_shows_it(tmp_path: Path) -> None:
    picture = tmp_path / "picture.png"
    picture.write_bytes(PNG)
    async with scripted.serving() as server, gateway(tmp_path, server.address) as client:
        asked = ("route", str(picture), "how many?", "--address", client.address)
        table = await run_command(*asked, "--explain")
        first = await run_command(*asked)
        nothing = await run_command(*asked, "--task", "caption")
        as_json = await run_command(*asked, "--json")
    heading, tiny, second = table.out.splitlines()
    assert heading.split()[:3] == ["ASKED", "MODEL", "SERVER"]
    assert tiny.split()[:3] == ["1", "models/tiny", "1"]
    assert tiny.endswith("may be asked")
    assert second.split()[:3] == ["-", "models/second", "1"]
    assert "policy default; ~ is a guess" in table.err
    assert len(first.out.splitlines()) == 2
    assert (nothing.code, nothing.out) == (0, "")
    assert "no model would be asked" in nothing.err
    assert json.loads(as_json.out)["considered"][0]["model"] == "models/tiny"


async def test_a_new_policy_holds_for_new_calls_and_drops_none(tmp_path: Path) -> None:
    policy, go_on, begun = tmp_path / "policy.yaml", asyncio.Event(), asyncio.Event()
    policy.write_text(POLICY.replace("min_confidence: 0.9", "min_confidence: 0.1"))

    async def held(context: Context) -> AsyncIterator[object]:
        yield started()
        yield delta("two ")
        begun.set()
        await go_on.wait()
        yield delta("circles")
        yield finished()

    async with scripted.serving() as one, scripted.serving() as two:
        one.stream, two.pages = held, [[large()]]
        settings = {"CHIASM_GATEWAY_POLICY_FILE": str(policy)}
        async with gateway(tmp_path, one.address, two.address, **settings) as client, asyncio.timeout(30):
            before = await explained(client, 2)
            under_way = asyncio.create_task(client.ask(PNG, "how many?"))
            await begun.wait()
            policy.write_text("tasks: {answer: {candidates: [{model: models/large}]}}\n")
            while (after := await explained(client, 2)).policy_revision == before.policy_revision:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
            await client.ask(PNG, "how many?")
            go_on.set()
            assert (await under_way).text == "two circles"
    assert after.considered[0].model == "models/large"
    assert [request.model for request in two.requests if request.DESCRIPTOR.name == "GenerateRequest"] == [
        "models/large"
    ]


async def test_a_bad_policy_ends_the_start_with_its_lines(tmp_path: Path) -> None:
    policy = tmp_path / "policy.yaml"
    policy.write_text(POLICY.replace("0.9", "9") + "cach: {}\n")
    environment = os.environ | {"CHIASM_GATEWAY_POLICY_FILE": str(policy), "CHIASM_GATEWAY_PORT": "0"}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "services.gateway", cwd=ROOT, env=environment, stderr=asyncio.subprocess.PIPE
    )
    async with asyncio.timeout(30):
        _, said = await process.communicate()
    assert process.returncode == 2
    assert f"{policy}:5: tasks.answer.candidates[0].min_confidence: " in said.decode()
    assert f"{policy}:7: cach: " in said.decode()
