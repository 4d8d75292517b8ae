"""A collection as a LanceDB table: its name, its columns, and its spec as JSON."""

import json
import re
import uuid
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

_COLLECTION = re.compile(r"[A-Za-z0-9_-]{1,64}")
_TENANT = re.compile(r"[A-Za-z0-9._-]{1,64}")
_TABLE = re.compile(rf"{_COLLECTION.pattern}\.{_TENANT.pattern}\.[0-9a-f]{{32}}")
_COLUMN_TYPES = {
    FieldType.STRING: pa.string(),
    FieldType.INTEGER: pa.int64(),
    FieldType.NUMBER: pa.float64(),
    FieldType.BOOLEAN: pa.bool_(),
    FieldType.TIMESTAMP: pa.int64(),
}


def check_names(tenant: str, collection: str) -> None:
    """Raises InvalidArgument where either is no name."""
    if not _TENANT.fullmatch(tenant):
        raise InvalidArgument("1 to 64 letters, digits, `.`, `_` or `-`", field="tenant")
    if not _COLLECTION.fullmatch(collection):
        raise InvalidArgument("1 to 64 letters, digits, `_` or `-`", field="name")


def new_table_name(tenant: str, collection: str) -> str:
    """Another every time; whose it is can be read from it."""
    return f"{collection}.{tenant}.{uuid.uuid4().hex}"


def is_table_name(name: str) -> bool:
    """Whether `new_table_name` has made it."""
    return _TABLE.fullmatch(name) is not None


def searched_column(spec: CollectionSpec) -> str:
    """The column that has the vector index."""
    return COARSE if spec.late_interaction else VECTOR


def schema_of(spec: CollectionSpec) -> pa.Schema:
    """A row is an entry, or stands for a part that its document no longer has: then it has a key alone."""
    # LanceDB declares a primary key of one column alone; Lance itself takes two. Only with one declared do two writers
    # that insert the same key notice each other: https://github.com/lance-format/lance/issues/8949
    columns = [
        pa.field("document_id", pa.string(), nullable=False, metadata=key(1)),
        pa.field("part", pa.int32(), nullable=False, metadata=key(2)),
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
    return pa.schema(columns)


def spec_to_json(spec: CollectionSpec) -> str:
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
    )


def spec_from_json(text: str) -> CollectionSpec:
    told = json.loads(text)
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


def key(position: int | None = None) -> dict[str, str]:
    """Metadata of a column that is a table's primary key, or of one of several that are: which of them, from 1."""
    declared = "lance-schema:unenforced-primary-key"
    return {declared: "true"} | ({} if position is None else {f"{declared}:position": str(position)})
