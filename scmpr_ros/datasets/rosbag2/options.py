"""What a bag's topics are called, and what its messages do not say.

A file `bag.yaml` in the bag's folder, or beside it for all bags of a folder, holds a
`BagReaderConfig`. Every command that reads the bag follows it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from scmpr_ros.config import load_yaml
from scmpr_ros.datasets.camera_images import CameraImageConfig
from scmpr_ros.errors import ConfigError
from scmpr_ros.semantics import LABEL_SETS

KNOWN_LABEL_SETS = ("joint", *LABEL_SETS)
OPTIONS = "bag.yaml"


@dataclass(frozen=True)
class BagTopics:
    """Names of a drive's topics in a bag."""

    image: str = "/kitti/camera_color_left/image_raw"
    """Raw images; if there are none, compressed ones at `<image>/compressed`."""
    camera_info: str = "/kitti/camera_color_left/camera_info"
    """Intrinsics of the images."""
    points: str = "/kitti/velo/pointcloud"
    """Scans."""
    pose: str = "/kitti/ground_truth/odometry"
    """Ground truth: nav_msgs/Odometry, geometry_msgs/PoseStamped or PoseWithCovarianceStamped."""
    tf_static: str = "/tf_static"
    """Mounting of the sensors."""
    mask: str = "/kitti/camera_color_left/mask"
    """Joint class ids of the images' pixels, mono8; optional."""
    odometry: str = "/kitti/odometry"
    """Simulated odometry, odom to base_link: made from the true poses; written only."""
    tf: str = "/tf"
    """Simulated odometry as a transform; written only."""


@dataclass(frozen=True)
class BagReaderConfig:
    """Topics and conventions of a bag, and the content of its options file."""

    topics: BagTopics = field(default_factory=BagTopics)
    images: CameraImageConfig = field(default_factory=CameraImageConfig)
    T_lidar_camera: tuple[float, ...] = ()
    """Row-major 3x4 extrinsics of the optical frame; empty: from tf_static."""
    pose_frame: str = ""
    """Frame that the poses are of; empty: Odometry's child frame, else the LiDAR's."""
    max_pose_gap_s: float = 1.0
    """Largest gap between two poses that is interpolated, in seconds."""
    label_set: str = ""
    """Ids in the points' field label: joint, semantickitti, kitti360 or cityscapes; empty: as the
    bag's metadata says, else joint."""

    def __post_init__(self) -> None:
        if len(self.T_lidar_camera) not in (0, 12):
            raise ConfigError(f"T_lidar_camera needs 12 numbers, got {len(self.T_lidar_camera)}")
        if self.T_lidar_camera:
            R = np.reshape(self.T_lidar_camera, (3, 4))[:, :3]
            if not (np.allclose(R @ R.T, np.eye(3), atol=1e-3) and np.linalg.det(R) > 0):
                raise ConfigError(f"T_lidar_camera: the left 3x3 {R.tolist()} is not a rotation")
        if self.label_set not in ("", *KNOWN_LABEL_SETS):
            raise ConfigError(f"label_set {self.label_set!r}: expected one of {KNOWN_LABEL_SETS}")


def options_file(bag: Path) -> Path | None:
    """The options file of a bag: in its folder, else beside it; None if there is none."""
    places = (bag / OPTIONS, bag.absolute().parent / OPTIONS)
    return next((path for path in places if path.is_file()), None)


def load_options(bag: Path) -> BagReaderConfig:
    """Read a bag's options file; the defaults if it has none. Raises ConfigError if it is bad."""
    path = options_file(bag)
    return BagReaderConfig() if path is None else load_yaml(BagReaderConfig, path)
