"""A tiled array answers like the one array that its parts would make."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scmpr_ros.retrieval.tiled_array import TiledArray, joined

PARTS = [np.arange(n * 6).reshape(n, 2, 3) + 100 * n for n in (1, 4, 0, 3)]
WHOLE = np.concatenate(PARTS)
TILED = TiledArray(PARTS)


@given(st.lists(st.integers(-8, 7)))
def test_gathers_any_places_in_any_order(places: list[int]) -> None:
    index = np.array(places, int)
    np.testing.assert_array_equal(TILED[index], WHOLE[index])
    np.testing.assert_array_equal(TILED[index, 1], WHOLE[index, 1])


@given(st.slices(8))
def test_slices(part: slice) -> None:
    np.testing.assert_array_equal(TILED[part], WHOLE[part])
    np.testing.assert_array_equal(TILED[part, :, 2], WHOLE[part, :, 2])


def test_other_indices() -> None:
    mask = np.arange(8) % 3 == 0
    np.testing.assert_array_equal(TILED[mask], WHOLE[mask])
    np.testing.assert_array_equal(TILED[5], WHOLE[5])
    assert TILED[-1, 1, 2] == WHOLE[-1, 1, 2]
    np.testing.assert_array_equal(TILED[[[0, 7], [3, 3]]], WHOLE[[[0, 7], [3, 3]]])
    np.testing.assert_array_equal(list(TILED), WHOLE)
    np.testing.assert_array_equal(TILED[[7, 2, 7], [0, 1, 1]], WHOLE[[7, 2, 7], [0, 1, 1]])
    np.testing.assert_array_equal(TILED[[7, 2], np.array([1, 0]), 1:], WHOLE[[7, 2], [1, 0], 1:])
    for index in (8, -9, [8], mask[:5]):
        with pytest.raises(IndexError):
            TILED[index]


def test_looks_like_one_array() -> None:
    assert TILED.shape == WHOLE.shape and TILED.dtype == WHOLE.dtype and TILED.ndim == 3
    assert len(TILED) == 8 and TILED.nbytes == WHOLE.nbytes
    np.testing.assert_array_equal(np.asarray(TILED, float), WHOLE.astype(float))
    assert joined(PARTS[:1]) is PARTS[0], "one part needs no copy"
