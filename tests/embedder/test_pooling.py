"""Token pooling."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from scipy.cluster.hierarchy import fcluster, linkage

from services.embedder.vectors.pooling import pool


def units(numbers: NDArray) -> NDArray[np.float32]:
    return (numbers / np.linalg.norm(numbers, axis=-1, keepdims=True)).astype(np.float32)


def random_units(count: int, dimensions: int) -> NDArray[np.float32]:
    return units(np.random.default_rng(7).normal(size=(count, dimensions)))


# Few different numbers: equal and opposite vectors come often.
few = st.sampled_from([-1.0, -0.5, 0.5, 1.0])
pages = st.tuples(st.integers(1, 24), st.integers(1, 4)).flatmap(lambda shape: arrays(np.float32, shape, elements=few))


@given(pages.map(units), st.integers(1, 16))
def test_so_many_vectors_of_length_1_are_left(page: NDArray, factor: int) -> None:
    pooled = pool(page, factor)
    assert (pooled.shape, pooled.dtype) == ((-(-len(page) // factor), page.shape[1]), np.float32)
    np.testing.assert_allclose(np.linalg.norm(pooled, axis=-1), 1, atol=1e-5)


@given(pages.map(units), st.integers(1, 16))
def test_the_same_page_is_pooled_the_same(page: NDArray, factor: int) -> None:
    np.testing.assert_array_equal(pool(page, factor), pool(page.copy(), factor))


def test_a_factor_of_1_changes_nothing() -> None:
    page = random_units(9, 8)
    np.testing.assert_array_equal(pool(page, 1), page)


def test_what_is_alike_becomes_one_in_the_order_of_the_page() -> None:
    up, right = np.eye(2, dtype=np.float32)
    page = units(np.stack([right, up + 0.1 * right, right + 0.1 * up, up]))
    np.testing.assert_allclose(pool(page, 2), units(np.stack([page[0] + page[2], page[1] + page[3]])), atol=1e-6)


def test_opposites_have_no_mean() -> None:
    vector = units(np.array([0.3, 0.4], np.float32))
    np.testing.assert_array_equal(pool(np.stack([vector, -vector]), 2), [vector])


def test_clusters_are_those_of_wards_method() -> None:
    page = random_units(60, 16)
    labels = fcluster(linkage(page, method="ward"), t=20, criterion="maxclust")
    means = units(np.stack([page[labels == label].mean(0) for label in dict.fromkeys(labels)]))
    np.testing.assert_allclose(pool(page, 3), means, atol=1e-6)
