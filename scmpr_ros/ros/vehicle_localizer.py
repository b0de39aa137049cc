"""Localise the vehicle that carries the camera: mount, odometry and tracker put together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rclpy.node import Node

from scmpr_ros.geometry import invert, shift_covariance
from scmpr_ros.pipeline.localizer import Localizer
from scmpr_ros.pipeline.states import LOCALIZED
from scmpr_ros.pipeline.tracking_localizer import TrackedAnswer, TrackingLocalizer
from scmpr_ros.records import CameraModel
from scmpr_ros.retrieval.place_map import PlaceMap
from scmpr_ros.ros.camera_mount import CameraMount, is_equally_level
from scmpr_ros.ros.last_pose import KnownPose, LastPoseFile
from scmpr_ros.ros.localizer_config import LocalizerNodeConfig
from scmpr_ros.ros.odometry import OdometryInput
from scmpr_ros.ros.transforms import TransformReader

_NS = 1_000_000_000


@dataclass(frozen=True)
class VehicleAnswer:
    """The answer to one image, as a pose of the base.

    T_map_base: (4, 4). covariance: (6, 6) of x, y, z in metres and of rotations about the map's
    axes in radians.
    """

    tracked: TrackedAnswer
    T_map_base: NDArray[np.float64]
    covariance: NDArray[np.float64]


class VehicleInputs:
    """What is known of the vehicle besides images: TF, odometry, and where its camera sits."""

    def __init__(self, node: Node, config: LocalizerNodeConfig) -> None:
        """Subscribe; raises ConfigError if a parameter asks for TF and tf2_ros is missing."""
        self.transforms = _transforms(node, config)
        self.mount = CameraMount(node, config, self.transforms)
        self.odometry = OdometryInput(node, config, self.transforms)

    @property
    def descriptions(self) -> dict[str, str]:
        """Where odometry and mount are from, for diagnostics."""
        return {
            "odometry": self.odometry.description,
            "camera mount": self.mount.description or "no image yet",
        }

    def clear(self) -> None:
        """Forget all that has a stamp: time has gone back."""
        if self.transforms is not None:
            self.transforms.clear()
        self.odometry.clear()

    def destroy(self) -> None:
        """Unsubscribe."""
        self.odometry.destroy()
        if self.transforms is not None:
            self.transforms.destroy()


class VehicleLocalizer:
    """A `TrackingLocalizer` of one map for poses of the base.

    Not thread-safe, except for `write_last_pose`: the worker's jobs use it.
    """

    def __init__(
        self, node: Node, config: LocalizerNodeConfig, place_map: PlaceMap, network: Any,
        inputs: VehicleInputs,
    ) -> None:  # fmt: skip
        """Load everything onto the device; raises MapFormatError as `Localizer` does."""
        self._node, self._config, self._network = node, config, network
        self._place_map, self._inputs = place_map, inputs
        self._last_pose: LastPoseFile | None = None
        if config.last_pose.path:
            self._last_pose = LastPoseFile(config.last_pose, place_map, node.get_logger().warning)
        self._level_mount = inputs.mount.T_base_camera_body
        self._tracking = self._build()

    def locate(
        self, image: NDArray[np.uint8], camera: CameraModel, stamp: int, camera_frame: str
    ) -> VehicleAnswer:
        """Take the next image (H, W, 3); may wait for odometry at its stamp, in nanoseconds.

        camera_frame: frame of TF that the image is of.
        Raises CalibrationError without a mount.
        """
        self._inputs.mount.update(camera_frame)
        self._level()
        T_base_camera = self._inputs.mount.T_base_camera
        T_odom_base = self._inputs.odometry.pose_at(stamp)
        T_odom_camera = None if T_odom_base is None else T_odom_base @ T_base_camera
        tracked = self._tracking.locate(image, camera, stamp / _NS, T_odom_camera)
        pose = tracked.pose
        return VehicleAnswer(
            tracked, *move_pose(pose.T_map_camera, pose.covariance, invert(T_base_camera))
        )

    def set_prior(
        self, T_map_base: NDArray[np.float64], covariance: NDArray[np.float64], probability: float
    ) -> None:
        """Take a pose of the base (4, 4) from elsewhere, and its covariance (6, 6)."""
        moved = move_pose(T_map_base, covariance, self._inputs.mount.T_base_camera)
        self._tracking.set_prior(*moved, probability)

    def use(self, config: LocalizerNodeConfig) -> None:
        """Take parameters that may change while the node runs; from any thread."""
        self._config = config
        self._tracking.use(config.tracking.state)

    def reset(self) -> None:
        """Forget everything: anywhere on the map, or off it."""
        self._tracking.reset()

    def start_from_last_pose(self) -> None:
        """Take the pose kept by an earlier run in the same map as a prior, if there is one."""
        pose = self._last_pose.read() if self._last_pose is not None else None
        if pose is not None:
            self.set_prior(pose.T_map_base, pose.covariance, self._config.last_pose.probability)
            self._node.get_logger().info(f"starting near the pose in {self._config.last_pose.path}")

    def note_last_pose(self, answer: VehicleAnswer, stamp: int) -> None:
        """Keep the pose of the image with this stamp, in nanoseconds, if it is LOCALIZED."""
        if self._last_pose is not None and answer.tracked.pose.state == LOCALIZED:
            self._last_pose.note(KnownPose(answer.T_map_base, answer.covariance, stamp))

    def flush_last_pose(self) -> None:
        """Write the pose of the last LOCALIZED image, if it is kept."""
        if self._last_pose is not None:
            self._last_pose.flush()

    def _level(self) -> None:
        """Build anew if the camera is tilted otherwise than the images are levelled for."""
        mount = self._inputs.mount.T_base_camera_body
        if not is_equally_level(mount, self._level_mount):
            self._level_mount = mount
            self._tracking = self._build()
            self._node.get_logger().info("the camera's tilt has changed: starting again")

    def _build(self) -> TrackingLocalizer:
        localizer = Localizer(
            self._place_map, self._network, self._config.localizer, self._level_mount[:3, :3]
        )
        return TrackingLocalizer(localizer, self._config.tracking)


def move_pose(
    T_map_a: NDArray[np.float64], covariance: NDArray[np.float64], T_a_b: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return pose and covariance of frame b of a rigid body from those of frame a.

    Covariances (6, 6) are of positions in metres and of rotations about the map's axes.
    """
    T_map_b = T_map_a @ T_a_b
    return T_map_b, shift_covariance(covariance, T_map_b[:3, 3] - T_map_a[:3, 3])


def _transforms(node: Node, config: LocalizerNodeConfig) -> TransformReader | None:
    """Return a reader of TF if the parameters demand it, or could use it and it is installed."""
    demands = {
        "broadcast_tf": config.broadcast_tf,
        "odometry.source": config.odometry.source == "tf",
        "mount.source": config.mount.source == "tf",
    }
    for parameter, demanded in demands.items():
        if demanded:
            return TransformReader(node, parameter)
    uses = "auto" in (config.odometry.source, config.mount.source)
    return TransformReader.if_installed(node) if uses else None
