"""A mesh ready for rays, and what a ray finds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import open3d as o3d
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from scmpr_ros.datasets.town.mesh import Mesh
from scmpr_ros.datasets.town.sensors.textures import TextureAtlas

Array = NDArray[np.floating]


@dataclass(frozen=True)
class Hits:
    """What N rays found. ray: (M,) which of them hit; the rest describes those hits.

    distance: (M,) float32 metres along the (unit) ray. triangle: (M,) index into the scene's mesh.
    uv: (M, 2) texture coordinates. normal: (M, 3) geometric unit normals that face the ray.
    """

    ray: NDArray[np.intp]
    distance: Array
    triangle: NDArray[np.intp]
    uv: Array
    normal: Array


def _tensor(values: NDArray) -> o3d.core.Tensor:
    # Open3D's stubs know only the form with dtype and device.
    return o3d.core.Tensor(values)  # type: ignore[call-overload]


class Scene:
    """One traversal's world: static town and traffic in one ray-casting structure."""

    def __init__(self, mesh: Mesh, atlas: TextureAtlas, openness: SkyBlock) -> None:
        self.mesh = mesh
        self.atlas = atlas
        self.openness = openness
        self._caster = o3d.t.geometry.RaycastingScene(nthreads=1)
        vertices = np.ascontiguousarray(mesh.corners.reshape(-1, 3))
        faces = np.arange(len(vertices), dtype=np.uint32).reshape(-1, 3)
        self._caster.add_triangles(_tensor(vertices), _tensor(faces))

    def cast(self, origin: Array, direction: Array) -> Hits:
        """First hits of rays with unit directions (N, 3) from origins (3,) or (N, 3)."""
        rays = np.empty((len(direction), 6), np.float32)
        rays[:, :3], rays[:, 3:] = origin, direction
        found = self._caster.cast_rays(_tensor(rays), nthreads=1)
        distance = found["t_hit"].numpy()
        ray = np.flatnonzero(np.isfinite(distance))
        triangle = found["primitive_ids"].numpy()[ray].astype(np.intp)
        b = found["primitive_uvs"].numpy()[ray]
        corner = self.mesh.uv[triangle]
        uv = (
            corner[:, 0]
            + b[:, :1] * (corner[:, 1] - corner[:, 0])
            + b[:, 1:] * (corner[:, 2] - corner[:, 0])
        )
        normal = found["primitive_normals"].numpy()[ray]
        facing = np.einsum("ij,ij->i", normal, direction[ray])
        normal *= np.where(facing > 0, np.float32(-1), np.float32(1))[:, None]
        return Hits(ray, distance[ray], triangle, uv, normal)

    def is_occluded(self, origin: Array, direction: Array) -> NDArray[np.bool_]:
        """Whether anything lies along rays (N, 3), however far."""
        rays = np.concatenate([origin, direction], axis=1, dtype=np.float32)
        return self._caster.test_occlusions(_tensor(rays), nthreads=1).numpy()


class SkyBlock:
    """How much of the sky nearby things hide: a blurred height map, a cheap ambient occlusion."""

    CELL_M = 0.8

    def __init__(
        self, low: NDArray[np.float64], size_m: NDArray[np.float64], mesh: Mesh, ground: Array
    ) -> None:
        shape = tuple(int(np.ceil(s / self.CELL_M)) + 1 for s in size_m[::-1])
        self._low = low.astype(np.float32)
        top = np.full(shape, -np.inf, np.float32)
        points = np.concatenate([mesh.corners.mean(axis=1), mesh.corners[:, 0], mesh.corners[:, 2]])
        cell = np.floor((points[:, :2] - self._low) / self.CELL_M).astype(int)
        inside = (cell >= 0).all(axis=1) & (cell < shape[::-1]).all(axis=1)
        np.maximum.at(top, (cell[inside, 1], cell[inside, 0]), points[inside, 2])
        above = np.where(np.isfinite(top), top - ground, 0.0).clip(0, 15)
        self._ground = ground
        self._near = gaussian_filter(np.minimum(above, 2.0), 0.6 / self.CELL_M)
        self._wide = gaussian_filter(above, 5.0 / self.CELL_M)

    def __call__(self, points: Array) -> Array:
        """Visible share of the sky (N,) at points (N, 3)."""
        cell = ((points[:, :2] - self._low) / self.CELL_M).astype(np.int32)
        rows, cols = self._near.shape
        x, y = np.clip(cell[:, 0], 0, cols - 1), np.clip(cell[:, 1], 0, rows - 1)
        height = np.maximum(points[:, 2] - self._ground[y, x], 0)
        near = np.maximum(self._near[y, x] - height, 0)
        wide = np.maximum(self._wide[y, x] - 0.6 * height, 0)
        return np.exp(-0.55 * near - 0.09 * wide)
