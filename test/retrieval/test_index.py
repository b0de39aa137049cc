"""The index returns the same neighbours as sorting all cosines."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from scmpr_ros.errors import ScmprError, ShapeError
from scmpr_ros.retrieval import index as index_module
from scmpr_ros.retrieval.index import DescriptorIndex


def unit_descriptors(places: int, headings: int, dim: int) -> np.ndarray:
    """In float16, as in a place map."""
    descriptors = np.random.default_rng(0).normal(size=(places, headings, dim))
    descriptors /= np.linalg.norm(descriptors, axis=-1, keepdims=True)
    return descriptors.astype(np.float16)


@pytest.fixture(params=["FAISS", "as on a GPU"])
def searcher(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both implementations of the search, on the CPU."""
    if request.param == "as on a GPU":
        on_cpu = index_module._TorchSearch
        monkeypatch.setattr(index_module, "_FaissSearch", lambda values: on_cpu(values, "cpu"))
    return str(request.param)


def test_search_equals_sorting_all_cosines(searcher: str) -> None:
    descriptors = unit_descriptors(20, 6, 16)
    query = descriptors[7, 2].astype(np.float32)
    query /= query @ query
    found = DescriptorIndex(descriptors).search(torch.from_numpy(query), 10)
    assert (found.place[0], found.heading[0]) == (7, 2) and found.phi[0] == pytest.approx(1)
    cosines = (descriptors.astype(np.float32) @ query).ravel()
    best = np.argsort(-cosines)[:10]
    np.testing.assert_array_equal(found.place * 6 + found.heading, best)
    np.testing.assert_allclose(found.phi, cosines[best], rtol=1e-5)
    assert found.place.dtype == found.heading.dtype == torch.int64


def test_a_small_map_returns_all_its_viewpoints(searcher: str) -> None:
    index = DescriptorIndex(np.eye(3, dtype=np.float16)[:, None])
    assert len(index.search(torch.tensor([1.0, 0, 0]), 50).phi) == 3
    with pytest.raises(ShapeError, match="descriptor"):
        index.search(torch.zeros(4), 1)


def test_a_descriptor_that_is_not_finite_is_refused(searcher: str) -> None:
    index = DescriptorIndex(unit_descriptors(5, 3, 8))
    with pytest.raises(ScmprError, match="not finite"):
        index.search(torch.full((8,), torch.nan), 4)


def test_only_allowed_places_are_found(searcher: str) -> None:
    descriptors = unit_descriptors(20, 6, 16)
    query = torch.from_numpy(descriptors[7, 2].astype(np.float32))
    allowed = np.zeros(20, bool)
    allowed[[3, 11]] = True
    found = DescriptorIndex(descriptors).search(query, 50, allowed)
    cosines = descriptors.astype(np.float32) @ query.numpy()
    cosines[~allowed] = -np.inf
    best = np.argsort(-cosines.ravel())[:12]
    np.testing.assert_array_equal(found.place * 6 + found.heading, best)
    with pytest.raises(ShapeError, match="allowed"):
        DescriptorIndex(descriptors).search(query, 50, allowed[:5])
