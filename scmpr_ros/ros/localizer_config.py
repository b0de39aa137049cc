"""The parameters of the localizer node."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from scmpr_ros.errors import ConfigError
from scmpr_ros.geometry import make_transform
from scmpr_ros.pipeline.localizer import LocalizerConfig
from scmpr_ros.ros.match_messages import CovarianceConfig, StateConfig


@dataclass(frozen=True)
class MountConfig:
    """Where the camera sits on the base: T_base_camera of the camera's body axes (x forward)."""

    xyz: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Position of the camera in the base frame, in metres."""
    rpy: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Roll, pitch, yaw of the camera's body axes in radians, as in URDF; they level images."""

    @property
    def T_base_camera_body(self) -> NDArray[np.float64]:
        """(4, 4); the identity where the pose of the camera itself is asked for."""
        return make_transform(Rotation.from_euler("xyz", self.rpy).as_matrix(), np.array(self.xyz))


@dataclass(frozen=True)
class LocalizerNodeConfig:
    """Parameters of the localizer node."""

    checkpoint: str = ""
    """Weight file (safetensors) of the network; the one that the map was built with."""
    map: str = ""
    """Directory of the place map; empty: wait for the map loader to name it."""
    map_frame: str = "map"
    """Frame of every published pose."""
    odom_frame: str = "odom"
    """Odometry frame, for broadcast_tf."""
    base_frame: str = "base_link"
    """Frame whose pose is published, for broadcast_tf."""
    mount: MountConfig = field(default_factory=MountConfig)
    image_transport: Literal["any", "raw", "compressed"] = "any"
    """Which of `image` and `image/compressed` to subscribe to; any: both, one answer a stamp."""
    reliable_images: bool = False
    """Ask for reliable delivery of images; then the publisher must be reliable, too."""
    queue_size: int = 1
    """Images that may wait while one is localised; more of them drop the oldest."""
    camera_info_timeout_s: float = 2.0
    """After this long without camera_info a waiting image is complained about."""
    publish_lost_poses: bool = True
    """Publish poses in the state LOST, too; switch off where a filter takes every pose."""
    publish_initialpose: bool = False
    """Publish the pose to /initialpose whenever LOST turns into LOCALIZED."""
    broadcast_tf: bool = False
    """Broadcast map -> odom while LOCALIZED; needs tf2_ros and odom -> base in tf."""
    autostart: bool = True
    """Configure and activate at start; false where a lifecycle manager does it."""
    state: StateConfig = field(default_factory=StateConfig)
    covariance: CovarianceConfig = field(default_factory=CovarianceConfig)
    localizer: LocalizerConfig = field(default_factory=LocalizerConfig)

    def __post_init__(self) -> None:
        if self.queue_size < 1:
            raise ConfigError(f"queue_size must be at least 1, got {self.queue_size}")
