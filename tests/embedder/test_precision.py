"""Vectors in less room, and back."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray

from services.embedder.vectors.precision import Precision, quantize, restore

BYTES = {Precision.FLOAT32: 4, Precision.FLOAT16: 2, Precision.INT8: 1, Precision.BINARY: 1 / 8}


@st.composite
def unit_vectors(draw: st.DrawFn) -> NDArray[np.float32]:
    """[..., dimensions], one or two dimensions, each vector of length 1."""
    shape = draw(array_shapes(min_dims=1, max_dims=2, max_side=40))
    numbers = draw(arrays(np.float32, shape, elements=st.floats(-1, 1, width=32)))
    numbers[..., 0] += np.where(numbers[..., 0] < 0, -1, 1)  # none is 0 all over
    return numbers / np.linalg.norm(numbers, axis=-1, keepdims=True)


@given(unit_vectors(), st.sampled_from(Precision))
def test_vectors_come_back_of_their_shape_and_of_length_1(vectors: NDArray, precision: Precision) -> None:
    restored = restore(quantize(vectors, precision), precision, vectors.shape[-1])
    assert (restored.shape, restored.dtype) == (vectors.shape, np.float32)
    np.testing.assert_allclose(np.linalg.norm(restored, axis=-1), 1, atol=1e-5)


@given(unit_vectors())
def test_float32_is_as_it_was(vectors: NDArray) -> None:
    quantized = quantize(vectors, Precision.FLOAT32)
    np.testing.assert_array_equal(restore(quantized, Precision.FLOAT32, vectors.shape[-1]), vectors)
    assert quantized.scales is None


@given(unit_vectors())
def test_float16_is_off_by_its_rounding(vectors: NDArray) -> None:
    quantized = quantize(vectors, Precision.FLOAT16)
    assert quantized.numbers.dtype == np.float16
    np.testing.assert_allclose(quantized.numbers, vectors, rtol=2**-11, atol=2**-25)


@given(unit_vectors())
def test_int8_is_off_by_half_a_step_at_most(vectors: NDArray) -> None:
    quantized = quantize(vectors, Precision.INT8)
    assert (quantized.numbers.dtype, quantized.scales.dtype) == (np.int8, np.float32)
    assert quantized.scales.shape == vectors.shape[:-1]
    assert (np.abs(quantized.numbers).max(-1) == 127).all()
    off = np.abs(quantized.numbers * quantized.scales[..., None] - vectors)
    assert (off <= quantized.scales[..., None] * 0.5 * (1 + 1e-4)).all()


@given(unit_vectors())
def test_binary_keeps_the_signs(vectors: NDArray) -> None:
    quantized = quantize(vectors, Precision.BINARY)
    dimensions = vectors.shape[-1]
    assert quantized.numbers.shape == (*vectors.shape[:-1], -(-dimensions // 8))
    restored = restore(quantized, Precision.BINARY, dimensions)
    np.testing.assert_array_equal(restored > 0, vectors > 0)
    np.testing.assert_allclose(np.abs(restored), dimensions**-0.5, rtol=1e-6)


def test_bits_stand_from_the_highest_down_and_the_rest_is_0() -> None:
    vectors = np.array([1, -1, 0, 2, -1, -1, -1, -1, 3, 3], np.float32)
    assert quantize(vectors, Precision.BINARY).numbers.tolist() == [0b10010000, 0b11000000]


@pytest.mark.parametrize("precision", Precision)
def test_a_number_takes_the_room_it_should(precision: Precision) -> None:
    page = np.full((3, 128), 128**-0.5, np.float32)
    assert quantize(page, precision).numbers.nbytes == page.size * BYTES[precision]
