"""`map_loader`: build a place map of a point cloud, or reuse the one on disk, and publish it.

Building takes seconds to hours and runs in a worker thread, so that services, parameters and
shutdown are served meanwhile. A map is reused if source, settings and network are unchanged; an
interrupted build goes on where it stopped.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
from geometry_msgs.msg import PoseArray
from nav_msgs.msg import OccupancyGrid
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from sensor_msgs.msg import PointCloud2
from std_msgs.msg import Float32, Header, String
from std_srvs.srv import Trigger

from scmpr_ros.cancellation import raise_if_cancelled
from scmpr_ros.errors import ConfigError, ScmprError
from scmpr_ros.methods.checkpoint import fingerprint, load_checkpoint
from scmpr_ros.pipeline.build_config import MapBuildConfig
from scmpr_ros.pipeline.map_build import BuildRequest, build_place_map
from scmpr_ros.pipeline.map_builder import MapBuilderConfig
from scmpr_ros.pipeline.map_directory import check_reusable
from scmpr_ros.pipeline.map_source import MapSourceConfig
from scmpr_ros.pipeline.viewer_points import read_viewer_points
from scmpr_ros.records import PointCloud
from scmpr_ros.retrieval.place_map import PlaceMap
from scmpr_ros.retrieval.place_map.manifest import has_map
from scmpr_ros.ros.conversions import cloud_message
from scmpr_ros.ros.live_cloud import LiveCloud
from scmpr_ros.ros.managed_node import ManagedNode, run_managed
from scmpr_ros.ros.map_messages import coverage_grid, viewpoint_poses
from scmpr_ros.ros.qos import LATCHED
from scmpr_ros.ros.transforms import StaticFrames
from scmpr_ros.ros.worker import Job


@dataclass(frozen=True)
class MapLoaderConfig:
    """Parameters of the map loader node."""

    source: str = ""
    """Point cloud map: a file, a folder of tiles, or a recording. Empty to map the cloud that is
    published on the topic `points`."""
    checkpoint: str = ""
    """Weight file (safetensors) of the network that describes the places; empty: the shipped
    one."""
    directory: str = ""
    """Directory of the place map; written unless it can be reused."""
    map_frame: str = "map"
    """Frame of the published points and poses."""
    reuse: bool = True
    """Reuse the map in `directory` if source, settings and network are unchanged."""
    update: bool = False
    """Where the map in `directory` cannot be reused, replace only the tiles that have changed."""
    max_points: int = 500_000
    """Maximum number of map points that are published for viewers."""
    scheduler: str = ""
    """Address of a Dask scheduler that builds the tiles; empty: this process."""
    autostart: bool = True
    """Configure and activate at start; set to false if a lifecycle manager does it."""
    bond: bool = False
    """Publish a heartbeat on `bond` while active, as Nav2's lifecycle manager expects; needs the
    package bond."""
    map_source: MapSourceConfig = field(default_factory=MapSourceConfig)
    builder: MapBuilderConfig = field(default_factory=MapBuilderConfig)
    RUNTIME: ClassVar[tuple[str, ...]] = (
        "source", "directory", "reuse", "update", "max_points", "map_source.*", "builder.*",
    )  # fmt: skip
    """Parameters that can be set while the node is configured; `~/load` and `~/build` take them."""

    def __post_init__(self) -> None:
        if self.max_points < 1:
            raise ConfigError(f"max_points must be at least 1, got {self.max_points}")

    @property
    def build(self) -> MapBuildConfig:
        """The settings that a map depends on."""
        return MapBuildConfig(self.map_source, self.builder, self.max_points)


class MapPublishers(NamedTuple):
    """The latched topics of a map."""

    points: Any
    viewpoints: Any
    coverage: Any
    place_map: Any
    progress: Any
    status: Any


class MapLoaderNode(ManagedNode[MapLoaderConfig]):
    """Lifecycle node around `build_place_map`."""

    def __init__(self, **node_arguments: Any) -> None:
        """Declare parameters and create the services; nothing is loaded before configure."""
        super().__init__("map_loader", MapLoaderConfig, **node_arguments)
        self._fingerprint = ""
        self._map_publishers: MapPublishers | None = None
        self._live: LiveCloud | None = None
        self._frames = StaticFrames(self)
        for name, callback in (
            ("~/load", self._answer(reuse=True)),
            ("~/build", self._answer(reuse=False)),
            ("~/cancel", self._on_cancel),
        ):
            self.create_service(
                Trigger, name, callback, callback_group=MutuallyExclusiveCallbackGroup()
            )

    # --- lifecycle ---------------------------------------------------------------------------

    def configure(self) -> None:
        """Check the parameters, load the network and create the topics."""
        config = self.config
        _check_directory(config)
        if config.source and not Path(config.source).exists():
            raise ConfigError(f"parameter 'source': {config.source} does not exist")
        self._fingerprint = fingerprint(load_checkpoint(self.checkpoint_path()))
        self._map_publishers = MapPublishers(
            self.create_lifecycle_publisher(PointCloud2, "~/points", LATCHED),
            self.create_lifecycle_publisher(PoseArray, "~/viewpoints", LATCHED),
            self.create_lifecycle_publisher(OccupancyGrid, "~/coverage", LATCHED),
            self.create_lifecycle_publisher(String, "~/place_map", LATCHED),
            self.create_lifecycle_publisher(Float32, "~/progress", LATCHED),
            self.create_lifecycle_publisher(String, "~/status", LATCHED),
        )

    def activate(self) -> None:
        """Load or build the map in the background."""
        if self.config.source:
            self.submit("provide the map", lambda job: self._provide(job, self.config.reuse))
            return
        self._live = LiveCloud(
            self, Path(self.config.directory), self.config.map_frame, self.config.map_source,
            self._on_cloud,
        )  # fmt: skip
        self.get_logger().info(f"waiting for a map on {self._live.topic}")

    def deactivate(self) -> None:
        """Leave the topic of points; the base class has cancelled the build."""
        live, self._live = self._live, None
        if live is not None:
            live.destroy()

    def release(self) -> None:
        """Drop the topics."""
        for publisher in self._map_publishers or ():
            self.destroy_lifecycle_publisher(publisher)
        self._map_publishers = None

    # --- the work ----------------------------------------------------------------------------

    def _provide(self, job: Job, reuse: bool, source: str = "") -> int:
        """Load or build the map and publish it; return its number of places. Runs in the worker.

        source: in place of the parameter.
        """
        config = self.config
        source = source or config.source
        if not source:
            raise ConfigError("parameter 'source' is empty, and no cloud has come on `points` yet")
        _check_directory(config)  # it can be set at any time
        directory = Path(config.directory)
        if not (reuse and self._is_reusable(config, Path(source))):
            self.get_logger().info(f"building a map of {source} into {directory}")
            request = BuildRequest(
                Path(source), directory, self.checkpoint_path(), config.build,
                update=config.update and has_map(directory),
            )  # fmt: skip

            def report(what: str, done: int, total: int) -> None:
                self._report(job, f"{what}: {done} of {total}", done / total)

            self._report(job, "gathering points", 0.0)
            build_place_map(request, config.scheduler, workers=1, progress=report)
        raise_if_cancelled()
        place_map = PlaceMap.load(directory)
        self._publish(job, config, place_map)
        return len(place_map)

    def _is_reusable(self, config: MapLoaderConfig, source: Path) -> bool:
        """Whether building again would give the map on disk."""
        directory = Path(config.directory)
        if not directory.exists():
            return False
        try:
            check_reusable(directory, source, config.build, self._fingerprint)
        except ScmprError as error:
            self.get_logger().info(f"not reusing the map in {directory}: {error}")
            return False
        return True

    def _publish(self, job: Job, config: MapLoaderConfig, place_map: PlaceMap) -> None:
        directory = Path(config.directory)
        header = Header(stamp=self.get_clock().now().to_msg(), frame_id=config.map_frame)
        poses = viewpoint_poses(place_map)
        coverage = coverage_grid(place_map, config.builder.places.spacing_m, header)
        points = read_viewer_points(directory)
        announcement = json.dumps(
            {"directory": str(directory.resolve()), "fingerprint": place_map.fingerprint}
        )
        with job.publishing():
            assert self._map_publishers is not None
            topics = self._map_publishers
            if points is not None:
                topics.points.publish(self._points_message(points, header))
            topics.viewpoints.publish(PoseArray(header=header, poses=poses))
            topics.coverage.publish(coverage)
            topics.place_map.publish(String(data=announcement))
            topics.progress.publish(Float32(data=1.0))
            topics.status.publish(String(data=f"{len(place_map)} places"))
        self.get_logger().info(f"map {directory}: {len(place_map)} places")

    def _points_message(self, cloud: PointCloud, header: Header) -> PointCloud2:
        """The points in the map frame, or near it: far from its origin, float32 is too coarse."""
        if not np.any(cloud.origin):
            return cloud_message(cloud, header)
        frame = f"{header.frame_id}_points"
        self._frames.publish(header.frame_id, frame, cloud.origin)
        here = replace(cloud, origin=np.zeros(3))
        return cloud_message(here, Header(stamp=header.stamp, frame_id=frame))

    def _report(self, job: Job, status: str, fraction: float) -> None:
        """Publish how far the build is."""
        with job.publishing():
            assert self._map_publishers is not None
            self._map_publishers.progress.publish(Float32(data=fraction))
            self._map_publishers.status.publish(String(data=status))

    # --- services and topics -----------------------------------------------------------------

    def _on_cloud(self, source: Path) -> None:
        """Provide the map of a cloud that came in; `source` is the file it was written to."""
        self.submit(
            "provide the map", lambda job: self._provide(job, self.config.reuse, str(source))
        )

    def _answer(
        self, reuse: bool
    ) -> Callable[[Trigger.Request, Trigger.Response], Trigger.Response]:
        """A service that provides the map of the parameters as they are now."""

        def answer(request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
            del request
            live = self._live.file if self._live is not None else None
            future = self.submit(
                "provide the map", lambda job: self._provide(job, reuse, str(live or ""))
            )
            try:
                places = future.result()
            except Exception as error:  # logged by `submit`
                response.success, response.message = False, str(error) or repr(error)
                return response
            response.success = True
            response.message = f"{places} places in {self.config.directory}"
            return response

        return answer

    def _on_cancel(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        """Cancel the build; the map that was published stays, and the next build goes on."""
        del request
        response.success = not self.worker.wait_until_idle(0.0)
        if response.success and self._map_publishers is not None:
            self.worker.cancel("the build was cancelled")
            self.worker.resume()
            self._map_publishers.status.publish(String(data="cancelled"))
        response.message = "cancelled" if response.success else "nothing to cancel"
        return response


def _check_directory(config: MapLoaderConfig) -> None:
    if not config.directory:
        raise ConfigError("parameter 'directory' is empty: the map loader needs it")


def main() -> int:
    """Run the node; see `commands.map_loader`."""
    return run_managed(MapLoaderNode)
