"""How point cloud files are read: what they do not say themselves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scmpr_ros.errors import ConfigError
from scmpr_ros.label_sets import open_label_set
from scmpr_ros.lidar.clouds.formats.raw_bin import parse_layout

_ROTATIONS: Mapping[str, tuple[tuple[int, int, int], ...]] = {
    "+x": ((0, 1, 0), (0, 0, 1), (1, 0, 0)),
    "-x": ((0, 0, 1), (0, 1, 0), (-1, 0, 0)),
    "+y": ((0, 0, 1), (1, 0, 0), (0, 1, 0)),  # LOAM: x left, y up, z forward
    "-y": ((0, 0, 1), (-1, 0, 0), (0, -1, 0)),  # optical: x right, y down, z forward
    "+z": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "-z": ((1, 0, 0), (0, -1, 0), (0, 0, -1)),
}
"""Rows of the rotation to x forward, y left, z up, by the axis that points up."""


@dataclass(frozen=True)
class CloudConfig:
    """How a point cloud file or a folder of tiles is read."""

    label_set: str = "auto"
    """What ids in the label field mean: a name such as semantickitti, kitti360, cityscapes or
    asprs, a YAML file that maps ids to joint classes (`1: building`), none to ignore labels, or
    auto: what is usual for a field of that name."""
    origin: str = "auto"
    """Subtracted from coordinates before they become float32, "x,y,z" in metres; auto takes zero,
    or a point amid coordinates beyond 4,096 m. Poses come back with it added."""
    georeference: str = ""
    """Coordinate system of the map, as text that is kept with it; empty takes the file's own."""
    unit_m: float = 0.0
    """Length of the unit of the coordinates in metres, such as 0.001; 0 takes metres and refuses
    what looks like another unit."""
    up: str = ""
    """Axis of the file that points up, +x to -z; the cloud is turned to z up. Empty takes +z and
    refuses what looks like another."""
    bin_layout: str = "auto"
    """Type and columns of a .bin file, such as "float32 x y z intensity ring", or kitti, nuscenes
    or boreas; auto takes KITTI's and refuses what looks like another."""

    def __post_init__(self) -> None:
        if self.label_set not in ("auto", "none"):
            open_label_set(self.label_set)
        if self.up not in ("", *_ROTATIONS):
            raise ConfigError(f"up {self.up!r}: expected {', '.join(_ROTATIONS)}, or nothing")
        if not (np.isfinite(self.unit_m) and self.unit_m >= 0):
            raise ConfigError(f"unit_m {self.unit_m}: expected a length in metres, or 0")
        if self.bin_layout != "auto":
            parse_layout(self.bin_layout)
        self.given_origin()

    def given_origin(self) -> NDArray[np.float64] | None:
        """The origin (3,) as numbers; None for auto."""
        if self.origin == "auto":
            return None
        try:
            origin = np.array([float(v) for v in self.origin.split(",")])
        except ValueError:
            origin = np.empty(0)
        if origin.shape != (3,) or not np.isfinite(origin).all():
            raise ConfigError(f"origin {self.origin!r}: expected auto, or three numbers 'x,y,z'")
        return origin

    def in_map(self, xyz: NDArray[np.floating]) -> NDArray[np.floating]:
        """Points (N, 3) of the file's axes and unit, in metres and z up; the type stays."""
        if self.unit_m not in (0.0, 1.0):
            xyz = (xyz * np.float64(self.unit_m)).astype(xyz.dtype)
        return xyz if self.up in ("", "+z") else xyz @ self.R_map_file.T.astype(xyz.dtype)

    @property
    def R_map_file(self) -> NDArray[np.float64]:
        """Rotation (3, 3) from the file's axes to the map's, z up."""
        return np.array(_ROTATIONS[self.up or "+z"], np.float64)
