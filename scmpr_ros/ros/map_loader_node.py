"""`map_loader`: build a place map of a point cloud, or reuse the one on disk, and publish it.

Building takes seconds to minutes and runs in a worker thread, so that services, parameters and
shutdown are served meanwhile. A map is reused if source, settings and network are unchanged.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
from geometry_msgs.msg import PoseArray
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from sensor_msgs.msg import PointCloud2
from std_msgs.msg import Header, String
from std_srvs.srv import Trigger

from scmpr_ros.cancellation import raise_if_cancelled
from scmpr_ros.errors import ConfigError, ScmprError
from scmpr_ros.geometry import make_transform, rotation_z
from scmpr_ros.methods.checkpoint import fingerprint, load_checkpoint
from scmpr_ros.methods.network import PlaceNetwork
from scmpr_ros.pipeline.map_builder import MapBuilderConfig, build_map
from scmpr_ros.pipeline.map_directory import BuiltFrom, MapDirectory, SourceDigest
from scmpr_ros.pipeline.map_source import MapSourceConfig, load_point_cloud_map
from scmpr_ros.records import PointCloud
from scmpr_ros.retrieval.place_map import PlaceMap
from scmpr_ros.ros.conversions import pack_points, points_message, pose_message
from scmpr_ros.ros.managed_node import ManagedNode, run_managed
from scmpr_ros.ros.qos import LATCHED
from scmpr_ros.ros.worker import Job


@dataclass(frozen=True)
class MapLoaderConfig:
    """Parameters of the map loader node."""

    source: str = ""
    """Point cloud map: a PLY or PCD file, or the folder of a recording."""
    checkpoint: str = ""
    """Weight file (safetensors) of the network that describes the places; empty: the shipped
    one."""
    directory: str = ""
    """Directory of the place map; written unless it can be reused."""
    map_frame: str = "map"
    """Frame of the published points and poses."""
    reuse: bool = True
    """Reuse the map in `directory` if source, settings and network are unchanged."""
    max_points: int = 500_000
    """Maximum number of map points that are published for viewers."""
    autostart: bool = True
    """Configure and activate at start; set to false if a lifecycle manager does it."""
    bond: bool = False
    """Publish a heartbeat on `bond` while active, as Nav2's lifecycle manager expects; needs the
    package bond."""
    map_source: MapSourceConfig = field(default_factory=MapSourceConfig)
    builder: MapBuilderConfig = field(default_factory=MapBuilderConfig)
    RUNTIME: ClassVar[tuple[str, ...]] = ("reuse", "max_points", "map_source.*", "builder.*")
    """Parameters that can be set while the node is configured; the next build takes them."""

    def __post_init__(self) -> None:
        if self.max_points < 1:
            raise ConfigError(f"max_points must be at least 1, got {self.max_points}")


class MapPublishers(NamedTuple):
    """The latched topics of a map."""

    points: Any
    viewpoints: Any
    place_map: Any


class MapLoaderNode(ManagedNode[MapLoaderConfig]):
    """Lifecycle node around `load_point_cloud_map` and `build_map`."""

    def __init__(self, **node_arguments: Any) -> None:
        """Declare parameters and create the service; nothing is loaded before configure."""
        super().__init__("map_loader", MapLoaderConfig, **node_arguments)
        self._network: PlaceNetwork | None = None
        self._map_publishers: MapPublishers | None = None
        self.create_service(
            Trigger, "~/build", self._on_build, callback_group=MutuallyExclusiveCallbackGroup()
        )

    # --- lifecycle ---------------------------------------------------------------------------

    def configure(self) -> None:
        """Check the parameters, load the network and create the topics."""
        for name in ("source", "directory"):
            if not getattr(self.config, name):
                raise ConfigError(f"parameter '{name}' is empty: the map loader needs it")
        if not Path(self.config.source).exists():
            raise ConfigError(f"parameter 'source': {self.config.source} does not exist")
        self._network = load_checkpoint(self.checkpoint_path())
        self._map_publishers = MapPublishers(
            self.create_lifecycle_publisher(PointCloud2, "~/points", LATCHED),
            self.create_lifecycle_publisher(PoseArray, "~/viewpoints", LATCHED),
            self.create_lifecycle_publisher(String, "~/place_map", LATCHED),
        )

    def activate(self) -> None:
        """Load or build the map in the background."""
        self.submit("provide the map", lambda job: self._provide(job, self.config.reuse))

    def deactivate(self) -> None:
        """Do nothing: the base class has cancelled the build."""

    def release(self) -> None:
        """Drop the network and the topics."""
        for publisher in self._map_publishers or ():
            self.destroy_lifecycle_publisher(publisher)
        self._map_publishers = self._network = None

    # --- the work ----------------------------------------------------------------------------

    def _provide(self, job: Job, reuse: bool) -> PlaceMap:
        """Load or build the map and publish it; runs in the worker."""
        config, network = self.config, self._network
        assert network is not None
        directory = MapDirectory(Path(config.directory))
        place_map = self._reusable(config, network, directory) if reuse else None
        if place_map is None:
            self.get_logger().info(f"building a map of {config.source} into {config.directory}")
            place_map = _build(config, network, directory)
        self._publish(job, config, place_map, directory)
        return place_map

    def _reusable(
        self, config: MapLoaderConfig, network: PlaceNetwork, directory: MapDirectory
    ) -> PlaceMap | None:
        """Return the map on disk if building it again would give the same."""
        if not directory.path.exists():
            return None
        try:
            return directory.load(
                Path(config.source), config.max_points, config.map_source, config.builder,
                fingerprint(network),
            )  # fmt: skip
        except ScmprError as error:
            self.get_logger().info(f"not reusing the map in {directory.path}: {error}")
            return None

    def _publish(
        self, job: Job, config: MapLoaderConfig, place_map: PlaceMap, directory: MapDirectory
    ) -> None:
        header = Header(stamp=self.get_clock().now().to_msg(), frame_id=config.map_frame)
        poses = [
            pose_message(make_transform(axes @ rotation_z(heading), position))
            for position, axes in zip(place_map.positions, place_map.axes, strict=True)
            for heading in place_map.headings_rad
        ]
        points = points_message(directory.points(), header)
        announcement = json.dumps(
            {"directory": str(directory.path.resolve()), "fingerprint": place_map.fingerprint}
        )
        with job.publishing():
            assert self._map_publishers is not None
            self._map_publishers.points.publish(points)
            self._map_publishers.viewpoints.publish(PoseArray(header=header, poses=poses))
            self._map_publishers.place_map.publish(String(data=announcement))
        self.get_logger().info(
            f"map {directory.path}: {len(place_map)} places, {len(poses)} viewpoints"
        )

    def _on_build(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        """Build again in any case; answers once the new map is published, or why it is not."""
        del request
        future = self.submit("build the map", lambda job: self._provide(job, reuse=False))
        try:
            place_map = future.result()
        except Exception as error:  # logged by `submit`
            response.success, response.message = False, str(error) or repr(error)
            return response
        response.success = True
        response.message = f"{len(place_map)} places in {self.config.directory}"
        return response


def _build(config: MapLoaderConfig, network: PlaceNetwork, directory: MapDirectory) -> PlaceMap:
    """Build a map and save it."""
    directory.check_writable()
    source = Path(config.source)
    digest = SourceDigest.of(source, directory.path)
    point_map = load_point_cloud_map(source, config.map_source)
    raise_if_cancelled()
    place_map = build_map(point_map, network, config.builder, progress=False)
    raise_if_cancelled()
    points = pack_points(_thinned(point_map.cloud, config.max_points))
    origin = BuiltFrom(str(source), digest, config.max_points, config.map_source, config.builder)
    directory.save(place_map, points, origin)
    return place_map


def _thinned(cloud: PointCloud, max_points: int) -> PointCloud:
    """Return at most `max_points` of a cloud, chosen at random with a fixed seed."""
    if len(cloud) <= max_points:
        return cloud
    chosen = np.random.default_rng(0).choice(len(cloud), max_points, replace=False)
    return cloud.select(np.sort(chosen))


def main() -> int:
    """Run the node; see `commands.map_loader`."""
    return run_managed(MapLoaderNode)
