"""Some of a table's rows, chosen by chance."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from lancedb import AsyncTable


async def sample(table: AsyncTable, columns: Sequence[str], rows: int, count: int) -> pa.Table:
    """`count` rows, or all, of a table that has so many `rows`. Raises what LanceDB raises."""
    offsets = np.random.default_rng().choice(rows, min(rows, count), replace=False)
    return await table.take_offsets(sorted(offsets.tolist())).select(list(columns)).to_arrow()
