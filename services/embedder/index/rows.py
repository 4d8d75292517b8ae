"""Entries as a table's rows, and back."""

import json
from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa

from services.embedder.index.entries import MAX_HIT_CHARACTERS, CollectionSpec, Entry, EntryKind, Hit
from services.embedder.index.fields import from_stored, to_stored
from services.embedder.index.schema import COARSE, COARSE_FACTOR, VECTOR, VECTORS, schema_of
from services.embedder.models.model import Vectors
from services.embedder.vectors.pooling import pool
from services.embedder.vectors.precision import Precision, Quantized, quantize, restore
from services.runtime.errors import Internal

FACTS = "facts"
"""What a hit is made of, and before it the vector where an entry has one, in one value: an object store is asked once,
and not once a column."""

_ROWS_AT_ONCE = 16


def rows_of(entries: Sequence[Entry], spec: CollectionSpec) -> pa.Table:
    """All of one document. Raises Internal where vectors are not as the spec has them."""
    schema = schema_of(spec)

    def table(some: Sequence[Entry]) -> pa.Table:
        return pa.Table.from_pylist([_row(entry, len(entries), spec) for entry in some], schema=schema)

    # A row takes more than what it is made of and what the table keeps of it: few at once.
    return pa.concat_tables(table(entries[i : i + _ROWS_AT_ONCE]) for i in range(0, len(entries), _ROWS_AT_ONCE))


def absent_rows(absent: Sequence[tuple[str, int]], spec: CollectionSpec) -> pa.Table:
    """A row without content for each document and part: no search finds it."""
    rows = [{"document_id": document_id, "part": part} for document_id, part in absent]
    return pa.Table.from_pylist(rows, schema=schema_of(spec))


def hit_of(row: Mapping[str, object], score: float, spec: CollectionSpec) -> Hit:
    told = row[FACTS]
    facts = json.loads(told if spec.late_interaction else told[packed_bytes(spec) :])
    types = {field.name: field.type for field in spec.fields}
    return Hit(
        document_id=facts["document_id"],
        part=facts["part"],
        kind=EntryKind(facts["kind"]),
        score=score,
        text=facts["text"],
        metadata={name: from_stored(value, types[name]) for name, value in facts["metadata"].items()},
        page=facts["page"],
        start_s=facts["start_s"],
        end_s=facts["end_s"],
        picture=row.get("picture"),
        width=facts["width"],
        height=facts["height"],
    )


def vectors_of(facts: Sequence[bytes], spec: CollectionSpec) -> Vectors:
    """[entries, dimensions] of entries that have one vector each."""
    size = packed_bytes(spec)
    packed = b"".join([told[:size] for told in facts])
    return restore(_quantized(packed, spec), spec.precision, spec.dimensions)


def packed_bytes(spec: CollectionSpec) -> int:
    """That one vector takes when it is packed."""
    match spec.precision:
        case Precision.BINARY:
            return -(-spec.dimensions // 8)
        case Precision.INT8:
            return spec.dimensions + 4
        case Precision.FLOAT16:
            return 2 * spec.dimensions
        case Precision.FLOAT32:
            return 4 * spec.dimensions


def pack(vectors: Vectors, precision: Precision) -> bytes:
    """[vectors, dimensions] as they are kept: the numbers, then the scales where there are."""
    quantized = quantize(vectors, precision)
    scales = b"" if quantized.scales is None else quantized.scales.astype("<f4").tobytes()
    return np.ascontiguousarray(quantized.numbers).tobytes() + scales


def unpack(packed: Sequence[bytes], spec: CollectionSpec) -> tuple[Vectors, np.ndarray]:
    """Several entries' vectors one after the other, [vectors, dimensions], and where each entry's begin."""
    parts = [_quantized(each, spec) for each in packed]
    scales = None
    if spec.precision is Precision.INT8:
        scales = np.concatenate([part.scales for part in parts])
    together = Quantized(np.concatenate([part.numbers for part in parts]), scales)
    counts = [len(part.numbers) for part in parts]
    return restore(together, spec.precision, spec.dimensions), np.cumsum([0, *counts[:-1]])


def _quantized(packed: bytes, spec: CollectionSpec) -> Quantized:
    match spec.precision:
        case Precision.BINARY:
            return Quantized(np.frombuffer(packed, np.uint8).reshape(-1, packed_bytes(spec)))
        case Precision.INT8:
            count = len(packed) // packed_bytes(spec)
            numbers = np.frombuffer(packed, np.int8, count * spec.dimensions).reshape(count, -1)
            return Quantized(numbers, np.frombuffer(packed, "<f4", count, count * spec.dimensions))
        case Precision.FLOAT16:
            return Quantized(np.frombuffer(packed, "<f2").reshape(-1, spec.dimensions))
        case Precision.FLOAT32:
            return Quantized(np.frombuffer(packed, "<f4").reshape(-1, spec.dimensions))


def _row(entry: Entry, parts: int, spec: CollectionSpec) -> dict[str, object]:
    _check(entry.vectors, spec)
    vectors = np.asarray(entry.vectors, np.float32)
    metadata = {name: to_stored(value) for name, value in entry.metadata.items()}
    facts = _facts(entry, metadata)
    if not spec.late_interaction:
        facts = pack(vectors[None], spec.precision) + facts
    row = {
        "document_id": entry.document_id,
        "part": entry.part,
        "digest": entry.digest,
        "parts": parts,
        "text": entry.text,
        FACTS: facts,
        "picture": entry.picture,
    } | {field.column: metadata.get(field.name) for field in spec.fields}
    if spec.late_interaction:
        coarse = pool(vectors, COARSE_FACTOR).astype(np.float16)
        return row | {COARSE: list(coarse), VECTORS: pack(vectors, spec.precision)}
    return row | {VECTOR: quantize(vectors, spec.precision).numbers}


def _facts(entry: Entry, metadata: Mapping[str, object]) -> bytes:
    facts = {
        "document_id": entry.document_id,
        "part": entry.part,
        "kind": entry.kind,
        "text": entry.text[:MAX_HIT_CHARACTERS],
        "metadata": metadata,
        "page": entry.page,
        "start_s": entry.start_s,
        "end_s": entry.end_s,
        "width": entry.width,
        "height": entry.height,
    }
    return json.dumps(facts, ensure_ascii=False).encode()


def _check(vectors: Vectors, spec: CollectionSpec) -> None:
    dimensions = 2 if spec.late_interaction else 1
    if vectors.ndim != dimensions or vectors.shape[-1] != spec.dimensions or not np.isfinite(vectors).all():
        raise Internal(f"vectors of shape {vectors.shape} for a collection of {spec.dimensions} dimensions")
