"""Sums of what calls used."""

from collections.abc import Iterable

from chiasm.v1 import usage_pb2

_FIELDS = [field.name for field in usage_pb2.Usage.DESCRIPTOR.fields]


def sum_of(usages: Iterable[usage_pb2.Usage]) -> usage_pb2.Usage:
    """All of them together."""
    sums = dict.fromkeys(_FIELDS, 0)
    for usage in usages:
        for field in _FIELDS:
            sums[field] += getattr(usage, field)
    return usage_pb2.Usage(**sums)
