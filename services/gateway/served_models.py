"""What another server says that it serves."""

import grpc

from chiasm.v1 import models_pb2, models_pb2_grpc

LIST_TIMEOUT_S = 5.0
# Said by a server that is there, but has more to do than it can.
_BUSY = (grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.DEADLINE_EXCEEDED)


async def served_models(stub: models_pb2_grpc.ModelServiceStub) -> dict[str, models_pb2.Model]:
    """Every model that it lists, by name. Raises AioRpcError."""
    models: dict[str, models_pb2.Model] = {}
    request = models_pb2.ListModelsRequest()
    while True:
        page = await stub.ListModels(request, timeout=LIST_TIMEOUT_S)
        models |= {model.name: model for model in page.models}
        if not page.next_page_token:
            return models
        request.page_token = page.next_page_token


def only_busy(error: grpc.aio.AioRpcError) -> bool:
    """Whether a server that failed to list is there all the same."""
    return error.code() in _BUSY
