"""The trained tiny model, asked through every layer about pictures it never saw."""

import pytest

from chiasm import AsyncClient, Delta, FailedPrecondition, Finished, Started, Task
from chiasm.errors import DeadlineExceeded, Overloaded
from tests.pictures import scene_png

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_a_stream_says_what_the_unary_call_says(client: AsyncClient) -> None:
    _, png = scene_png()
    stream = client.stream(images=[png], task=Task.CAPTION)
    events = [event async for event in stream]
    assert isinstance(events[0], Started)
    assert isinstance(events[-1], Finished)
    assert {type(event) for event in events[1:-1]} == {Delta}
    whole = await client.caption(png)
    assert stream.answer.text == whole.text == "".join(event.text for event in events[1:-1])
    assert whole.model == "models/tiny-paligemma"
    assert whole.finish_reason == "stop"
    assert whole.usage.media_input_tokens == 64
    assert whole.usage.output_tokens > 2
    assert 0 < whole.confidence <= 1
    (attempt,) = whole.route.attempts
    assert attempt.revision.startswith("sha256-")
    assert 0 < attempt.time_to_first_token_s <= attempt.duration_s <= whole.route.duration_s


async def test_segmenting_without_the_decoders_weights_says_what_is_missing(client: AsyncClient) -> None:
    with pytest.raises(FailedPrecondition, match=r"CHIASM_PALIGEMMA_MASK_DECODER_FILE") as caught:
        await client.segment(scene_png()[1], "circle")
    assert caught.value.reason == "WEIGHTS_MISSING"


async def test_a_deadline_that_cannot_be_met_is_a_status(client: AsyncClient) -> None:
    # Once it knows how long answers take, the gateway refuses it at once.
    with pytest.raises((DeadlineExceeded, Overloaded)):
        await client.caption(scene_png()[1], max_tokens=7, timeout_s=0.001)


async def test_max_tokens_cuts_and_says_so(client: AsyncClient) -> None:
    answer = await client.caption(scene_png()[1], max_tokens=2)
    assert (answer.finish_reason, answer.usage.output_tokens) == ("max_tokens", 2)


async def test_the_model_says_what_it_can_do(client: AsyncClient) -> None:
    (model,) = await client.models()
    assert model == await client.model("tiny-paligemma")
    assert (model.name, model.provider, model.ready, model.max_media) == ("models/tiny-paligemma", "vllm", True, 1)
    assert {"caption", "answer", "detect"} <= set(model.tasks)
    assert "segment" not in model.tasks
