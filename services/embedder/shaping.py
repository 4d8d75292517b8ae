"""How vectors travel: pooled, and stored in fewer bits."""

from dataclasses import dataclass

from services.embedder.models.model import Facts, Vectors
from services.embedder.vectors.pooling import pool
from services.embedder.vectors.precision import Precision, Quantized, quantize
from services.runtime.errors import InvalidArgument

_BITS = {Precision.FLOAT32: 32, Precision.FLOAT16: 16, Precision.INT8: 8, Precision.BINARY: 1}
_SCALE_BYTES = 4


@dataclass(frozen=True)
class Shaping:
    """What is made of a model's vectors."""

    precision: Precision = Precision.FLOAT32
    pool_factor: int = 1
    """How many of a page's vectors become one, 1 to 16."""

    def check(self, facts: Facts) -> None:
        """Raises InvalidArgument naming `vectors.pool_factor` where the model has nothing to pool."""
        if self.pool_factor > 1 and not facts.late_interaction:
            raise InvalidArgument("the model gives an item one vector alone", field="vectors.pool_factor")

    def apply(self, vectors: Vectors, *, found: bool) -> Quantized:
        """Of one item, which is `found` or searches; what searches is not pooled."""
        pooled = pool(vectors, self.pool_factor) if found and self.pool_factor > 1 else vectors
        return quantize(pooled, self.precision)

    def size(self, vectors: int, facts: Facts, *, found: bool) -> int:
        """Bytes that `apply` makes of so many vectors."""
        kept = -(-vectors // self.pool_factor) if found else vectors
        scale = _SCALE_BYTES if self.precision is Precision.INT8 else 0
        return kept * (-(-facts.dimensions * _BITS[self.precision] // 8) + scale)
