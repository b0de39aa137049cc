"""The perfect map of a town: points sampled from its surfaces instead of scanned.

A reference only, not for training: it contains what scanned maps never show, such as roofs, backs
of houses and the insides of trees.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from scmpr_ros.records import PointCloud
from scmpr_ros.town.mesh import Mesh
from scmpr_ros.town.textures.atlas import TEXELS, Textures
from scmpr_ros.town.textures.tiles import SIZE
from scmpr_ros.town.world import Town, stream

Array = NDArray[np.floating]


def sample_mesh_map(
    town: Town, drive_xy: Array, points_per_m2: float = 8.0, reach_m: float = 45.0
) -> PointCloud:
    """Labelled points (N,) on static surfaces within `reach_m` of a drive's positions (M, 2)."""
    rng = stream(town.seed, "mesh map")
    mesh = town.static
    near, _ = cKDTree(drive_xy).query(
        mesh.corners.mean(axis=1)[:, :2], distance_upper_bound=reach_m
    )
    mesh = mesh.select(np.isfinite(near))
    edge = np.cross(
        mesh.corners[:, 1] - mesh.corners[:, 0], mesh.corners[:, 2] - mesh.corners[:, 0]
    )
    expected = np.linalg.norm(edge, axis=1) / 2 * points_per_m2
    count = np.floor(expected + rng.random(len(mesh))).astype(int)
    triangle = np.repeat(np.arange(len(mesh)), count)
    corner = _barycentric(rng, len(triangle))
    xyz = np.einsum("nk,nkj->nj", corner, mesh.corners[triangle])
    uv = np.einsum("nk,nkj->nj", corner, mesh.uv[triangle])
    keep = ~_is_hole(town.textures, mesh, triangle, uv)
    keep &= xyz[:, 2] > town.ground.height(xyz[:, :2]) - 0.08  # foundations lie below
    return PointCloud(xyz[keep].astype(np.float32), mesh.label[triangle[keep]])


def _barycentric(rng: np.random.Generator, count: int) -> Array:
    """Barycentric coordinates (count, 3), uniform over a triangle (Turk 1990)."""
    root, v = np.sqrt(rng.random(count)), rng.random(count)
    return np.stack([1 - root, root * (1 - v), root * v], axis=1)


def _is_hole(textures: Textures, mesh: Mesh, triangle: NDArray, uv: Array) -> NDArray[np.bool_]:
    material = mesh.material[triangle].astype(np.int64)
    x, y = (np.floor(uv / textures.texel_m[material][:, None]).astype(np.int64) & (SIZE - 1)).T
    alpha = textures.texels[material * TEXELS + y * SIZE + x, 3]
    return textures.is_cut[material] & (alpha < 128)
