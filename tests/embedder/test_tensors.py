"""What a model's tensors become."""

import numpy as np
import pytest
import torch

from services.embedder.models.tensors import to_vectors
from services.runtime.errors import Internal


def test_vectors_are_of_length_1_and_hold_nothing_of_their_batch() -> None:
    single = to_vectors(torch.tensor([[3.0, 4.0], [0.0, 2.0]]))
    several = to_vectors(torch.ones(2, 3, 4), torch.tensor([[1, 1, 1], [0, 1, 1]]))
    np.testing.assert_allclose(single, [[0.6, 0.8], [0, 1]], rtol=1e-6)
    assert [vectors.shape for vectors in several] == [(3, 4), (2, 4)]
    assert all(vectors.base is None for vectors in (*single, *several))


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_numbers_that_are_not_finite_are_refused_but_where_padding_is(bad: float) -> None:
    embeddings = torch.ones(2, 3, 4)
    embeddings[1, 2] = bad
    assert len(to_vectors(embeddings, torch.tensor([[1, 1, 1], [1, 1, 0]]))[1]) == 2
    with pytest.raises(Internal, match="not finite"):
        to_vectors(embeddings, torch.ones(2, 3))
    with pytest.raises(Internal, match="not finite"):
        to_vectors(embeddings[:, 2])
