"""Accuracy of panoramas with known errors."""

from __future__ import annotations

import numpy as np
import pytest

from scmpr_ros.errors import DatasetError
from scmpr_ros.evaluation.panorama_accuracy import panorama_accuracy


def test_shares_by_hand() -> None:
    true_m = np.array([[5.0, 5.0, 20.0, 40.0], [np.inf, 60.0, 10.0, 10.0]], np.float32)
    true_label = np.array([[1, 1, 2, 3], [14, 3, 2, 2]], np.uint8)
    range_m = np.array([[5.4, 5.6, 19.0, 0.0], [30.0, 45.0, 10.0, 10.0]], np.float32)
    label = np.array([[1, 1, 2, 0], [3, 3, 2, 7]], np.uint8)
    # Surfaces in range: 6, of which the one at 40 m is not covered, one is seen through, one is
    # shown too near, and one has a wrong class. Two more cells show what is not there.
    accuracy = panorama_accuracy([((range_m, label), (true_m, true_label))] * 3, 1.0, 50.0)
    assert accuracy.coverage == pytest.approx(5 / 6)
    assert accuracy.see_through == pytest.approx(1 / 5)
    assert accuracy.too_near == pytest.approx(1 / 5)
    assert accuracy.labels == pytest.approx(4 / 5)
    assert accuracy.beyond == pytest.approx(2 / 7)
    assert accuracy.cells == 18


def test_pictures_of_different_places_are_noticed() -> None:
    nothing, label = np.zeros((2, 3), np.float32), np.zeros((2, 3), np.uint8)
    with pytest.raises(DatasetError, match="same frame"):
        panorama_accuracy([((nothing, label), (nothing + 5, label))], 1.0, 50.0)
