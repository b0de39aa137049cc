"""Votes of the neighbours of a point in the range image."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scmpr_ros.errors import ConfigError
from scmpr_ros.lidar.range_view.clean_up import CleanUpConfig, classes_of_points
from scmpr_ros.semantics import class_id

WALL, POLE = class_id("building"), class_id("pole")


def clean(label, range_m, row, column, point_range_m, **config):
    confidence = np.full(label.shape, 0.8, np.float32)
    return classes_of_points(
        label.astype(np.uint8), confidence, range_m.astype(np.float32), np.array(row),
        np.array(column), np.array(point_range_m, np.float32), CleanUpConfig(**config),
    )  # fmt: skip


def test_a_point_behind_a_pole_belongs_to_the_wall() -> None:
    """The pole's cells hold points of the wall behind it, too."""
    label, range_m = np.full((7, 9), WALL), np.full((7, 9), 20.0)
    label[:, 4], range_m[:, 4] = POLE, 5.0
    found, confidence = clean(label, range_m, [3, 3], [4, 4], [20.0, 5.0])
    assert found.tolist() == [WALL, POLE]
    assert confidence[0] == pytest.approx(0.8 * 4 / 5) and confidence[1] == pytest.approx(0.8)


def test_without_neighbours_a_point_takes_its_cell() -> None:
    label, range_m = np.full((7, 9), WALL), np.full((7, 9), 20.0)
    label[3, 4], range_m[3, 4] = POLE, 5.0
    found, confidence = clean(label, range_m, [3], [4], [20.0], neighbours=0)
    assert found.tolist() == [POLE] and confidence[0] == pytest.approx(0.8)


def test_the_image_closes_in_a_circle_and_unknown_cells_do_not_win() -> None:
    label, range_m = np.zeros((5, 8)), np.full((5, 8), np.inf)
    label[:, -1], range_m[:, -1] = WALL, 10.0
    range_m[2, 0] = 10.0  # of the class `ignore`
    assert clean(label, range_m, [2], [0], [10.0])[0].tolist() == [WALL]
    label[:] = 0
    found, confidence = clean(label, range_m, [2], [0], [10.0])
    assert found.tolist() == [0]
    assert 0 <= confidence[0] <= 1


@given(st.integers(0, 2**32 - 1), st.sampled_from([1, 3, 5]))
def test_votes_equal_a_plain_loop(seed: int, window: int) -> None:
    rng = np.random.default_rng(seed)
    label = rng.integers(1, 5, (6, 10)).astype(np.uint8)
    range_m = rng.uniform(5, 8, (6, 10)).astype(np.float32)
    row, column = rng.integers(0, 6, 20), rng.integers(0, 10, 20)
    point_range_m = rng.uniform(5, 8, 20).astype(np.float32)
    neighbours = min(3, window**2)
    config = CleanUpConfig(neighbours=neighbours, window=window, sigma=1.0, cutoff_m=0.7)
    confidence = rng.uniform(0.5, 1, (6, 10)).astype(np.float32)
    found, sure = classes_of_points(
        label, confidence, range_m, row, column, point_range_m, config
    )  # fmt: skip

    half = window // 2
    offsets = [(i, j) for i in range(-half, half + 1) for j in range(-half, half + 1)]
    gaussian = np.exp([-(i * i + j * j) / 2 for i, j in offsets])
    gaussian /= gaussian.sum()
    for n in range(20):
        cells = []
        for weight, (i, j) in zip(gaussian, offsets, strict=True):
            r, c = row[n] + i, (column[n] + j) % 10
            if 0 <= r < 6:
                distance = 0.0 if i == j == 0 else abs(range_m[r, c] - point_range_m[n])
                cells.append(((distance + 1e-4) * (1 - weight), label[r, c], confidence[r, c]))
        voters = [cell for cell in sorted(cells)[:neighbours] if cell[0] <= 0.7]
        votes = np.bincount([v[1] for v in voters], minlength=15)
        assert votes[found[n]] == votes.max()
        share = sum(v[2] for v in voters if v[1] == found[n]) / len(voters)
        assert sure[n] == pytest.approx(share, rel=1e-4)


@pytest.mark.parametrize(("wrong", "message"), [
    ({"window": 4}, "must be odd"), ({"neighbours": 26}, "a window of 5 has at most 25"),
    ({"sigma": 0.0}, "must be positive"), ({"cutoff_m": -1.0}, "must be positive"),
])  # fmt: skip
def test_settings_are_checked(wrong: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        CleanUpConfig(**wrong)
