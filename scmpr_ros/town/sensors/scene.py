"""Ray casting against the static and moving objects of a scene, through holes in foliage."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from scmpr_ros.semantics import class_id
from scmpr_ros.town.compiled import compiled
from scmpr_ros.town.extras import import_extra
from scmpr_ros.town.materials import column
from scmpr_ros.town.mesh import Mesh
from scmpr_ros.town.sensors.conditions import Condition
from scmpr_ros.town.sensors.openness import Openness
from scmpr_ros.town.textures.atlas import Textures, is_hole

Array = NDArray[np.floating]
SKY = class_id("sky")

_MAX_CASTS = 6
"""Casts per ray: after five holes in a row the next surface stops it, hole or not."""
_STEP_M = np.float32(2e-3)
"""Distance behind a hole at which a ray restarts."""


class Hits(NamedTuple):
    """First hits of N rays; a ray that misses has infinite distance and the label of the sky.

    distance: (N,) float32 metres along the (unit) ray. facet, normal: (N, 3) geometric and shading
    unit normals, both facing the ray. uv: (N, 2) texture coordinates; uv_per_m: (N,) their scale.
    colour: (N, 3) albedo tint. glow: (N,) emitted radiance. material, label: (N,) uint8.
    """

    distance: Array
    facet: Array
    normal: Array
    uv: Array
    uv_per_m: Array
    colour: Array
    glow: Array
    material: NDArray[np.uint8]
    label: NDArray[np.uint8]


def no_hits(count: int) -> Hits:
    """Hits of `count` rays before casting."""
    narrow, wide = np.zeros((2, count), np.float32), np.zeros((3, count, 3), np.float32)
    return Hits(
        np.full(count, np.inf, np.float32), wide[0], wide[1], np.zeros((count, 2), np.float32),
        narrow[0], wide[2], narrow[1], np.zeros(count, np.uint8), np.full(count, SKY, np.uint8),
    )  # fmt: skip


class _Faces(NamedTuple):
    """Attributes of each triangle for compiled code; see `Mesh` and `Hits`."""

    uv: Array
    uv_per_m: Array
    normal: Array
    colour: Array
    glow: Array
    material: NDArray[np.uint8]
    label: NDArray[np.uint8]


class Solid:
    """A mesh in a ray-casting structure. glow: (M,) of its triangles, 0 where dark."""

    def __init__(self, mesh: Mesh, glow: Array | None = None) -> None:
        self.mesh = mesh
        glow = np.zeros(len(mesh), np.float32) if glow is None else glow.astype(np.float32)
        self._faces = _Faces(
            mesh.uv, _uv_per_m(mesh), mesh.normal, mesh.colour, glow, mesh.material, mesh.label
        )
        self._caster = import_extra("open3d").t.geometry.RaycastingScene(nthreads=1)
        vertices = np.ascontiguousarray(mesh.corners.reshape(-1, 3))
        faces = np.arange(len(vertices), dtype=np.uint32).reshape(-1, 3)
        self._caster.add_triangles(_tensor(vertices), _tensor(faces))

    def cast(self, rays: NDArray[np.float32], textures: Textures, hits: Hits) -> None:
        """Update `hits` where rays (N, 6: origin, unit direction) hit this mesh nearer."""
        pending = np.arange(len(rays))
        here, travelled = rays, np.zeros(len(rays), np.float32)
        for layer in range(_MAX_CASTS):
            found = self._caster.cast_rays(_tensor(here), nthreads=1)
            distance = found["t_hit"].numpy()
            passes = _record_hits(
                pending, here, travelled, distance, found["primitive_ids"].numpy(),
                found["primitive_uvs"].numpy(), found["primitive_normals"].numpy(), self._faces,
                textures, layer == _MAX_CASTS - 1, hits,
            )  # fmt: skip
            if not passes.any():
                return
            step = distance[passes] + _STEP_M
            pending, travelled = pending[passes], travelled[passes] + step
            here = here[passes]
            here[:, :3] += step[:, None] * here[:, 3:]

    def occludes(self, rays: NDArray[np.float32], reach: Array, textures: Textures) -> NDArray:
        """Whether rays (N, 6) hit this mesh nearer than `reach` (N,)."""
        hidden = np.zeros(len(rays), bool)
        pending, here, left = np.arange(len(rays)), rays, reach
        for _ in range(_MAX_CASTS - 2):
            found = self._caster.cast_rays(_tensor(here), nthreads=1)
            distance = found["t_hit"].numpy()
            state = _classify_hits(
                distance, left, found["primitive_ids"].numpy(), found["primitive_uvs"].numpy(),
                self._faces, textures,
            )  # fmt: skip
            hidden[pending[state == 1]] = True
            passes = state == 2
            if not passes.any():
                break
            step = distance[passes] + _STEP_M
            pending, left, here = pending[passes], left[passes] - step, here[passes]
            here[:, :3] += step[:, None] * here[:, 3:]
        return hidden


def _uv_per_m(mesh: Mesh) -> Array:
    """Texture coordinates per metre of each triangle (M,): 1 except for sheets of pictures."""
    (ax, ay, az), (bx, by, bz) = (np.moveaxis(mesh.corners[:, i] - mesh.corners[:, 0], 1, 0)
                                  for i in (1, 2))  # fmt: skip
    square = (ay * bz - az * by) ** 2 + (az * bx - ax * bz) ** 2 + (ax * by - ay * bx) ** 2
    (au, av), (bu, bv) = (np.moveaxis(mesh.uv[:, i] - mesh.uv[:, 0], 1, 0) for i in (1, 2))
    return np.sqrt(np.abs(au * bv - av * bu) / np.sqrt(np.maximum(square, 1e-16)))


def _tensor(values: NDArray) -> Any:
    return import_extra("open3d").core.Tensor(values)


@compiled
def _interpolate_uv(faces, t, barycentric):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Texture coordinates at barycentric coordinates of triangle t."""
    b, c = barycentric
    a = np.float32(1) - b - c
    corner = faces.uv[t]
    return (
        a * corner[0, 0] + b * corner[1, 0] + c * corner[2, 0],
        a * corner[0, 1] + b * corner[1, 1] + c * corner[2, 1],
    )


