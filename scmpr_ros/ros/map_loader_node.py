"""`map_loader`: point cloud files in, a place map on disk and its latched topics out.

A map is built in a thread of its own, which takes from seconds to minutes; services, parameters
and shutdown are answered meanwhile. A map that was built from the same source with the same
settings and the same network is taken as it is.
"""

from __future__ import annotations

import json
import sys
import traceback
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from geometry_msgs.msg import PoseArray
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.qos import DurabilityPolicy, QoSProfile
from sensor_msgs.msg import PointCloud2
from std_msgs.msg import Header, String
from std_srvs.srv import Trigger

from scmpr_ros.config import load_yaml, save_yaml
from scmpr_ros.errors import ConfigError, ScmprError
from scmpr_ros.geometry import make_transform, rotation_z
from scmpr_ros.methods.checkpoint import fingerprint, load_checkpoint
from scmpr_ros.pipeline.map_builder import MapBuilderConfig, build_map
from scmpr_ros.pipeline.map_source import MapSourceConfig, load_point_cloud_map
from scmpr_ros.records import PointCloud
from scmpr_ros.retrieval.place_map import PlaceMap
from scmpr_ros.ros.conversions import (
    pack_points,
    points_message,
    pose_message,
)
from scmpr_ros.ros.managed_node import ManagedNode, run_managed
from scmpr_ros.ros.worker import Worker

_POINTS, _BUILT_FROM = "points.npy", "built_from.yaml"
LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)


@dataclass(frozen=True)
class MapLoaderConfig:
    """Parameters of the map loader node."""

    source: str = ""
    """Point cloud map: a PLY or PCD file, or a folder of scans with poses."""
    checkpoint: str = ""
    """Weight file (safetensors) of the network that encodes the places."""
    directory: str = ""
    """Where the place map is written, and looked for."""
    map_frame: str = "map"
    """Frame of the published points and poses."""
    reuse: bool = True
    """Take the map in `directory` if source, settings and network are what it was built with."""
    max_points: int = 500_000
    """Points of the map that are published at most, for viewers."""
    autostart: bool = True
    """Configure and activate at start; false where a lifecycle manager does it."""
    map_source: MapSourceConfig = field(default_factory=MapSourceConfig)
    builder: MapBuilderConfig = field(default_factory=MapBuilderConfig)

    def __post_init__(self) -> None:
        if self.max_points < 1:
            raise ConfigError(f"max_points must be at least 1, got {self.max_points}")


@dataclass(frozen=True)
class BuiltFrom:
    """What a place map came from; written beside it, and compared before it is used again."""

    source: str
    source_modified_ns: int
    max_points: int
    map_source: MapSourceConfig
    builder: MapBuilderConfig

    @classmethod
    def of(cls, config: MapLoaderConfig) -> BuiltFrom:
        """Take the settings that matter; a folder was modified when its newest file was."""
        source = Path(config.source).resolve()
        files = [source, *source.rglob("*")] if source.is_dir() else [source]
        modified_ns = max(file.stat().st_mtime_ns for file in files)
        return cls(str(source), modified_ns, config.max_points, config.map_source, config.builder)


