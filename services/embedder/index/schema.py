"""A collection as a LanceDB table: its name, its columns, and the spec that it carries."""

import json
import re
from datetime import datetime

import pyarrow as pa

from services.embedder.index.entries import CollectionSpec
from services.embedder.index.fields import Field, FieldType
from services.embedder.vectors.precision import Precision
from services.runtime.errors import InvalidArgument

COARSE_FACTOR = 2
"""Of an entry's several vectors, how many become one for the first stage. Measured on pages whose vectors are all
different, the worst case: of the 10 best by all vectors 0.98 are among the 200 best of an index of these when a fifth
of it is searched, of every fourth's when all of it is. Fixed-dimensional encodings of 5,120 numbers
(https://arxiv.org/abs/2405.19504), compared exactly, have 0.63 there."""

VECTOR, COARSE, VECTORS = "vector", "coarse", "vectors"
LIVE = "digest IS NOT NULL"
"""SQL: the row is an entry, and no part that its document has lost."""

_SPEC = b"chiasm:collection"
_COLLECTION = re.compile(r"[A-Za-z0-9_-]{1,64}")
_TENANT = re.compile(r"[A-Za-z0-9._-]{1,64}")
_COLUMN_TYPES = {
    FieldType.STRING: pa.string(),
    FieldType.INTEGER: pa.int64(),
    FieldType.NUMBER: pa.float64(),
    FieldType.BOOLEAN: pa.bool_(),
    FieldType.TIMESTAMP: pa.int64(),
}


def table_name(tenant: str, collection: str) -> str:
    """Different for every two: a collection's name has no dot. Raises InvalidArgument where either is no name."""
    if not _TENANT.fullmatch(tenant):
        raise InvalidArgument("1 to 64 letters, digits, `.`, `_` or `-`", field="tenant")
    if not _COLLECTION.fullmatch(collection):
        raise InvalidArgument("1 to 64 letters, digits, `_` or `-`", field="name")
    return f"{collection}.{tenant}"


def names_in(table: str) -> tuple[str, str] | None:
    """The tenant and the collection of a table's name; None where it is no collection's."""
    collection, _, tenant = table.partition(".")
    return (tenant, collection) if _TENANT.fullmatch(tenant) and _COLLECTION.fullmatch(collection) else None


def searched_column(spec: CollectionSpec) -> str:
    """The column that has the vector index."""
    return COARSE if spec.late_interaction else VECTOR


def schema_of(spec: CollectionSpec) -> pa.Schema:
    """A row is an entry, or stands for a part that its document no longer has: then it has a key alone."""
    # LanceDB declares a primary key of one column alone; Lance itself takes two. Only with one declared do two writers
    # that insert the same key notice each other: https://github.com/lance-format/lance/issues/8949
    columns = [
        pa.field("document_id", pa.string(), nullable=False, metadata=_key(1)),
        pa.field("part", pa.int32(), nullable=False, metadata=_key(2)),
        pa.field("digest", pa.string()),
        pa.field("parts", pa.int32()),
        pa.field("text", pa.string()),
        pa.field("facts", pa.binary()),
        pa.field("picture", pa.large_binary()),
        *(pa.field(field.column, _COLUMN_TYPES[field.type]) for field in spec.fields),
    ]
    if spec.late_interaction:
        coarse = pa.list_(pa.list_(pa.float16(), spec.dimensions))
        columns += [pa.field(COARSE, coarse), pa.field(VECTORS, pa.binary())]
    else:
        number = pa.float16() if spec.precision is Precision.FLOAT16 else pa.float32()
        columns.append(pa.field(VECTOR, pa.list_(number, spec.dimensions)))
    return pa.schema(columns, metadata={_SPEC: spec_to_json(spec)})


def spec_of(schema: pa.Schema) -> CollectionSpec:
    """The spec that a table carries."""
    told = json.loads(schema.metadata[_SPEC])
    return CollectionSpec(
        name=told["name"],
        model=told["model"],
        revision=told["revision"],
        dimensions=told["dimensions"],
        late_interaction=told["late_interaction"],
        precision=Precision(told["precision"]),
        pool_factor=told["pool_factor"],
        fields=tuple(Field(name, FieldType(type_)) for name, type_ in told["fields"]),
        created=datetime.fromisoformat(told["created"]),
    )


def carries(schema: pa.Schema, spec: CollectionSpec) -> bool:
    """Whether the table is still this collection's, and not of one that was made anew under its name."""
    return (schema.metadata or {}).get(_SPEC) == spec_to_json(spec)


def spec_to_json(spec: CollectionSpec) -> bytes:
    return json.dumps(
        {
            "name": spec.name,
            "model": spec.model,
            "revision": spec.revision,
            "dimensions": spec.dimensions,
            "late_interaction": spec.late_interaction,
            "precision": spec.precision,
            "pool_factor": spec.pool_factor,
            "fields": [[field.name, field.type] for field in spec.fields],
            "created": spec.created.isoformat(),
        }
    ).encode()


def _key(position: int) -> dict[str, str]:
    declared = "lance-schema:unenforced-primary-key"
    return {declared: "true", f"{declared}:position": str(position)}
