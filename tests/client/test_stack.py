"""The stack, with dummy services as real processes."""

import asyncio
import os
import select
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import redis.asyncio

from chiasm.command.service_process import ServiceDied, ServiceSpec, State
from chiasm.command.stack import Stack

from .conftest import end, start_command

HERE = Path(__file__).parent


class Yard:
    """A folder for a test's services."""

    def __init__(self, folder: Path) -> None:
        self.logs = folder / "logs"
        self._journal = folder / "journal"

    def spec(self, name: str, *, after: str = "", **variables: str) -> ServiceSpec:
        return ServiceSpec(
            name,
            "dummy_service",
            environment={"DUMMY_NAME": name, "DUMMY_JOURNAL": str(self._journal), "PYTHONPATH": str(HERE), **variables},
            addresses={"DUMMY_PEER": (after,)} if after else {},
        )

    def journal(self) -> list[str]:
        return self._journal.read_text().splitlines() if self._journal.exists() else []


@pytest.fixture
def yard(tmp_path: Path) -> Yard:
    return Yard(tmp_path)


async def test_services_start_together_and_stop_the_last_first(yard: Yard) -> None:
    states: list[tuple[str, State]] = []
    specs = [yard.spec("model"), yard.spec("front", after="model")]
    stack = Stack(specs, log_dir=yard.logs, on_change=lambda service: states.append((service.spec.name, service.state)))
    async with stack:
        await stack.wait_ready(30)
        model, front = stack.services.values()
        assert model.state is front.state is State.READY
        assert 0 < front.seconds < 30
        assert model.last_lines(1) == ['{"level": "INFO", "message": "all is well"}']
        pids = [service.pid for service in (model, front)]
    assert yard.journal() == ["model starts", f"front starts {model.address}", "front ends", "model ends"]
    assert [state for name, state in states if name == "front"] == [
        State.STARTING,
        State.LOADING,
        State.READY,
        State.DRAINING,
        State.STOPPED,
    ]
    assert model.returncode == front.returncode == 0
    assert not any(_group_lives(pid) for pid in pids)