class MapLoaderNode(ManagedNode[MapLoaderConfig]):
    """Lifecycle node around `load_point_cloud_map` and `build_map`; topics as in the README."""

    def __init__(self, **node_arguments: Any) -> None:
        """Declare parameters; nothing is loaded before configure."""
        self._worker: Worker[PlaceMap] | None = None
        self._made: list[Any] = []
        self._service: Any = None
        super().__init__("map_loader", MapLoaderConfig, **node_arguments)

    # --- lifecycle ---------------------------------------------------------------------------

    def configure(self) -> None:
        """Check the parameters, load the network and create the topics."""
        for name in ("source", "checkpoint", "directory"):
            if not getattr(self.config, name):
                raise ConfigError(f"parameter '{name}' is empty: the map loader needs it")
        if not Path(self.config.source).exists():
            raise ConfigError(f"parameter 'source': there is no {self.config.source}")
        self._network = load_checkpoint(Path(self.config.checkpoint))
        self._points = self.create_lifecycle_publisher(PointCloud2, "~/points", LATCHED)
        self._viewpoints = self.create_lifecycle_publisher(PoseArray, "~/viewpoints", LATCHED)
        self._place_map = self.create_lifecycle_publisher(String, "~/place_map", LATCHED)
        self._made = [self._points, self._viewpoints, self._place_map]

    def activate(self) -> None:
        """Load or build the map in the background; offer to build it again."""
        self._worker = Worker("map_builder", capacity=1)
        self._service = self.create_service(
            Trigger, "~/build", self._on_build, callback_group=MutuallyExclusiveCallbackGroup()
        )
        self._worker.submit(lambda: self._provide(reuse=self.config.reuse))

    def deactivate(self) -> None:
        """Let a build that is going on end, for a while."""
        if self._service is not None:
            self.destroy_service(self._service)
            self._service = None
        if self._worker is not None and not self._worker.stop(timeout_s=2.0):
            self.get_logger().warning("a build is still going on; its map will not be published")
        self._worker = None

    def release(self) -> None:
        """Drop network and topics."""
        self.deactivate()
        for publisher in self._made:
            self.destroy_lifecycle_publisher(publisher)
        self._made = []

    def close(self) -> bool:
        """False while a build is going on."""
        return self._worker is None or self._worker.stop(timeout_s=2.0)

    # --- the work ----------------------------------------------------------------------------

    def _provide(self, reuse: bool) -> PlaceMap:
        """Load or build the map and publish it; runs in the worker's thread."""
        directory = Path(self.config.directory)
        try:
            place_map = self._reusable(directory) if reuse else None
            if place_map is None:
                place_map = self._build(directory)
            self._publish(place_map, directory)
        except ScmprError as error:
            self.get_logger().error(f"no map: {error}")
            raise
        except Exception:
            if not self.context.ok():  # a signal shut rclpy down beneath it
                raise
            self.get_logger().error(f"no map, a bug: {traceback.format_exc()}")
            raise
        return place_map

    def _build(self, directory: Path) -> PlaceMap:
        source = Path(self.config.source)
        self.get_logger().info(f"building a map of {source} into {directory}")
        built_from = BuiltFrom.of(self.config)
        point_map = load_point_cloud_map(source, self.config.map_source)
        place_map = build_map(point_map, self._network, self.config.builder, progress=False)
        place_map.save(directory)
        points = pack_points(_subsample(point_map.cloud, self.config.max_points))
        np.save(directory / _POINTS, points)
        save_yaml(built_from, directory / _BUILT_FROM)  # last: it says that the rest is complete
        return place_map

    def _reusable(self, directory: Path) -> PlaceMap | None:
        """The map in `directory`, if building it again would give the same."""
        if not directory.exists():
            return None
        try:
            if load_yaml(BuiltFrom, directory / _BUILT_FROM) != BuiltFrom.of(self.config):
                raise ConfigError("its source or its settings have changed")
            place_map = PlaceMap.load(directory)
            place_map.check_made_by(fingerprint(self._network))
        except ScmprError as error:
            self.get_logger().info(f"not taking the map in {directory}: {error}")
            return None
        return place_map

    def _publish(self, place_map: PlaceMap, directory: Path) -> None:
        header = Header(stamp=self.get_clock().now().to_msg(), frame_id=self.config.map_frame)
        poses = [
            pose_message(make_transform(axes @ rotation_z(heading), position))
            for position, axes in zip(place_map.positions, place_map.axes, strict=True)
            for heading in place_map.headings_rad
        ]
        points = np.load(directory / _POINTS, allow_pickle=False)
        named = {"directory": str(directory.resolve()), "fingerprint": place_map.fingerprint}
        self._points.publish(points_message(points, header))
        self._viewpoints.publish(PoseArray(header=header, poses=poses))
        self._place_map.publish(String(data=json.dumps(named)))
        self.get_logger().info(f"map {directory}: {len(place_map)} places, {len(poses)} viewpoints")

    def _on_build(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        """Build again, whatever is there; answers once the new map is published."""
        del request
        assert self._worker is not None
        future: Future[PlaceMap] = self._worker.submit(lambda: self._provide(reuse=False))
        try:
            place_map = future.result()
        except Exception as error:  # logged where it happened
            response.success = False
            response.message = str(error) or "the build was cancelled"
            return response
        response.success = True
        response.message = f"{len(place_map)} places in {self.config.directory}"
        return response


def _subsample(cloud: PointCloud, max_points: int) -> PointCloud:
    """At most `max_points` of a cloud, chosen at random but the same every time."""
    if len(cloud) <= max_points:
        return cloud
    chosen = np.random.default_rng(0).choice(len(cloud), max_points, replace=False)
    return cloud.select(np.sort(chosen))


def main() -> int:
    """Console script `map_loader`."""
    return run_managed(MapLoaderNode)


if __name__ == "__main__":
    sys.exit(main())
