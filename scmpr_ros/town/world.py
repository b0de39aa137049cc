"""A town from a seed: everything static, and the scenes that traversals meet."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from scmpr_ros.town.ground.ground import Ground
from scmpr_ros.town.ground.surface import lay_surface
from scmpr_ros.town.layout.front_gardens import place_fences
from scmpr_ros.town.layout.greenery import place_plants, tuft_lawns
from scmpr_ros.town.layout.kerbside import Site
from scmpr_ros.town.layout.pavements import place_furniture
from scmpr_ros.town.layout.plots import place_houses
from scmpr_ros.town.layout.street_life import place_street_life
from scmpr_ros.town.layout.traffic import Traffic, plan_traffic
from scmpr_ros.town.materials import Material, column
from scmpr_ros.town.mesh import Mesh
from scmpr_ros.town.seasons import dress
from scmpr_ros.town.sensors.conditions import Condition
from scmpr_ros.town.sensors.openness import CELL_M, Openness, grid_shape, measure_openness
from scmpr_ros.town.sensors.scene import Scene, Solid
from scmpr_ros.town.streets.kitti_trajectory import read_trajectory
from scmpr_ros.town.streets.network import StreetNetwork, StreetNetworkConfig
from scmpr_ros.town.textures.atlas import Textures, make_textures
from scmpr_ros.town.vehicles.pool import Pool

Array = NDArray[np.float64]

_TEXTURE_SETS = 12


def stream(*key: int | str) -> np.random.Generator:
    """Random stream for a key such as (seed, "houses"), independent of all other keys and the same
    on every machine."""
    words = [k if isinstance(k, int) else zlib.crc32(k.encode()) for k in key]
    return np.random.default_rng(np.random.SeedSequence(words))


@lru_cache(maxsize=2)
def _textures(variant: int) -> Textures:
    return make_textures(stream("textures", variant))


@dataclass(frozen=True)
class TownConfig:
    """Settings of a town besides its seed.

    layout: file of KITTI odometry poses whose path the streets follow; None to draw the streets.
    """

    streets: StreetNetworkConfig = field(default_factory=StreetNetworkConfig)
    layout: Path | None = None


@dataclass(frozen=True)
class Town:
    """The static part of a town; `populate` adds what one traversal meets."""

    seed: int
    config: TownConfig
    site: Site
    static: Mesh

    @property
    def network(self) -> StreetNetwork:
        """Streets and crossings."""
        return self.site.ground.network

    @property
    def ground(self) -> Ground:
        """Relief, roads and pavements."""
        return self.site.ground

    @classmethod
    def generate(cls, seed: int, config: TownConfig | None = None) -> Town:
        """Build the town of a seed (a non-negative integer)."""
        config = config or TownConfig()
        network = _plan_streets(stream(seed, "streets"), config)
        site = Site.of(Ground(stream(seed, "relief"), network))
        surface = lay_surface(stream(seed, "ground"), site.ground)
        parts = [
            surface,
            place_houses(stream(seed, "houses"), site),
            place_furniture(stream(seed, "furniture"), site),
            place_fences(stream(seed, "fences"), site),
            place_plants(stream(seed, "plants"), site),
            tuft_lawns(stream(seed, "tufts"), surface, site),
        ]
        return cls(seed, config, site, Mesh.join(parts))

    @property
    def textures(self) -> Textures:
        """Textures of the town's surfaces; several towns share a set."""
        return _textures(self.seed % _TEXTURE_SETS)

    def populate(
        self, traversal: int, condition: Condition, drive_xy: Array, stamps_s: Array
    ) -> tuple[Scene, Traffic]:
        """The scene of one traversal, with its season and parked vehicles, and its traffic.

        drive_xy: (N, 2) positions of the car at stamps (N,), which all traffic keeps clear of.
        """
        site = replace(self.site, taken=self.site.taken.copy())
        rng = stream(self.seed, "traffic", traversal)
        pool = Pool(rng)
        parked = place_street_life(rng, site, pool)
        traffic = plan_traffic(rng, site, pool, drive_xy, stamps_s)
        mesh = Mesh.join([dress(self.static, condition.season, self.textures), parked])
        glow = switch_on(mesh, condition.lamps, stream(self.seed, "windows", traversal))
        scene = Scene(Solid(mesh, glow), self.textures, self._openness(mesh), condition)
        return scene, traffic

    def bare_scene(self, condition: Condition) -> Scene:
        """The scene without vehicles and people."""
        mesh = dress(self.static, condition.season, self.textures)
        glow = switch_on(mesh, condition.lamps, stream(self.seed, "windows"))
        return Scene(Solid(mesh, glow), self.textures, self._openness(mesh), condition)

    def _openness(self, mesh: Mesh) -> Openness:
        low, size = self.ground.extent
        shape = grid_shape(size)
        x, y = np.meshgrid(*(np.arange(n) * CELL_M for n in shape[::-1]))
        plan = np.stack([x, y], axis=-1).reshape(-1, 2) + low
        return measure_openness(mesh, low, self.ground.relief(plan).reshape(shape))


def _plan_streets(rng: np.random.Generator, config: TownConfig) -> StreetNetwork:
    if config.layout is None:
        return StreetNetwork.generate(rng, config.streets)
    return StreetNetwork.along(rng, read_trajectory(config.layout), config.streets)


def switch_on(mesh: Mesh, lamps: float, rng: np.random.Generator) -> Array:
    """Glow of each triangle (M,): all lamps and shops, and a random third of the windows."""
    glow = column("glow")[mesh.material] * np.float32(lamps)
    pane = np.flatnonzero(np.isin(mesh.material, (Material.WINDOW, Material.SHOP)))
    # Both triangles of a pane share a bounding box, so its centre identifies the pane.
    corners = mesh.corners[pane]
    middle = np.round((corners.min(axis=1) + corners.max(axis=1)) * 4).astype(np.int64)
    _, which = np.unique(middle, axis=0, return_inverse=True)
    brightness = rng.lognormal(0, 0.6, which.max(initial=-1) + 1)
    brightness *= rng.random(len(brightness)) < 0.33
    glow[pane] *= np.where(mesh.material[pane] == Material.SHOP, 1.0, brightness[which.ravel()])
    return glow
