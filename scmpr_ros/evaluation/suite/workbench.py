"""What the entries of a suite share: the network, and maps that are built once."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import replace
from pathlib import Path
from typing import Literal

from scmpr_ros.datasets.bags.options import BagReaderConfig
from scmpr_ros.errors import ConfigError
from scmpr_ros.evaluation.evaluate import EvaluationConfig
from scmpr_ros.lidar.point_cloud_map import PointCloudMap
from scmpr_ros.methods.network import PerceivingNetwork, PlaceNetwork
from scmpr_ros.pipeline.localizer import Localizer
from scmpr_ros.pipeline.map_builder import build_map
from scmpr_ros.pipeline.map_points import load_point_cloud_map
from scmpr_ros.pipeline.map_source import PREBUILT_MAP
from scmpr_ros.records import Mount
from scmpr_ros.retrieval.place_map import PlaceMap

Places = Literal["path", "grid", "bare"]
"""Where a map's places are.

`path`: along the driven path. `grid`: all over the open ground of the same map. `bare`: the same,
but all that is given is the file map.ply, without scans that show ghosts.
"""


class Workbench:
    """Network, settings and the folder of the data, with the maps made so far.

    data: folder to which the paths of entries are relative. town: recording of a town in which no
    image of the suite was taken; None if there is none.
    """

    def __init__(
        self, network: PlaceNetwork, config: EvaluationConfig, data: Path, town: Path | None = None
    ) -> None:
        self.network, self.config, self.data, self.town = network, config, data, town
        self._point_maps: dict[Hashable, PointCloudMap] = {}
        self._place_maps: dict[Hashable, PlaceMap] = {}

    @property
    def perceiving_network(self) -> PerceivingNetwork:
        """The network; raises ConfigError if it predicts no masks."""
        if not isinstance(self.network, PerceivingNetwork):
            raise ConfigError(f"{self.network.method} predicts no masks and no ranges")
        return self.network

    def point_map(
        self, source: Path, sequence: str = "", bag: BagReaderConfig | None = None
    ) -> PointCloudMap:
        """The labelled points of a recording or of a cloud file; bag: options of a bag."""
        key = (source, sequence, bag)
        if key not in self._point_maps:
            config = replace(
                self.config.source, sequence=sequence, bag=bag or self.config.source.bag
            )
            self._point_maps[key] = load_point_cloud_map(source, config)
        return self._point_maps[key]

    def place_map(
        self, folder: Path, sequence: str, places: Places, bag: BagReaderConfig | None = None
    ) -> PlaceMap:
        """The place map of a recording; bag: options of a bag."""
        key = (folder, sequence, places, bag)
        if key not in self._place_maps:
            if places == "bare":
                point_map = self.point_map(folder / PREBUILT_MAP)
            else:
                point_map = self.point_map(folder, sequence, bag)
            if places == "grid":
                point_map = replace(point_map, trajectory=None)
            self._place_maps[key] = build_map(
                point_map, self.network, self.config.builder, progress=False
            )
        return self._place_maps[key]

    def localizer(
        self,
        folder: Path,
        sequence: str,
        places: Places,
        mount: Mount,
        bag: BagReaderConfig | None = None,
    ) -> Localizer:
        """A localizer in the place map of a recording; bag: options of a bag."""
        place_map = self.place_map(folder, sequence, places, bag)
        R_base_camera = mount.T_base_camera_body[:3, :3]
        return Localizer(place_map, self.network, self.config.localizer, R_base_camera)
