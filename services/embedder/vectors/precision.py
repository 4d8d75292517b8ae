"""Vectors in less room, and back."""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from services.embedder.models.model import Vectors


class Precision(StrEnum):
    """How a vector's numbers are stored."""

    FLOAT32 = "float32"
    FLOAT16 = "float16"
    INT8 = "int8"
    BINARY = "binary"


@dataclass(frozen=True, eq=False)
class Quantized:
    """Vectors as they are stored; the leading dimensions are those of the vectors."""

    numbers: NDArray
    """float32, float16 or int8 [..., dimensions]. Of `Precision.BINARY` uint8 [..., ceil(dimensions / 8)], the most
    significant bit first, 1 where the number is above 0; the last byte is filled with 0."""
    scales: NDArray[np.float32] | None = None
    """[...], of `Precision.INT8` alone: a number times its vector's scale is what it was."""


def quantize(vectors: Vectors, precision: Precision) -> Quantized:
    """`vectors` [..., dimensions], each of length 1."""
    match precision:
        case Precision.FLOAT32:
            return Quantized(vectors)
        case Precision.FLOAT16:
            return Quantized(vectors.astype(np.float16))
        case Precision.INT8:
            # Symmetric, each vector by its own greatest number: -128 is not used, so that a sign costs nothing.
            scales = np.abs(vectors).max(axis=-1) / np.float32(127)
            return Quantized(np.rint(vectors / scales[..., None]).astype(np.int8), scales)
        case Precision.BINARY:
            return Quantized(np.packbits(vectors > 0, axis=-1))


def restore(quantized: Quantized, precision: Precision, dimensions: int) -> Vectors:
    """The vectors [..., dimensions] that `quantized` stands for, of length 1 again.

    float32 is as it was. Of a binary vector the signs alone are known: a number becomes +-1 / sqrt(dimensions).
    """
    match precision:
        case Precision.FLOAT32:
            return quantized.numbers
        case Precision.FLOAT16:
            return _unit(quantized.numbers.astype(np.float32))
        case Precision.INT8:
            return _unit(quantized.numbers.astype(np.float32) * quantized.scales[..., None])
        case Precision.BINARY:
            bits = np.unpackbits(quantized.numbers, axis=-1, count=dimensions)
            return (bits.astype(np.float32) * 2 - 1) / np.sqrt(np.float32(dimensions))


def _unit(vectors: Vectors) -> Vectors:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
