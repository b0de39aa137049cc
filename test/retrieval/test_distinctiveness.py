"""Places that look like others elsewhere are told from unique ones."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from place_maps import example

from scmpr_ros.retrieval.distinctiveness import distinctiveness


def test_by_hand() -> None:
    """Two places 100 m apart look the same but for a turn, one next to the first looks so too, and
    one is like nothing else."""
    corners = np.eye(8)[:6]  # of six headings
    descriptors = np.stack(
        [corners, np.roll(corners, 2, 0), corners, np.tile(np.eye(8)[7], (6, 1))]
    )
    positions = np.array([[0, 0, 0], [100, 0, 0], [5, 0, 50], [0, 300, 0]], float)
    place_map = replace(example(), descriptors=descriptors.astype(np.float16), positions=positions)
    assert distinctiveness(place_map, np.arange(4)).tolist() == [0, 0, 0, 1]
    assert np.isnan(distinctiveness(place_map, np.array([0, 2]))).all()
    assert distinctiveness(place_map, np.array([0, 2]), beyond_m=4).tolist() == [0, 0]
    assert distinctiveness(place_map, np.array([3, 1])).tolist() == [1, 1]
