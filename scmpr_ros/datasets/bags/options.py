"""What a bag's topics are called, and what its messages do not say.

A file `bag.yaml` in the bag's folder, or beside it for all bags of a folder, holds a
`BagReaderConfig`. Every command that reads the bag follows it; options of the command take
precedence.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from scmpr_ros.config import flatten, from_dict, load_yaml, unflatten
from scmpr_ros.datasets.camera_images import CameraImageConfig
from scmpr_ros.errors import ConfigError
from scmpr_ros.label_sets import open_label_set
from scmpr_ros.semantics import LABEL_SETS

KNOWN_LABEL_SETS = ("joint", *LABEL_SETS)
NO_LABELS = "none"
OPTIONS = "bag.yaml"


@dataclass(frozen=True)
class BagTopics:
    """Names of a drive's topics in a bag.

    A reader takes the only topic of a type where the bag has none of the default name.
    """

    image: str = "/kitti/camera_color_left/image_raw"
    """Raw images; if there are none, compressed ones at `<image>/compressed`."""
    camera_info: str = "/kitti/camera_color_left/camera_info"
    """Intrinsics of the images."""
    points: str = "/kitti/velo/pointcloud"
    """Scans."""
    pose: str = "/kitti/ground_truth/odometry"
    """Poses in the map: Odometry, PoseStamped, PoseWithCovarianceStamped, Path, or TF (/tf)."""
    tf_static: str = "/tf_static"
    """Mounting of the sensors."""
    mask: str = "/kitti/camera_color_left/mask"
    """Joint class ids of the images' pixels, mono8; optional."""
    odometry: str = "/kitti/odometry"
    """Simulated odometry, odom to base_link: made from the true poses; written only."""
    tf: str = "/tf"
    """Transforms over time. Written: simulated odometry."""


@dataclass(frozen=True)
class BagReaderConfig:
    """Topics, frames and conventions of a bag, and the content of its options file."""

    topics: BagTopics = field(default_factory=BagTopics)
    images: CameraImageConfig = field(default_factory=CameraImageConfig)
    T_lidar_camera: tuple[float, ...] = ()
    """Row-major 3x4 extrinsics of the optical frame; empty: from tf_static."""
    T_pose_lidar: tuple[float, ...] = ()
    """Row-major 3x4 pose of the LiDAR in the frame that the poses are of; empty: from tf_static."""
    pose_frame: str = ""
    """Frame that the poses are of; empty: Odometry's child frame, else the LiDAR's."""
    world_frame: str = ""
    """Frame that poses from TF are in; empty: the root of the tree."""
    max_pose_gap_s: float = 1.0
    """Largest gap between two poses that is interpolated, in seconds."""
    label_set: str = ""
    """Ids in the points' field label: joint, a name such as semantickitti, semantickitti_train or
    kitti360, or a YAML file that maps ids to joint classes; none ignores the field; empty: as the
    bag's metadata says, else joint."""

    def __post_init__(self) -> None:
        for name in ("T_lidar_camera", "T_pose_lidar"):
            _check_transform(name, getattr(self, name))
        if not 0 <= self.max_pose_gap_s < float("inf"):
            raise ConfigError(f"max_pose_gap_s must not be negative, got {self.max_pose_gap_s}")
        if self.label_set not in ("", NO_LABELS, "joint"):
            try:
                open_label_set(self.label_set)
            except ConfigError as error:
                expected = str(error).replace("expected auto", "expected joint")
                raise ConfigError(f"bag.{expected}") from None


def _check_transform(name: str, rows: tuple[float, ...]) -> None:
    if len(rows) not in (0, 12):
        raise ConfigError(f"{name} needs 12 numbers, got {len(rows)}")
    if rows:
        R = np.reshape(rows, (3, 4))[:, :3]
        if not (np.allclose(R @ R.T, np.eye(3), atol=1e-3) and np.linalg.det(R) > 0):
            raise ConfigError(f"{name}: the left 3x3 {R.tolist()} is not a rotation")


def options_file(bag: Path) -> Path | None:
    """The options file of a bag: in its folder, else beside it; None if there is none."""
    inside = (bag / OPTIONS,) if bag.is_dir() else ()
    places = (*inside, bag.absolute().parent / OPTIONS)
    return next((path for path in places if path.is_file()), None)


def load_options(bag: Path, given: BagReaderConfig | None = None) -> BagReaderConfig:
    """Read a bag's options file, the defaults if it has none, with `given` options in its place.

    An option counts as given if it differs from its default. Raises ConfigError for a bad file.
    """
    path = options_file(bag)
    stored = BagReaderConfig() if path is None else load_yaml(BagReaderConfig, path)
    if given is None:
        return stored
    defaults = flatten(BagReaderConfig())
    changed = {key: value for key, value in flatten(given).items() if value != defaults[key]}
    return from_dict(BagReaderConfig, unflatten(flatten(stored) | changed))
