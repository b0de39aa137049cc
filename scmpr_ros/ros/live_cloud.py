"""A point cloud map that another node publishes, as a source of place maps."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

from rclpy.node import Node
from sensor_msgs.msg import PointCloud2

from scmpr_ros.datasets.bags.options import NO_LABELS
from scmpr_ros.datasets.ros_clouds import labels_from_pointcloud2, map_from_pointcloud2
from scmpr_ros.errors import DatasetError, ScmprError
from scmpr_ros.lidar.cloud_files import write_cloud
from scmpr_ros.pipeline.map_source import MapSourceConfig
from scmpr_ros.ros.qos import LATCHED, MATCHES_ALL, is_latched

_TOPIC = "points"
_OPTION = "map_source.cloud.label_set"


class LiveCloud:
    """Keeps the cloud of the topic `points` in a file beside the place map.

    topic: resolved name. file: where the last cloud was written; None before the first.
    """

    def __init__(
        self, node: Node, directory: Path, frame: str, source: MapSourceConfig,
        on_file: Callable[[Path], None],
    ) -> None:  # fmt: skip
        """Subscribe, to a latched publisher as well.

        directory: of the place map. frame: that clouds must be in. source: how the file will be
        read. on_file: called with each file.
        """
        self._node, self._frame, self._on_file = node, frame, on_file
        self._source = source
        self._path = directory.with_name(f"{directory.name}_points.ply")
        self.topic: str = node.resolve_topic_name(_TOPIC)
        self.file: Path | None = None
        self._last = b""
        self._subscriptions = [
            node.create_subscription(PointCloud2, _TOPIC, self._on_message, MATCHES_ALL)
        ]
        self._timer = node.create_timer(0.5, self._subscribe_if_latched)

    def destroy(self) -> None:
        """Unsubscribe."""
        self._node.destroy_timer(self._timer)
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)

    def _subscribe_if_latched(self) -> None:
        """Get what was published before: maps are latched as a rule."""
        publishers = self._node.get_publishers_info_by_topic(self.topic)
        if len(self._subscriptions) == 1 and any(is_latched(p.qos_profile) for p in publishers):
            self._subscriptions.append(
                self._node.create_subscription(PointCloud2, _TOPIC, self._on_message, LATCHED)
            )

    def _on_message(self, message: PointCloud2) -> None:
        content = hashlib.blake2b(message.data, digest_size=16).digest()
        content += message.header.frame_id.encode()
        if content == self._last:  # it comes to both subscriptions
            return
        self._last = content
        try:
            self.file = self._write(message)
        except (ScmprError, OSError) as error:
            self._node.get_logger().error(f"cannot use the cloud on {self.topic}: {error}")
            return
        self._on_file(self.file)

    def _write(self, message: PointCloud2) -> Path:
        if message.header.frame_id != self._frame:
            raise DatasetError(
                f"it is in frame {message.header.frame_id!r}, not in {self._frame!r}: set "
                "map_frame to the frame of the map"
            )
        named = self._source.cloud.label_set
        ids = self._scan_set() if named == "auto" else None
        cloud = map_from_pointcloud2(message, ids, _OPTION)
        if len(cloud) == 0:
            raise DatasetError("it has no finite points")
        self._path.parent.mkdir(parents=True, exist_ok=True)
        raw = None if named in ("auto", "none") else labels_from_pointcloud2(message)
        write_cloud(self._path, cloud, raw)
        return self._path

    def _scan_set(self) -> str | None:
        """Label set of PointCloud2 messages where that of the file to be written is not named."""
        label_set = self._source.bag.label_set
        return None if label_set == NO_LABELS else label_set or "joint"  # as of ~/points
