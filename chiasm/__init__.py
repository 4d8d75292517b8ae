"""The Python client of Chiasm.

with chiasm.Client() as client:
    print(client.ask("picture.png", "what colour is the circle?").text)
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from chiasm.channel import Tls
    from chiasm.classification import Classification, LabelMode, LabelScore
    from chiasm.client import AnswerStream, AsyncAnswerStream, AsyncClient, Client
    from chiasm.errors import (
        AlreadyExists,
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
    from chiasm.options import EmbedItem, Options, Task, TextPurpose
    from chiasm.results import (
        Answer,
        Attempt,
        Box,
        Delta,
        Detection,
        Embedded,
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
    from chiasm.search import (
        Citation,
        CitedAnswer,
        Collection,
        Comparison,
        Condition,
        Document,
        DroppedCitation,
        FieldType,
        Hit,
        Indexed,
        IndexState,
        Precision,
        SearchMode,
        SearchResult,
        WordMatch,
    )
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
    "AlreadyExists",
    "Answer",
    "AnswerStream",
    "AsyncAnswerStream",
    "AsyncClient",
    "Attempt",
    "Box",
    "Budget",
    "Cancelled",
    "ChiasmError",
    "Citation",
    "CitedAnswer",
    "Classification",
    "Client",
    "Collection",
    "Comparison",
    "Condition",
    "ConsideredModel",
    "DeadlineExceeded",
    "Delta",
    "Detection",
    "Document",
    "DroppedCitation",
    "EmbedItem",
    "Embedded",
    "Embedding",
    "EmbeddingInfo",
    "Embeddings",
    "Event",
    "FailedPrecondition",
    "FieldType",
    "Finished",
    "Hit",
    "IndexState",
    "Indexed",
    "Internal",
    "InvalidArgument",
    "LabelMode",
    "LabelScore",
    "LedgerEntry",
    "Mask",
    "ModelInfo",
    "NotFound",
    "Options",
    "Overloaded",
    "PermissionDenied",
    "Precision",
    "Reconciliation",
    "Route",
    "RouteExplanation",
    "SearchMode",
    "SearchResult",
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
    "WordMatch",
]


def __getattr__(name: str) -> object:
    """Loads the client when it is first used (PEP 562): whoever wants `chiasm.v1` alone needs none of it."""
    if name in __all__:
        for home in (
            "options",
            "results",
            "routes",
            "search",
            "classification",
            "usage",
            "errors",
            "channel",
            "client",
        ):
            module = import_module(f"chiasm.{home}")
            if hasattr(module, name):
                return getattr(module, name)
    raise AttributeError(f"module 'chiasm' has no attribute '{name}'")