@compiled
def _record_hits(  # type: ignore[no-untyped-def]  # pragma: no cover
    pending, rays, travelled, distance, triangle, barycentric, facet, faces, textures, is_last, hits
):
    """Write hits that are nearer than those before; returns which rays pass through a hole."""
    passes = np.zeros(len(distance), np.bool_)
    for i in range(len(distance)):
        if not np.isfinite(distance[i]):
            continue
        ray, t, total = pending[i], triangle[i], travelled[i] + distance[i]
        if total >= hits.distance[ray]:
            continue
        u, v = _interpolate_uv(faces, t, barycentric[i])
        material = faces.material[t]
        if textures.is_cut[material] and not is_last and is_hole(textures, material, u, v):
            passes[i] = True
            continue
        hits.distance[ray] = total
        hits.uv[ray, 0], hits.uv[ray, 1], hits.uv_per_m[ray] = u, v, faces.uv_per_m[t]
        hits.glow[ray], hits.material[ray], hits.label[ray] = (
            faces.glow[t],
            material,
            faces.label[t],
        )
        along, lean = np.float32(0), np.float32(0)
        for k in range(3):
            along += facet[i, k] * rays[i, 3 + k]
            lean += faces.normal[t, k] * rays[i, 3 + k]
        flip = np.float32(-1) if along > 0 else np.float32(1)
        # Foliage keeps the normal of its crown on both sides of a card.
        turn = np.float32(-1) if lean > 0 and not textures.is_cut[material] else np.float32(1)
        for k in range(3):
            hits.facet[ray, k] = facet[i, k] * flip
            hits.normal[ray, k] = faces.normal[t, k] * turn
            hits.colour[ray, k] = faces.colour[t, k]
    return passes


@compiled
def _classify_hits(distance, reach, triangle, barycentric, faces, textures):  # type: ignore[no-untyped-def]  # pragma: no cover
    """0 for rays that miss, 1 for those that hit, 2 for those that pass through a hole."""
    state = np.zeros(len(distance), np.uint8)
    for i in range(len(distance)):
        if not distance[i] < reach[i]:
            continue
        t = triangle[i]
        material = faces.material[t]
        state[i] = 1
        if textures.is_cut[material]:
            u, v = _interpolate_uv(faces, t, barycentric[i])
            if is_hole(textures, material, u, v):
                state[i] = 2
    return state


@dataclass(frozen=True)
class Scene:
    """One moment of one traversal.

    still: everything that does not move during the traversal. moving: traffic at this moment.
    """

    still: Solid
    textures: Textures
    openness: Openness
    condition: Condition
    moving: Solid | None = None

    def at(self, moving: Mesh) -> Scene:
        """The same traversal at a moment when traffic is as in `moving`."""
        glow = column("glow")[moving.material] * np.float32(self.condition.lamps)
        return replace(self, moving=Solid(moving, glow) if len(moving) else None)

    @property
    def lights(self) -> Array:
        """All light sources, (L, 10) as in `Mesh`."""
        parts = [self.still] + ([self.moving] if self.moving else [])
        return np.concatenate([p.mesh.lights for p in parts])

    def cast(self, origin: Array, direction: Array) -> Hits:
        """First hits of rays with unit directions (N, 3) from origins (3,) or (N, 3)."""
        rays = np.empty((len(direction), 6), np.float32)
        rays[:, :3], rays[:, 3:] = origin, direction
        hits = no_hits(len(rays))
        for solid in (self.still, self.moving):
            if solid is not None:
                solid.cast(rays, self.textures, hits)
        return hits

    def is_occluded(self, origin: Array, direction: Array, reach: Array) -> NDArray[np.bool_]:
        """Whether rays with unit directions (N, 3) hit anything nearer than `reach` (N,) metres."""
        rays = np.concatenate([origin, direction], axis=1, dtype=np.float32)
        reach = np.asarray(reach, np.float32)
        hidden = self.still.occludes(rays, reach, self.textures)
        if self.moving is not None:
            free = np.flatnonzero(~hidden)
            hidden[free] = self.moving.occludes(rays[free], reach[free], self.textures)
        return hidden
