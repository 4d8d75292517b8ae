"""One question by the command: does its trace arrive whole, from the command's span down to the engine's?"""

import asyncio
import os
import sys
import tempfile
from pathlib import Path

from chiasm.command.stack import Stack
from tests.otlp_receiver import OtlpReceiver, ReceivedSpan
from tests.pictures import scene_png
from tests.stacks import gateway

EXPECTED = [
    ("chiasm", "chiasm ask"),
    ("chiasm-gateway", "chiasm.v1.GenerationService/StreamGenerate"),
    ("chiasm-paligemma", "chiasm.v1.GenerationService/StreamGenerate"),
    ("chiasm-paligemma", "generate_content models/"),
]
ARRIVAL_S = 30.0


async def trace_of_a_question(stack: Stack, receiver: OtlpReceiver) -> list[ReceivedSpan]:
    """The spans of `chiasm ask`, each the parent of the next. Raises TimeoutError where the chain is broken."""
    with tempfile.TemporaryDirectory() as folder:
        picture = Path(folder, "scene.png")
        await asyncio.to_thread(picture.write_bytes, scene_png()[1])
        command = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "chiasm.command.main", "ask", str(picture), "how many shapes leave a trace?"),
            *("--address", gateway(stack)),
            env=os.environ | {"CHIASM_OTLP_ENDPOINT": receiver.endpoint},
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        assert await asyncio.wait_for(command.wait(), 60) == 0
    spans = await receiver.wait_for(lambda spans: chain(spans) is not None, ARRIVAL_S)
    found = chain(spans)
    assert found is not None
    return found


def chain(spans: list[ReceivedSpan]) -> list[ReceivedSpan] | None:
    """The expected spans, each a child of the one before in one trace; None while some are missing."""
    found: list[ReceivedSpan] = []
    for service, name in EXPECTED:
        parent, trace = (found[-1].span_id, found[-1].trace_id) if found else ("", None)
        fits = [
            span
            for span in spans
            if span.service == service
            and span.name.startswith(name)
            and span.parent_id == parent
            and trace in (None, span.trace_id)
        ]
        if not fits:
            return None
        found.append(fits[-1])
    return found
