"""Keys and signed addresses stay where they are used: not in logs, spans, metrics, errors or representations."""

import json
import logging
from pathlib import Path

import grpc
import pytest
from pydantic import SecretStr, ValidationError

from chiasm.command.service_process import ServiceSpec
from chiasm.command.stack import Stack
from chiasm.v1 import generation_pb2 as pb
from chiasm.v1 import generation_pb2_grpc
from services.gemini_proxy.config import GeminiSettings, MemberSettings
from services.gemini_proxy.pool import Pool
from services.runtime.config import BadSetting
from tests.gemini.config import Project, default_config
from tests.gemini.server import emulator
from tests.gemini_proxy.serving import directed, failure_of, proxy, question
from tests.otlp_receiver import OtlpReceiver, ReceivedSpan

KEY = "AIza-the-key-of-this-test-0123456789"
PASSWORD = "hunter2-of-this-test"
SIGNATURE = "sig-0123456789-of-this-test"
SECRETS = (KEY, PASSWORD, SIGNATURE)
CONFIG = default_config(projects={"test": Project((KEY,))})

FAULTS = [
    {"kind": "error", "code": 400},
    {"kind": "error", "code": 403},
    {"kind": "error", "code": 500},
    {"kind": "malformed_event"},
    {"kind": "cut"},
    {"kind": "no_finish"},
    {"kind": "error", "code": 429, "retry_delay_s": 30},
]


async def session(stub: generation_pb2_grpc.GenerationServiceStub) -> list[str]:
    """Calls that end well and in every other way; what was sent of their statuses."""
    await stub.Generate(question("x"))
    signed = question("What is it?")
    media = {"uri": f"https://example.test/a.pdf?signature={SIGNATURE}", "mime_type": "application/pdf"}
    signed.messages[0].parts.append(pb.Part(media=media))
    failures = [await failure_of(stub.Generate(signed))]
    failures += [
        await failure_of(stub.StreamGenerate(question(directed(answer_tokens=9, fault=fault)), timeout=10))
        for fault in FAULTS
    ]
    return [failure.raw for failure in failures]


def with_password(redis_url: str) -> str:
    """A server without users takes any password."""
    return redis_url.replace("redis://", f"redis://default:{PASSWORD}@")


def assert_no_secret(text: str) -> None:
    assert text
    for secret in SECRETS:
        assert secret not in text


async def test_no_secret_is_in_the_logs_or_the_errors(
    tmp_path: Path, redis_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    members, models = {"main": {"api_key": KEY}}, ("gemini-3.8-flash", "gemini-3.5-flash-lite")
    async with proxy(tmp_path, with_password(redis_url), CONFIG, members=members, models=models) as served:
        told = await session(served.stub)
        await served.gemini.stop()
        request = question("x")
        request.model = "models/gemini-3.5-flash-lite"  # nothing was refused for it
        gone = await failure_of(served.stub.Generate(request, timeout=5))
        assert gone.reason == "PROVIDER_FAILED"
        told.append(gone.raw)
    assert_no_secret("\n".join(told))
    assert_no_secret(caplog.text)
    assert {record.levelname for record in caplog.records} >= {"DEBUG", "INFO"}


async def test_no_secret_leaves_the_process_in_spans_metrics_or_logs(tmp_path: Path, redis_url: str) -> None:
    async with OtlpReceiver() as receiver, emulator(CONFIG) as gemini:
        environment = {
            "CHIASM_GEMINI_PROXY_API_KEY": KEY,
            "CHIASM_GEMINI_PROXY_BASE_URL": gemini.base_url,
            "CHIASM_GEMINI_PROXY_MODELS": "gemini-3.8-flash",
            "CHIASM_GEMINI_PROXY_REDIS_URL": with_password(redis_url),
            "CHIASM_GEMINI_PROXY_SPOOL_FILE": str(tmp_path / "spool.jsonl"),
            "CHIASM_GEMINI_PROXY_BOOKS_TIMEOUT_S": "5",
            "CHIASM_LOG_LEVEL": "DEBUG",
            "CHIASM_OTLP_ENDPOINT": receiver.endpoint,
        }
        spec = ServiceSpec("gemini_proxy", "services.gemini_proxy", environment=environment)
        async with Stack([spec], log_dir=tmp_path / "logs") as stack:
            await stack.wait_ready(60)
            async with grpc.aio.insecure_channel(stack.services["gemini_proxy"].address) as channel:
                told = await session(generation_pb2_grpc.GenerationServiceStub(channel))
        spans = await receiver.wait_for(lambda spans: len(attempts(spans)) >= 1 + len(FAULTS), 30)
    log = (tmp_path / "logs" / "gemini_proxy.log").read_text()
    assert_no_secret("\n".join(told))
    assert_no_secret(log)
    assert_no_secret(repr(spans))
    assert "DEBUG" in {json.loads(line)["severity"] for line in log.splitlines() if line.startswith("{")}


def attempts(spans: list[ReceivedSpan]) -> list[ReceivedSpan]:
    return [span for span in spans if span.name == "generate_content gemini-3.8-flash"]


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_key_that_is_no_key_is_told_to_the_operator_and_not_shown(
    tmp_path: Path, redis_url: str, streamed: bool, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with proxy(tmp_path, redis_url, members={"main": {"api_key": KEY}}) as served:
        call = served.stub.StreamGenerate if streamed else served.stub.Generate
        denied = await failure_of(call(question("x")))
        assert await served.cost() == 0
    assert (denied.code, denied.reason) == ("FAILED_PRECONDITION", "PROVIDER_DENIED")
    assert_no_secret(denied.raw)
    assert_no_secret(caplog.text)


async def test_representations_hold_no_secret() -> None:
    member = MemberSettings(name="main", api_key=SecretStr(KEY))
    alone = GeminiSettings(api_key=SecretStr(KEY), redis_url=SecretStr(with_password("redis://somewhere")))
    settings = GeminiSettings(members=(member,))
    pool = Pool(settings)
    await pool.start()
    try:
        provider = pool["main"]
        for thing in (member, alone, alone.pool, settings, pool, provider, provider.client, vars(pool), vars(provider)):
            for text in (repr(thing), str(thing)):
                assert_no_secret(text)
    finally:
        await pool.close()
    assert_no_secret(alone.model_dump_json())


def test_bad_settings_are_told_without_their_values() -> None:
    with pytest.raises(ValidationError) as caught:
        GeminiSettings(members=[{"name": "no name", "api_key": KEY, "limits": {"*": {"unknown": 1}}}])
    assert_no_secret(str(caught.value))


async def test_a_key_may_lie_in_a_file_of_its_own(tmp_path: Path, redis_url: str) -> None:
    file = tmp_path / "key"
    file.write_text(f"{KEY}\n")
    member = {"api_key": None, "api_key_file": file}
    async with proxy(tmp_path, redis_url, CONFIG, members={"main": member}) as served:
        assert (await served.stub.Generate(question("x"))).text


@pytest.mark.parametrize("content", [None, "", f"GEMINI_KEY = {KEY}\n", f"{KEY}\n{KEY}\n"])
async def test_a_file_that_holds_no_key_alone_is_told_by_its_name(tmp_path: Path, content: str | None) -> None:
    file = tmp_path / "key"
    if content is not None:
        file.write_text(content)
    pool = Pool(GeminiSettings(members=(MemberSettings(name="main", api_key_file=file),)))
    with pytest.raises(BadSetting) as caught:
        await pool.start()
    await pool.close()
    assert str(file) in str(caught.value)
    assert_no_secret(str(caught.value))
