import logging

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from chiasm.v1 import generation_pb2_grpc
from chiasm.v1.errors_pb2 import ERROR_REASON_MESSAGE_SIZE, ERROR_REASON_OVERLOADED
from services.runtime import errors
from services.runtime.boundary import Upstream
from tests.runtime.echo import ask


def details(error: grpc.aio.AioRpcError) -> dict[str, object]:
    """The status's details by the name of their type."""
    found = {}
    for detail in rpc_status.from_call(error).details:
        kind = getattr(error_details_pb2, detail.TypeName().rpartition(".")[2])
        found[kind.__name__] = message = kind()
        assert detail.Unpack(message)
    return found


async def failure(stub: generation_pb2_grpc.GenerationServiceStub, text: str, stream: bool = False) -> grpc.RpcError:
    call = stub.StreamGenerate(ask(text), timeout=10) if stream else stub.Generate(ask(text), timeout=10)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await (_consume(call) if stream else call)
    return caught.value


async def _consume(call: grpc.aio.UnaryStreamCall) -> None:
    async for _ in call:
        pass


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("text", "code", "reason", "retry_after_s"),
    [
        ("invalid", "INVALID_ARGUMENT", "FIELD_INVALID", None),
        ("not-found", "NOT_FOUND", "MODEL_NOT_FOUND", None),
        ("precondition", "FAILED_PRECONDITION", "WEIGHTS_MISSING", None),
        ("deadline", "DEADLINE_EXCEEDED", "DEADLINE", None),
        ("overloaded", "RESOURCE_EXHAUSTED", "OVERLOADED", 2.5),
        ("unavailable", "UNAVAILABLE", "ENGINE_FAILED", 1.0),
        ("cancelled", "CANCELLED", "CANCELLED", None),
        ("within", "DEADLINE_EXCEEDED", "DEADLINE", None),
    ],
)
async def test_each_error_has_its_code_and_details(serving, text, code, reason, retry_after_s, stream):
    async with serving() as served:
        error = await failure(served.stub, text, stream)
    found = details(error)
    assert error.code().name == code
    assert (found["ErrorInfo"].domain, found["ErrorInfo"].reason) == ("chiasm", reason)
    assert ("RetryInfo" in found) == (retry_after_s is not None)
    if retry_after_s is not None:
        assert found["RetryInfo"].retry_delay.ToTimedelta().total_seconds() == retry_after_s


async def test_a_bad_field_is_named_and_metadata_travels(serving):
    async with serving() as served:
        bad_field, not_found = await failure(served.stub, "invalid"), await failure(served.stub, "not-found")
    (violation,) = details(bad_field)["BadRequest"].field_violations
    assert (violation.field, violation.description, violation.reason) == ("messages[0]", "too short", "FIELD_INVALID")
    assert details(not_found)["ErrorInfo"].metadata == {"model": "models/x"}


@pytest.mark.parametrize("text", ["unknown", "internal"])
async def test_a_fault_is_opaque_and_its_correlation_id_finds_it_in_the_log(serving, caplog, text):
    async with serving() as served:
        error = await failure(served.stub, text)
    correlation_id = details(error)["ErrorInfo"].metadata["correlation_id"]
    assert error.code() is grpc.StatusCode.INTERNAL
    assert error.details() == f"internal error; correlation id {correlation_id}"
    assert "hunter2" not in str(error) + str(error.trailing_metadata())
    (record,) = [record for record in caplog.records if getattr(record, "correlation_id", None) == correlation_id]
    assert record.levelno == logging.ERROR
    assert "hunter2" in str(record.exc_info[1])


async def test_an_abort_of_the_handlers_own_passes(serving):
    async with serving() as served:
        error = await failure(served.stub, "abort")
    assert (error.code(), error.details()) == (grpc.StatusCode.OUT_OF_RANGE, "mine")


async def test_a_very_long_message_still_arrives(serving):
    async with serving() as served:
        error = await failure(served.stub, "long")
    assert error.code() is grpc.StatusCode.NOT_FOUND
    assert len(error.details()) == errors.MAX_MESSAGE_CHARACTERS


async def test_an_unserved_method_is_unimplemented(serving):
    async with serving() as served:
        unserved = served.channel.unary_unary("/chiasm.v1.ModelService/GetModel")
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await unserved(b"")
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_a_status_of_chiasm_passes_through_unchanged(serving, spawning):
    async with spawning() as upstream, serving(upstream=upstream.address) as served:
        error = await failure(served.stub, "forward-invalid")
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert details(error)["BadRequest"].field_violations[0].field == "messages[0]"


async def test_an_upstream_that_cannot_be_reached_is_unavailable_and_not_named(serving):
    async with serving(upstream="127.0.0.1:1") as served:
        error = await failure(served.stub, "forward")
    assert error.code() is grpc.StatusCode.UNAVAILABLE
    assert details(error)["ErrorInfo"].reason == "MODEL_UNAVAILABLE"
    assert "127.0.0.1" not in error.details()


async def test_a_foreign_status_from_upstream_is_an_opaque_fault(serving, spawning):
    async with spawning() as upstream, serving(upstream=upstream.address) as served:
        error = await failure(served.stub, "forward-unknown-method")
    assert error.code() is grpc.StatusCode.INTERNAL
    assert "correlation_id" in details(error)["ErrorInfo"].metadata


@pytest.mark.parametrize(
    ("text", "code", "says", "retry_after_s"),
    [
        ("SERVER: Received message larger than max (5242900 vs. 4194304)", "INVALID_ARGUMENT", "5,242,900 bytes", None),
        ("CLIENT: Sent message larger than max (9 vs. 8)", "INVALID_ARGUMENT", "at most 8 are taken", None),
        ("Decompressed message larger than max", "INVALID_ARGUMENT", "larger than the server behind takes", None),
        ("Concurrent RPC limit exceeded! at 10.0.0.7", "RESOURCE_EXHAUSTED", "as many calls as it takes", 1.0),
    ],
)
def test_what_grpc_itself_refuses_is_too_large_or_too_much(
    text: str, code: str, says: str, retry_after_s: float | None
) -> None:
    """Its own code is the same for both."""
    none = grpc.aio.Metadata()
    told = Upstream(grpc.aio.AioRpcError(grpc.StatusCode.RESOURCE_EXHAUSTED, none, none, details=text))
    assert (told.code.name, told.retry_after_s) == (code, retry_after_s)
    assert says in told.message
    assert "10.0.0.7" not in told.message
    expected = ERROR_REASON_OVERLOADED if retry_after_s else ERROR_REASON_MESSAGE_SIZE
    assert told.reason == expected


def test_a_stream_whose_status_grpc_has_lost_may_be_tried_again() -> None:
    none = grpc.aio.Metadata()
    lost = Upstream(grpc.aio.AioRpcError(grpc.StatusCode.INTERNAL, none, none, details="Internal error from Core"))
    assert (lost.code, lost.retry_after_s) == (grpc.StatusCode.UNAVAILABLE, 1.0)
    other = Upstream(grpc.aio.AioRpcError(grpc.StatusCode.INTERNAL, none, none, details="10.0.0.7 is broken"))
    assert other.code is grpc.StatusCode.INTERNAL
