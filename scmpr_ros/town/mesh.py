"""Triangle soups with the attributes that camera and LiDAR need, and their constructors."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, fields, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from scmpr_ros.town.materials import Material

Array = NDArray[np.float32]


@dataclass(frozen=True)
class Mesh:
    """M triangles.

    corners: (M, 3, 3) float32, metres, town frame (z up).
    uv: (M, 3, 2) float32, texture coordinates in the unit of the material's tile.
    normal: (M, 3) float32, unit shading normals; foliage has those of its crown.
    colour: (M, 3) float32, linear albedo that multiplies the texture.
    material, label: (M,) uint8, `Material` and joint class id.
    lights: (L, 10) float32, light sources at night: position (3), direction (3), radiant intensity
        (3), cosine of the cone's half angle. See `light`.
    """

    corners: Array
    uv: Array
    normal: Array
    colour: Array
    material: NDArray[np.uint8]
    label: NDArray[np.uint8]
    lights: Array = field(default_factory=lambda: np.zeros((0, 10), np.float32))

    def __len__(self) -> int:
        return len(self.corners)

    def transformed(self, T: NDArray[np.floating]) -> Mesh:
        """Apply a rigid transform (4, 4)."""
        R = T[:3, :3].astype(np.float32)
        t = T[:3, 3].astype(np.float32)
        lights = self.lights.copy()
        lights[:, :3] = lights[:, :3] @ R.T + t
        lights[:, 3:6] = lights[:, 3:6] @ R.T
        return Mesh(
            self.corners @ R.T + t, self.uv, self.normal @ R.T,
            self.colour, self.material, self.label, lights,
        )  # fmt: skip

    def select(self, keep: NDArray[np.bool_]) -> Mesh:
        """The triangles selected by a mask (M,), with all lights."""
        names = ("corners", "uv", "normal", "colour", "material", "label")
        return replace(self, **{name: getattr(self, name)[keep] for name in names})

    @classmethod
    def join(cls, meshes: Iterable[Mesh]) -> Mesh:
        """Concatenate meshes."""
        parts = list(meshes) or [EMPTY]
        names = [f.name for f in fields(cls)]
        return cls(*(np.concatenate([getattr(m, name) for m in parts]) for name in names))


def light(
    position: ArrayLike, direction: ArrayLike, intensity: ArrayLike, half_angle_deg: float
) -> Mesh:
    """A light source without a body: a cone from `position` (3,) along unit `direction` (3,).

    intensity: (3,) RGB; adds an irradiance of intensity / d**2 at distance d, in the unit of
    `Condition`. A street lamp has about 1, a headlight about 6 on its axis.
    """
    row = np.concatenate([position, direction, intensity, [np.cos(np.radians(half_angle_deg))]])
    return replace(EMPTY, lights=row[None].astype(np.float32))


def triangles(
    corners: ArrayLike,
    material: Material,
    label: int,
    colour: ArrayLike = (1.0, 1.0, 1.0),
    uv: ArrayLike | None = None,
    normal: ArrayLike | None = None,
) -> Mesh:
    """Triangles (M, 3, 3); colour (3,) or (M, 3); uv defaults to metres in their planes."""
    corners = np.asarray(corners, np.float32).reshape(-1, 3, 3)
    count = len(corners)
    if normal is None:
        normal = _cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        normal /= np.sqrt(np.einsum("ij,ij->i", normal, normal))[:, None] + 1e-12
    normal = np.broadcast_to(np.asarray(normal, np.float32), (count, 3))
    if uv is None:
        uv = _planar_uv(corners, normal)
    return Mesh(
        corners,
        np.asarray(uv, np.float32).reshape(count, 3, 2),
        normal,
        np.broadcast_to(np.asarray(colour, np.float32), (count, 3)),
        np.full(count, material, np.uint8),
        np.full(count, label, np.uint8),
    )


def _cross(a: NDArray[np.floating], b: NDArray[np.floating]) -> NDArray[np.floating]:
    """Row-wise cross product, several times faster than np.cross on short arrays."""
    (ax, ay, az), (bx, by, bz) = a.T, b.T
    return np.stack([ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx], axis=1)


def _planar_uv(corners: Array, normal: Array) -> Array:
    """Coordinates in metres along the horizontal and the steepest direction of each triangle."""
    across = np.stack([-normal[:, 1], normal[:, 0], np.zeros(len(normal))], axis=1)
    length = np.linalg.norm(across, axis=1, keepdims=True)
    flat = length[:, 0] < 0.2
    across = np.where(flat[:, None], (1.0, 0.0, 0.0), across / np.maximum(length, 1e-9))
    up = np.where(flat[:, None], (0.0, 1.0, 0.0), _cross(normal, across))
    return np.stack([np.einsum("mki,mi->mk", corners, a) for a in (across, up)], axis=-1).astype(
        np.float32
    )


def quads(
    corners: ArrayLike,
    material: Material,
    label: int,
    colour: ArrayLike = (1.0, 1.0, 1.0),
    uv: ArrayLike | None = None,
) -> Mesh:
    """Planar quads (N, 4, 3), corners in cyclic order; colour (3,) or (N, 3); uv (N, 4, 2)."""
    corners = np.asarray(corners, np.float32).reshape(-1, 4, 3)
    split = [0, 1, 2, 0, 2, 3]
    colour = np.repeat(np.broadcast_to(np.asarray(colour, np.float32), (len(corners), 3)), 2, 0)
    if uv is not None:
        uv = np.asarray(uv, np.float32).reshape(-1, 4, 2)[:, split].reshape(-1, 3, 2)
    return triangles(corners[:, split].reshape(-1, 3, 3), material, label, colour, uv)


_BOX_FACES = np.array(
    [[0, 1, 5, 4], [1, 3, 7, 5], [3, 2, 6, 7], [2, 0, 4, 6], [4, 5, 7, 6], [0, 2, 3, 1]]
)


def boxes(
    low: ArrayLike, high: ArrayLike, material: Material, label: int, colour: ArrayLike = (1, 1, 1)
) -> Mesh:
    """Axis-aligned boxes between corners `low` and `high`, each (N, 3); colour (3,) or (N, 3)."""
    low = np.asarray(low, np.float32).reshape(-1, 3)
    high = np.asarray(high, np.float32).reshape(-1, 3)
    bits = np.array([[i & 1, i >> 1 & 1, i >> 2 & 1] for i in range(8)], bool)
    vertices = np.where(bits[None], high[:, None], low[:, None])
    colour = np.repeat(np.broadcast_to(np.asarray(colour, np.float32), (len(low), 3)), 6, 0)
    return quads(vertices[:, _BOX_FACES], material, label, colour)


def tubes(
    path: ArrayLike,
    radius: ArrayLike,
    sides: int,
    material: Material,
    label: int,
    colour: ArrayLike = (1, 1, 1),
) -> Mesh:
    """Round tubes without caps along paths (N, K, 3) of radii (N, K); colour (3,) or (N, 3)."""
    path = np.asarray(path, np.float64)
    path = path[None] if path.ndim == 2 else path
    radius = np.broadcast_to(np.asarray(radius, np.float64), path.shape[:2])
    along = path[:, -1] - path[:, 0]
    along /= np.maximum(np.linalg.norm(along, axis=1, keepdims=True), 1e-9)
    helper = np.where(np.abs(along[:, 2:]) > 0.7, (1.0, 0.0, 0.0), (0.0, 0.0, 1.0))
    side = np.cross(along, helper)
    side /= np.linalg.norm(side, axis=1, keepdims=True)
    other = np.cross(along, side)
    angle = np.arange(sides + 1) * 2 * np.pi / sides
    ring = np.cos(angle)[:, None] * side[:, None] + np.sin(angle)[:, None] * other[:, None]
    points = path[:, :, None] + radius[:, :, None, None] * ring[:, None]
    height = np.cumsum(np.linalg.norm(np.diff(path, axis=1, prepend=path[:, :1]), axis=2), axis=1)
    u = np.broadcast_to(angle * radius.max(), points.shape[:3])
    uv = np.stack([u, np.broadcast_to(height[..., None], u.shape)], axis=-1)

    def around(a: NDArray[np.float64]) -> NDArray[np.float64]:
        cells = (a[:, :-1, :-1], a[:, :-1, 1:], a[:, 1:, 1:], a[:, 1:, :-1])
        return np.stack(cells, axis=3).reshape(-1, 4, a.shape[-1])

    per_tube = (path.shape[1] - 1) * sides
    colour = np.broadcast_to(np.asarray(colour, np.float32), (len(path), 3))
    return quads(around(points), material, label, np.repeat(colour, per_tube, 0), around(uv))


def discs(
    centre: ArrayLike,
    axis: ArrayLike,
    radius: ArrayLike,
    sides: int,
    material: Material,
    label: int,
    colour: ArrayLike = (1, 1, 1),
) -> Mesh:
    """Flat discs at centres (N, 3) facing along `axis` (N, 3); colour (3,) or (N, 3)."""
    centre = np.asarray(centre, np.float64).reshape(-1, 3)
    axis = np.broadcast_to(np.asarray(axis, np.float64), centre.shape)
    helper = np.where(np.abs(axis[:, 2:]) > 0.7, (1.0, 0.0, 0.0), (0.0, 0.0, 1.0))
    side = np.cross(axis, helper)
    side /= np.linalg.norm(side, axis=1, keepdims=True)
    other = np.cross(axis, side)
    angle = (np.arange(sides + 1) + 0.5) * 2 * np.pi / sides
    radius = np.broadcast_to(np.asarray(radius, np.float64), (len(centre),))
    ring = np.cos(angle)[:, None] * side[:, None] + np.sin(angle)[:, None] * other[:, None]
    rim = centre[:, None] + radius[:, None, None] * ring
    hub = np.broadcast_to(centre[:, None], rim[:, 1:].shape)
    corners = np.stack([hub, rim[:, :-1], rim[:, 1:]], axis=2)
    unit = np.stack([np.cos(angle), np.sin(angle)], axis=1) * 0.5 + 0.5
    uv = np.stack([np.full_like(unit[1:], 0.5), unit[:-1], unit[1:]], axis=1)
    uv = np.broadcast_to(uv, (len(centre), *uv.shape))
    colour = np.broadcast_to(np.asarray(colour, np.float32), (len(centre), 3))
    return triangles(
        corners.reshape(-1, 3, 3), material, label, np.repeat(colour, sides, 0),
        uv.reshape(-1, 3, 2),
    )  # fmt: skip


EMPTY = Mesh(
    np.zeros((0, 3, 3), np.float32), np.zeros((0, 3, 2), np.float32),
    np.zeros((0, 3), np.float32), np.zeros((0, 3), np.float32),
    np.zeros(0, np.uint8), np.zeros(0, np.uint8),
)  # fmt: skip
