"""The least JSON that a schema allows: what the emulator answers where a schema is asked and nothing directed."""

from collections.abc import Mapping
from typing import Any

from tests.gemini.wire import get

_SCALARS: Mapping[str, Any] = {"string": "", "integer": 0, "number": 0, "boolean": False, "null": None}


def least(schema: Mapping[str, Any], root: Mapping[str, Any] | None = None) -> Any:
    """A value for OpenAPI's schema (`responseSchema`) or JSON Schema (`responseJsonSchema`); no patterns."""
    root = schema if root is None else root
    if "$ref" in schema:
        target: Any = root
        for name in schema["$ref"].removeprefix("#/").split("/"):
            target = target[name]
        return least(target, root)
    if "const" in schema:
        return schema["const"]
    if schema.get("enum"):
        return schema["enum"][0]
    if choices := get(schema, "anyOf") or schema.get("oneOf"):
        return least(choices[0], root)
    kind = schema.get("type", "object")
    kind = (kind[0] if isinstance(kind, list) else kind).lower()
    if kind == "object":
        properties = schema.get("properties", {})
        return {name: least(properties.get(name, {}), root) for name in schema.get("required", ())}
    if kind == "array":
        return [least(schema.get("items", {}), root) for _ in range(int(get(schema, "minItems", 0)))]
    if kind == "string":
        return "x" * int(get(schema, "minLength", 0))
    if kind in ("integer", "number") and "minimum" in schema:
        return schema["minimum"]
    return _SCALARS[kind]
