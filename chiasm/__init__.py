"""The Python client of Chiasm.

with chiasm.Client() as client:
    print(client.ask("picture.png", "what colour is the circle?").text)
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from chiasm.channel import Tls
    from chiasm.client import AnswerStream, AsyncAnswerStream, AsyncClient, Client
    from chiasm.errors import (
        Cancelled,
        ChiasmError,
        DeadlineExceeded,
        FailedPrecondition,
        Internal,
        InvalidArgument,
        NotFound,
        Overloaded,
        PermissionDenied,
        Unauthenticated,
        Unavailable,
    )
    from chiasm.options import Options, Task, TextPurpose
    from chiasm.results import (
        Answer,
        Attempt,
        Box,
        Delta,
        Detection,
        Embedding,
        EmbeddingInfo,
        Embeddings,
        Event,
        Finished,
        Mask,
        ModelInfo,
        Route,
        Started,
        Superseded,
        Usage,
    )
    from chiasm.routes import ConsideredModel, RouteExplanation
    from chiasm.usage import (
        Budget,
        LedgerEntry,
        Reconciliation,
        UsageFilter,
        UsageGroup,
        UsageRow,
        UsageSums,
    )

__all__ = [
    "Answer",
    "AnswerStream",
    "AsyncAnswerStream",
    "AsyncClient",
    "Attempt",
    "Box",
    "Budget",
    "Cancelled",
    "ChiasmError",
    "Client",
    "ConsideredModel",
    "DeadlineExceeded",
    "Delta",
    "Detection",
    "Embedding",
    "EmbeddingInfo",
    "Embeddings",
    "Event",
    "FailedPrecondition",
    "Finished",
    "Internal",
    "InvalidArgument",
    "LedgerEntry",
    "Mask",
    "ModelInfo",
    "NotFound",
    "Options",
    "Overloaded",
    "PermissionDenied",
    "Reconciliation",
    "Route",
    "RouteExplanation",
    "Started",
    "Superseded",
    "Task",
    "TextPurpose",
    "Tls",
    "Unauthenticated",
    "Unavailable",
    "Usage",
    "UsageFilter",
    "UsageGroup",
    "UsageRow",
    "UsageSums",
]


def __getattr__(name: str) -> object:
    """Loads the client when it is first used (PEP 562): whoever wants `chiasm.v1` alone needs none of it."""
    if name in __all__:
        for home in ("options", "results", "routes", "usage", "errors", "channel", "client"):
            module = import_module(f"chiasm.{home}")
            if hasattr(module, name):
                return getattr(module, name)
    raise AttributeError(f"module 'chiasm' has no attribute '{name}'")
