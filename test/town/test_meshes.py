"""Mesh constructors and cutting of plan triangles, against areas and coordinates."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scmpr_ros.town import mesh as meshes
from scmpr_ros.town.ground.plan_triangles import lattice, split_triangles, zero_segments
from scmpr_ros.town.materials import SURFACES, Material


def _area(tris: np.ndarray) -> float:
    a, b = tris[:, 1] - tris[:, 0], tris[:, 2] - tris[:, 0]
    return float(np.abs(a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]).sum() / 2)


def test_box_is_closed_and_of_the_right_size() -> None:
    box = meshes.boxes([[0, 0, 0]], [[1, 2, 3]], Material.BRICK, 3)
    corners = box.corners.astype(float)
    doubled = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    assert np.linalg.norm(doubled, axis=1).sum() / 2 == pytest.approx(2 * (2 + 3 + 6))
    assert np.allclose(np.linalg.norm(box.normal, axis=1), 1)
    outwards = np.einsum("ij,ij->i", corners.mean(axis=1) - (0.5, 1.0, 1.5), box.normal)
    assert (outwards > 0).all()
    assert (box.label == 3).all() and (box.material == Material.BRICK).all()


def test_tube_keeps_its_radius() -> None:
    tube = meshes.tubes([[0, 0, 0], [0, 0, 5]], 0.4, 12, Material.METAL, 7)
    assert np.allclose(np.hypot(*tube.corners.reshape(-1, 3)[:, :2].T), 0.4, atol=1e-6)
    assert tube.corners[..., 2].min() == 0 and tube.corners[..., 2].max() == 5


def test_wall_texture_coordinates_are_metres() -> None:
    wall = meshes.quads([[[0, 0, 0], [4, 0, 0], [4, 0, 3], [0, 0, 3]]], Material.PLASTER, 3)
    assert np.ptp(wall.uv.reshape(-1, 2), axis=0) == pytest.approx([4, 3])


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(-1, 1))
def test_splitting_triangles_keeps_their_area(seed: int, level: float) -> None:
    rng = np.random.default_rng(seed)
    tris, values = rng.normal(size=(20, 3, 2)), rng.normal(size=(20, 3))
    below, above = split_triangles(tris, values, level)
    assert _area(below) + _area(above) == pytest.approx(_area(tris))


def test_cut_follows_the_level_line() -> None:
    tris = np.array([[[0, 0], [4, 0], [0, 4]]], float)
    below, above = split_triangles(tris, tris[..., 0], 1.0)
    assert below[..., 0].max() == pytest.approx(1) and above[..., 0].min() == pytest.approx(1)
    a, b = zero_segments(tris, tris[..., 0] - 1.0)
    assert sorted([tuple(a[0]), tuple(b[0])]) == [(1.0, 0.0), (1.0, 3.0)]


def test_lattice_has_no_gap_between_fine_and_coarse_cells() -> None:
    is_fine = np.random.default_rng(0).random((7, 9)) < 0.4
    fine, coarse = lattice(np.zeros(2), is_fine, 6.0, 5)
    tris = np.concatenate([fine, coarse])
    a, b = tris[:, 1] - tris[:, 0], tris[:, 2] - tris[:, 0]
    assert (a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]).sum() / 2 == pytest.approx(7 * 9 * 36)
    edges = np.sort(np.round(tris[:, [[0, 1], [1, 2], [2, 0]]], 6).view(complex)[..., 0], axis=-1)
    pairs, count = np.unique(edges.reshape(-1, 2), axis=0, return_counts=True)
    middle = pairs.mean(axis=1)
    on_rim = np.isin(middle.real, (0, 54)) | np.isin(middle.imag, (0, 42))
    assert (count[~on_rim] == 2).all() and (count[on_rim] == 1).all()


def test_every_material_has_a_surface() -> None:
    assert set(SURFACES) == set(Material)
