"""`chiasm up`: the local stack in the foreground, with a view of each service."""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from chiasm.channel import DEFAULT_ADDRESS
from chiasm.command.failures import INTERRUPTED
from chiasm.command.given_redis import has_redis
from chiasm.command.service_process import ServiceDied, ServiceSpec, cancel
from chiasm.command.stack import Stack
from chiasm.command.valkey import OwnValkey, own_valkey
from chiasm.command.view import View

MODELS = Path(__file__).parents[2] / "models"
DEFAULT_MODEL = MODELS / "tiny-paligemma"
DEFAULT_EMBEDDING_MODELS = f"{MODELS / 'tiny-siglip'},{MODELS / 'tiny-colpali'}"
VALKEY_FOLDER = Path(".chiasm/valkey")
START_TIMEOUT_S = 600.0  # a large checkpoint is read from disk, and may be fetched first


def up(
    port: Annotated[int, typer.Option(min=0, max=65535, help="The gateway's port; 0 takes a free one.")] = int(
        DEFAULT_ADDRESS.rpartition(":")[2]
    ),
    model: Annotated[
        str, typer.Option(envvar="CHIASM_PALIGEMMA_MODEL", help="A PaliGemma checkpoint: a folder or a hub name.")
    ] = str(DEFAULT_MODEL),
    embedding_models: Annotated[
        str,
        typer.Option(
            envvar="CHIASM_EMBEDDER_MODELS", help="SigLIP, CLIP, ColPali or ColQwen2 checkpoints, with commas."
        ),
    ] = DEFAULT_EMBEDDING_MODELS,
    ready_file: Annotated[
        Path | None, typer.Option(dir_okay=False, help="Where to write the gateway's address once all are ready.")
    ] = None,
    log_dir: Annotated[Path, typer.Option(file_okay=False, help="Where each service's output goes.")] = Path(
        ".chiasm/logs"
    ),
) -> None:
    """Run the local stack, gateway and model servers, until Ctrl-C, which drains it.

    Gemini answers too where CHIASM_GEMINI_PROXY_API_KEY is set. What it cost is kept in .chiasm/valkey, or in the Redis
    that it is given, as by CHIASM_REDIS_URL; what is indexed, in .chiasm/index or where CHIASM_EMBEDDER_INDEX_URI says.
    """

    def specs_of(redis_url: str | None) -> list[ServiceSpec]:
        return local_stack(port, model, embedding_models, redis_url)

    raise typer.Exit(asyncio.run(_run(specs_of, ready_file, log_dir)))


def local_stack(port: int, model: str, embedding_models: str, redis_url: str | None) -> list[ServiceSpec]:
    """PaliGemma with the checkpoint `model`, Gemini, the embedder with checkpoints separated by commas, and a gateway
    on `port` (0 for a free one) that sends to them.

    `redis_url` is None where the services have been given one; it is for those that have not.
    """

    def redis(service: str) -> dict[str, str]:
        return {} if redis_url is None or has_redis(service) else {"CHIASM_REDIS_URL": redis_url}

    return [
        ServiceSpec("paligemma", "services.paligemma", environment={"CHIASM_PALIGEMMA_MODEL": model}),
        ServiceSpec("gemini_proxy", "services.gemini_proxy", environment=redis("gemini_proxy"), required=False),
        ServiceSpec(
            "embedder",
            "services.embedder",
            health="chiasm.v1.EmbeddingService",
            environment={"CHIASM_EMBEDDER_MODELS": embedding_models},
        ),
        ServiceSpec(
            "gateway",
            "services.gateway",
            port=port,
            environment=redis("gateway"),
            addresses={
                "CHIASM_GATEWAY_EMBEDDER_TARGETS": ("embedder",),
                "CHIASM_GATEWAY_TARGETS": ("paligemma", "gemini_proxy"),
                "CHIASM_GATEWAY_USAGE_TARGET": ("gemini_proxy",),
            },
        ),
    ]


async def _run(specs_of: Callable[[str | None], list[ServiceSpec]], ready_file: Path | None, log_dir: Path) -> int:
    """Runs the services, made for the URL of the stack's own Redis, if any, until a signal or a death; returns the
    command's exit code."""
    view = View()
    stopping = _stopping_on_signals()
    stack: Stack | None = None
    try:
        async with _own_redis() as valkey:
            stack = Stack(specs_of(valkey and valkey.url), log_dir=log_dir, on_change=view.changed)
            with view.live(stack), _announcement(ready_file) as announce:
                async with stack:
                    deaths = [valkey.wait_death()] if valkey else []
                    await _first(stopping.wait(), _serve(stack, view, announce), *deaths)
    except ServiceDied as death:
        print(f"chiasm: {death}; the end of {death.log_file}:\n{death.log_tail}", file=sys.stderr)
        return 1
    except (OSError, TimeoutError) as error:
        print(f"chiasm: {error}; see {log_dir}", file=sys.stderr)
        return 1
    except asyncio.CancelledError:
        print("chiasm: killed before it was drained", file=sys.stderr)
        return INTERRUPTED
    broken = [s for s in stack.services.values() if s.returncode not in (None, 0, -signal.SIGTERM)]
    for service in broken:
        print(f"chiasm: not a clean end: {service.death()}; see {service.log_file}", file=sys.stderr)
    return 1 if broken else 0


@asynccontextmanager
async def _own_redis() -> AsyncIterator[OwnValkey | None]:
    """A server of the stack's own; None where one is given."""
    if has_redis("gemini_proxy") and has_redis("gateway"):
        yield None
    else:
        async with own_valkey(VALKEY_FOLDER) as valkey:
            yield valkey


async def _serve(stack: Stack, view: View, announce: Callable[[str], None]) -> None:
    """Runs until a service dies; raises what `Stack.wait_ready` and `Stack.wait_death` raise."""
    await stack.wait_ready(START_TIMEOUT_S)
    address = stack.services["gateway"].address
    announce(address)
    named = "" if address == DEFAULT_ADDRESS else f" --address {address}"
    view.say(f'ready: try `chiasm ask IMAGE "QUESTION"{named}`; Ctrl-C stops it')
    await stack.wait_death()


def _stopping_on_signals() -> asyncio.Event:
    """Set by the first SIGINT or SIGTERM; a second one cancels the current task, and with it the draining."""
    stopping, main, loop = asyncio.Event(), asyncio.current_task(), asyncio.get_running_loop()

    def stop() -> None:
        if stopping.is_set() and main:
            main.cancel()
        stopping.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop)
    return stopping


@contextmanager
def _announcement(ready_file: Path | None) -> Iterator[Callable[[str], None]]:
    """Writes an address to `ready_file`, whole or not at all; the file is gone before and after."""

    def announce(address: str) -> None:
        if ready_file:
            part = ready_file.with_name(f"{ready_file.name}.part")
            part.write_text(f"{address}\n")
            part.replace(ready_file)

    def clear() -> None:
        if ready_file:
            ready_file.unlink(missing_ok=True)

    clear()
    try:
        yield announce
    finally:
        clear()


async def _first(*steps: Coroutine[Any, Any, object]) -> None:
    """Runs steps until one of them ends, and raises what it raised."""
    tasks = [asyncio.create_task(step) for step in steps]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        await cancel(tasks)
