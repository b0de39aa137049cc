"""A whole town from a seed."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from scmpr_ros.datasets.town.layout.greenery import place_plants
from scmpr_ros.datasets.town.layout.kerbside import Site
from scmpr_ros.datasets.town.layout.pavements import place_furniture
from scmpr_ros.datasets.town.layout.plots import place_fences, place_houses
from scmpr_ros.datasets.town.layout.street_life import place_traffic
from scmpr_ros.datasets.town.layout.street_network import StreetNetwork, StreetNetworkConfig
from scmpr_ros.datasets.town.layout.terrain import Ground
from scmpr_ros.datasets.town.mesh import Mesh
from scmpr_ros.datasets.town.sensors.scene import Scene, SkyBlock
from scmpr_ros.datasets.town.sensors.textures import TextureAtlas

Array = NDArray[np.float64]

_ATLASES = 12


def stream(*key: int | str) -> np.random.Generator:
    """A random stream of its own for each concern, the same on every machine."""
    words = [k if isinstance(k, int) else zlib.crc32(k.encode()) for k in key]
    return np.random.default_rng(np.random.SeedSequence(words))


@lru_cache(maxsize=2)
def _atlas(variant: int) -> TextureAtlas:
    return TextureAtlas(stream("textures", variant))


@dataclass(frozen=True)
class TownConfig:
    """What can be chosen about a town besides its seed."""

    streets: StreetNetworkConfig = field(default_factory=StreetNetworkConfig)


@dataclass(frozen=True)
class Town:
    """Streets, land and everything that stays put; `scene` adds what one traversal meets."""

    seed: int
    config: TownConfig
    site: Site
    static: Mesh

    @property
    def network(self) -> StreetNetwork:
        """The streets and crossings."""
        return self.site.ground.network

    @property
    def ground(self) -> Ground:
        """Relief, roads and pavements."""
        return self.site.ground

    @classmethod
    def generate(cls, seed: int, config: TownConfig | None = None) -> Town:
        """Build the town of a seed (a non-negative integer)."""
        config = config or TownConfig()
        network = StreetNetwork.generate(stream(seed, "streets"), config.streets)
        site = Site.of(Ground(stream(seed, "relief"), network))
        parts = [
            site.ground.mesh(stream(seed, "ground")),
            place_houses(stream(seed, "houses"), site),
            place_furniture(stream(seed, "furniture"), site),
            place_fences(stream(seed, "fences"), site),
            place_plants(stream(seed, "plants"), site),
        ]
        return cls(seed, config, site, Mesh.join(parts))

    def scene(self, traversal: int, drive_xy: Array | None = None) -> Scene:
        """The town with the traffic of one traversal.

        drive_xy: (N, 2) positions that passing vehicles keep clear of.
        """
        path = None if drive_xy is None else cKDTree(drive_xy)

        def is_clear(xy: Array) -> NDArray[np.bool_]:
            return np.ones(len(xy), bool) if path is None else path.query(xy)[0] > 1.6

        site = Site(self.ground, self.site.taken.copy())
        traffic = place_traffic(stream(self.seed, "traffic", traversal), site, is_clear)
        mesh = Mesh.join([self.static, traffic])
        return Scene(mesh, _atlas(self.seed % _ATLASES), self._sky_block(mesh))

    def _sky_block(self, mesh: Mesh) -> SkyBlock:
        low, size = self.ground.extent
        cells = np.ceil(size / SkyBlock.CELL_M).astype(int) + 1
        x, y = np.meshgrid(*(np.arange(n) * SkyBlock.CELL_M for n in cells))
        plan = np.stack([x, y], axis=-1).reshape(-1, 2) + low
        height = self.ground.relief(plan).reshape(x.shape).astype(np.float32)
        return SkyBlock(low, size, mesh, height)