async def test_a_slow_service_is_waited_for(yard: Yard, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    async with Stack([yard.spec("model", DUMMY_GATE=str(gate))], log_dir=yard.logs) as stack:
        with pytest.raises(TimeoutError, match=r"not ready after 0\.1 s: model"):
            await stack.wait_ready(0.1)
        await asyncio.to_thread(gate.write_text, "go")
        await stack.wait_ready(30)


async def test_a_service_that_dies_at_its_start_is_told(yard: Yard) -> None:
    specs = [yard.spec("model"), yard.spec("front", DUMMY_CRASH="no such checkpoint")]
    with pytest.raises(ServiceDied, match="front ended with exit code 3") as caught:
        async with Stack(specs, log_dir=yard.logs) as stack:
            await stack.wait_ready(30)
    assert caught.value.log_tail == "no such checkpoint"
    assert not _group_lives(stack.services["model"].pid)


async def test_a_service_that_need_not_be_ready_may_not_die_either(yard: Yard) -> None:
    optional = replace(yard.spec("model", DUMMY_CRASH="no such Redis"), required=False)
    with pytest.raises(ServiceDied, match="model ended with exit code 3") as caught:
        async with Stack([optional, yard.spec("front", after="model")], log_dir=yard.logs) as stack:
            await stack.wait_ready(30)
    assert caught.value.log_tail == "no such Redis"


async def test_a_service_that_need_not_be_ready_is_not_waited_for(yard: Yard, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    optional = replace(yard.spec("model", DUMMY_GATE=str(gate)), required=False)
    async with Stack([optional, yard.spec("front", after="model")], log_dir=yard.logs) as stack:
        await stack.wait_ready(30)
        assert stack.services["model"].state is State.STANDBY
        await asyncio.to_thread(gate.write_text, "go")


async def test_a_service_that_dies_later_is_told(yard: Yard) -> None:
    async with Stack([yard.spec("model"), yard.spec("front")], log_dir=yard.logs) as stack, asyncio.timeout(30):
        await stack.wait_ready()
        os.kill(stack.services["model"].pid or 0, signal.SIGKILL)
        with pytest.raises(ServiceDied, match="model ended by SIGKILL"):
            await stack.wait_death()
    assert yard.journal()[-1] == "front ends"


async def test_a_deaf_service_and_its_children_are_killed(yard: Yard) -> None:
    spec = yard.spec("model", DUMMY_DEAF="1", DUMMY_CHILD="1")
    async with Stack([spec], log_dir=yard.logs, drain_timeout_s=0.2) as stack:
        await stack.wait_ready(30)
        child = int(next(line for line in yard.journal() if "child" in line).split()[-1])
        ended = _end_of(child)
    assert stack.services["model"].returncode == -signal.SIGKILL
    await asyncio.to_thread(ended)


async def test_stopping_a_stack_that_is_starting_leaves_nothing(yard: Yard) -> None:
    async with Stack([yard.spec("model"), yard.spec("front", after="model")], log_dir=yard.logs) as stack:
        pass
    assert not any(_group_lives(service.pid) for service in stack.services.values())


def test_a_spec_hides_its_environment() -> None:
    assert "secret" not in repr(ServiceSpec("a", "b", environment={"KEY": "secret"}))


async def test_up_announces_itself_and_drains_on_ctrl_c(tmp_path: Path) -> None:
    ready_file = tmp_path / "ready"
    models = ("--model", "some/model", "--embedding-models", "some/embeddings")
    process = await _up(tmp_path, "--ready-file", str(ready_file), *models)
    assert process.stdout
    lines = []
    async with asyncio.timeout(60):
        while not (lines and lines[-1].startswith("ready: ")):
            lines.append((await process.stdout.readline()).decode().rstrip())
    address = _text(ready_file)
    assert any(line.startswith(f"gateway: ready at {address} after ") for line in lines)
    assert f"--address {address}" in lines[-1]
    process.send_signal(signal.SIGINT)
    ended = await end(process)
    assert (ended.code, ended.err) == (0, "")
    order = ("gateway", "embedder", "gemini_proxy", "paligemma")
    stopped = [f"{name}: {state}" for name in order for state in ("draining", "stopped")]
    assert [line for line in ended.out.splitlines() if not line.startswith("gemini_proxy: ready")] == stopped
    journal = _text(tmp_path / "journal").splitlines()
    assert "paligemma starts some/model" in journal[:3]
    assert "embedder starts some/embeddings" in journal[:3]
    assert any(line.startswith("gemini_proxy starts unix://") for line in journal[:3])
    assert journal[3].startswith("gateway starts 127.0.0.1:")
    assert journal[3].count(",127.0.0.1:") == 2
    assert journal[4:] == ["gateway ends", "embedder ends", "gemini_proxy ends", "paligemma ends"]
    assert _text(ready_file) == ""


async def test_up_tells_which_service_died(tmp_path: Path) -> None:
    crash = {"DUMMY_CRASH": "no such checkpoint", "DUMMY_CRASH_OF": "paligemma"}
    ended = await end(await _up(tmp_path, "--log-dir", str(tmp_path / "logs"), **crash))
    assert ended.code == 1
    assert ended.err == (
        f"chiasm: paligemma ended with exit code 3; the end of {tmp_path / 'logs' / 'paligemma.log'}:\n"
        "no such checkpoint\n"
    )


async def test_up_tells_that_its_own_redis_died(tmp_path: Path) -> None:
    process = await _up(tmp_path)
    await _until_ready(process)
    (started,) = [line for line in _text(tmp_path / "journal").splitlines() if "unix://" in line]
    async with redis.asyncio.Redis.from_url(started.split()[-1]) as client:
        os.kill((await client.info("server"))["process_id"], signal.SIGKILL)
    ended = await end(process)
    assert ended.code == 1
    assert ended.err.startswith("chiasm: valkey ended by SIGKILL; the end of ")


@pytest.mark.parametrize("given", ["CHIASM_REDIS_URL", "CHIASM_CONFIG_FILE"])
async def test_up_leaves_the_redis_that_its_services_are_given(tmp_path: Path, given: str) -> None:
    config = tmp_path / "chiasm.toml"
    config.write_text('redis_url = "redis://there"\n')
    process = await _up(tmp_path, **{given: str(config) if given == "CHIASM_CONFIG_FILE" else "redis://there"})
    await _until_ready(process)
    process.send_signal(signal.SIGINT)
    assert (await end(process)).code == 0
    journal = _text(tmp_path / "journal")
    assert "gemini_proxy starts" in journal
    assert "unix://" not in journal
    assert not (tmp_path / ".chiasm" / "valkey").exists()


async def test_services_end_when_up_is_killed(tmp_path: Path) -> None:
    process = await _up(tmp_path, DUMMY_TELL_PID="1")
    await _until_ready(process)
    pids = [int(line.split()[-1]) for line in _text(tmp_path / "journal").splitlines() if " pid " in line]
    ends = [_end_of(pid) for pid in pids]
    assert len(ends) == 4
    process.kill()
    await end(process)
    for ended in ends:
        await asyncio.to_thread(ended)


async def _up(folder: Path, *arguments: str, **variables: str) -> asyncio.subprocess.Process:
    """`chiasm up` in a folder whose `services` are dummies."""
    services = folder / "services"
    services.mkdir()
    (services / "__init__.py").touch()
    peers = {
        "paligemma": ["CHIASM_PALIGEMMA_MODEL"],
        "gemini_proxy": ["CHIASM_REDIS_URL"],
        "embedder": ["CHIASM_EMBEDDER_MODELS"],
        "gateway": ["CHIASM_GATEWAY_TARGETS", "CHIASM_GATEWAY_EMBEDDER_TARGETS"],
    }
    for name, variables_of in peers.items():
        told = f"','.join(os.environ.get(name, '') for name in {variables_of})"
        (services / f"{name}.py").write_text(
            "import os, runpy, sys\n"
            f"os.environ |= {{'DUMMY_NAME': '{name}', 'DUMMY_PEER': {told}}}\n"
            f"sys.path.append({str(HERE)!r})\n"
            "runpy.run_module('dummy_service', run_name='__main__')\n"
        )
    variables = {"DUMMY_JOURNAL": str(folder / "journal"), **variables}
    return await start_command("up", "--port", "0", *arguments, cwd=folder, **variables)


async def _until_ready(process: asyncio.subprocess.Process) -> None:
    assert process.stdout
    async with asyncio.timeout(60):
        while not (await process.stdout.readline()).startswith(b"ready: "):
            assert not process.stdout.at_eof()


def _text(file: Path) -> str:
    return file.read_text().strip() if file.exists() else ""


def _group_lives(pid: int | None) -> bool:
    if pid is None:
        return False
    try:
        os.killpg(pid, 0)
    except ProcessLookupError:
        return False
    return True


def _end_of(pid: int) -> Callable[[], None]:
    """Waits, when called, until the process that `pid` names now has ended; fails after 20 s."""
    handle = os.pidfd_open(pid)

    def wait() -> None:
        try:
            assert select.select([handle], [], [], 20)[0], f"process {pid} still runs"
        finally:
            os.close(handle)

    return wait
