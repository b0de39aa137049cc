"""The index finds what a plain sort finds."""

from __future__ import annotations

import numpy as np
import pytest

from scmpr_ros.errors import ShapeError
from scmpr_ros.retrieval.index import DescriptorIndex


def test_search_equals_sorting_all_cosines() -> None:
    rng = np.random.default_rng(0)
    descriptors = rng.normal(size=(20, 6, 16)).astype(np.float32)
    descriptors /= np.linalg.norm(descriptors, axis=-1, keepdims=True)
    query = descriptors[7, 2]
    found = DescriptorIndex(descriptors).search(query, 10)
    assert (found.place[0], found.heading[0]) == (7, 2) and found.phi[0] == pytest.approx(1)
    cosines = (descriptors @ query).ravel()
    best = np.argsort(-cosines)[:10]
    np.testing.assert_array_equal(found.place * 6 + found.heading, best)
    np.testing.assert_allclose(found.phi, cosines[best], rtol=1e-5)


def test_a_small_map_gives_what_it_has() -> None:
    index = DescriptorIndex(np.eye(3, dtype=np.float16)[:, None])
    assert len(index.search(np.array([1.0, 0, 0]), 50).phi) == 3
    with pytest.raises(ShapeError, match="descriptor"):
        index.search(np.zeros(4), 1)
