"""Rigid transforms, pinhole rays and the spherical grid, in numpy and float64.

Conventions
-----------
`T_a_b` takes points from frame b to frame a: `p_a = T_a_b @ p_b`.
Body, LiDAR and map frames follow REP-103 (x forward, y left, z up); the camera's optical frame is
x right, y down, z forward. Yaw is counter-clockwise about z, zero along x.

An `AngularGrid` samples directions: the centre column looks along +x, and columns run to the right,
so that azimuth falls as the column grows (the order in which a camera sees the world).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scmpr_ros.errors import ConfigError, ShapeError

FloatArray = NDArray[np.floating]

_VOXEL_BITS = 21  # three signed voxel indices in one int64: 157 km either way at 0.15 m

R_BODY_OPTICAL: NDArray[np.float64] = np.array(
    [[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]]
)
"""Rotation from the optical frame (z forward) to the body frame (x forward) of a level camera."""


def make_transform(rotation: FloatArray, translation: FloatArray) -> NDArray[np.float64]:
    """Join a (3, 3) rotation and a (3,) translation to a (4, 4) transform."""
    T = np.eye(4)
    T[:3, :3] = rotation
    T[:3, 3] = translation
    return T


def invert(T: FloatArray) -> NDArray[np.float64]:
    """Invert a rigid transform, (4, 4) or a stack (..., 4, 4), without a matrix inversion."""
    R_t = np.swapaxes(T[..., :3, :3], -1, -2)
    result = np.zeros(np.shape(T))
    result[..., :3, :3] = R_t
    result[..., :3, 3] = -np.einsum("...ij,...j->...i", R_t, T[..., :3, 3])
    result[..., 3, 3] = 1.0
    return result


def transform_points(T_a_b: FloatArray, points_b: FloatArray) -> NDArray[np.float64]:
    """Take points (N, 3) from frame b to frame a."""
    points_b = np.asarray(points_b)
    if points_b.ndim != 2 or points_b.shape[1] != 3:
        raise ShapeError.of("points", "(N, 3)", points_b.shape)
    return points_b @ T_a_b[:3, :3].T + T_a_b[:3, 3]


def rotation_z(yaw_rad: float) -> NDArray[np.float64]:
    """Rotate counter-clockwise about z by `yaw_rad`."""
    c, s = np.cos(yaw_rad), np.sin(yaw_rad)
    return np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])


def level_camera_pose(position: FloatArray, yaw_rad: float) -> NDArray[np.float64]:
    """Pose `T_map_camera` of a level camera at `position` (3,) that looks along `yaw_rad`."""
    return camera_pose_on_ground(position, np.eye(3), yaw_rad, np.eye(3))


def camera_pose_on_ground(
    position: FloatArray, axes: FloatArray, yaw_rad: float, R_level_body: FloatArray
) -> NDArray[np.float64]:
    """Pose `T_map_camera` of a camera on a vehicle at `position` (3,).

    The vehicle stands with `axes` (3, 3), see `upright_axes`, turned by `yaw_rad`; the camera's
    body is mounted on it with the roll and pitch of `R_level_body` (3, 3), see `without_yaw`.
    """
    return make_transform(axes @ rotation_z(yaw_rad) @ R_level_body @ R_BODY_OPTICAL, position)


def without_yaw(R_base_body: FloatArray) -> NDArray[np.float64]:
    """A rotation (3, 3) less its yaw: the body turned about the base's z until it looks along x."""
    return rotation_z(-np.arctan2(R_base_body[1, 0], R_base_body[0, 0])) @ R_base_body


def camera_yaw(T_map_camera: FloatArray) -> NDArray[np.float64]:
    """Heading of the optical axis in the map's horizontal plane, in radians; stacks allowed."""
    forward = np.asarray(T_map_camera)[..., :3, 2]
    return np.arctan2(forward[..., 1], forward[..., 0])


def body_axes(T_map_camera: FloatArray) -> NDArray[np.float64]:
    """Ahead, left and up of a camera in the map, as columns (3, 3); stacks allowed."""
    return np.asarray(T_map_camera)[..., :3, :3] @ R_BODY_OPTICAL.T


def upright_axes(up: FloatArray) -> NDArray[np.float64]:
    """Ahead, left and up (N, 3, 3), as columns, of what faces the map's x with its `up` (N, 3).

    Azimuths in these axes are those of the map, to second order of the tilt (0.2 deg at 5 deg).
    """
    up = np.asarray(up, np.float64)
    up = up / np.linalg.norm(up, axis=1, keepdims=True)
    left = np.cross(up, [1.0, 0.0, 0.0])
    left /= np.linalg.norm(left, axis=1, keepdims=True)
    return np.stack([np.cross(left, up), left, up], axis=2)


def wrap_angle(angle_rad: FloatArray | float) -> NDArray[np.float64]:
    """Bring angles into [-pi, pi)."""
    return (np.asarray(angle_rad, dtype=np.float64) + np.pi) % (2 * np.pi) - np.pi


def voxel_keys(xyz: FloatArray, voxel_m: float) -> NDArray[np.int64]:
    """One sortable int64 for each point's (N, 3) voxel; equal where the voxels are equal."""
    index = np.floor(xyz / voxel_m).astype(np.int64) + (1 << (_VOXEL_BITS - 1))
    return (index[:, 0] << (2 * _VOXEL_BITS)) | (index[:, 1] << _VOXEL_BITS) | index[:, 2]


def spherical(points: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Azimuth, elevation (radians) and range (metres) of points (N, 3) in a z-up frame."""
    x, y, z = points[:, 0], points[:, 1], points[:, 2]
    range_m = np.sqrt(x * x + y * y + z * z)
    return np.arctan2(y, x), np.arctan2(z, np.hypot(x, y)), range_m


@dataclass(frozen=True)
class AngularGrid:
    """An image whose columns are equal steps of azimuth, and its rows of elevation.

    Panoramas of the map (fov_deg = 360) and the network's view of a camera image are both such
    grids, so that a thing has the same shape in both and turning the head shifts columns.
    """

    height: int
    width: int
    fov_up_deg: float
    fov_down_deg: float
    fov_deg: float = 360.0

    def __post_init__(self) -> None:
        if self.height < 1 or self.width < 1:
            raise ConfigError(f"an angular grid of {self.height}x{self.width} cells is empty")
        if not -90 <= self.fov_down_deg < self.fov_up_deg <= 90:
            raise ConfigError(
                f"vertical field of view {self.fov_down_deg}..{self.fov_up_deg} deg: "
                "need -90 <= fov_down_deg < fov_up_deg <= 90"
            )
        if not 0 < self.fov_deg <= 360:
            raise ConfigError(
                f"horizontal field of view {self.fov_deg} deg: need 0 < fov_deg <= 360"
            )

    @property
    def row_rad(self) -> float:
        """Height of a cell."""
        return float(np.radians(self.fov_up_deg - self.fov_down_deg)) / self.height

    @property
    def column_rad(self) -> float:
        """Width of a cell."""
        return float(np.radians(self.fov_deg)) / self.width

    @property
    def fov_rad(self) -> float:
        """Horizontal field of view."""
        return float(np.radians(self.fov_deg))

    @property
    def is_circle(self) -> bool:
        """Whether the last column meets the first."""
        return self.fov_deg == 360

    def resized(self, height: int, width: int) -> AngularGrid:
        """The same field of view in other cells."""
        return AngularGrid(height, width, self.fov_up_deg, self.fov_down_deg, self.fov_deg)

    def azimuths(self) -> NDArray[np.float64]:
        """Azimuth of each column's centre, (width,), falling."""
        return self.fov_rad / 2 - (np.arange(self.width, dtype=np.float64) + 0.5) * self.column_rad

    def elevations(self) -> NDArray[np.float64]:
        """Elevation of each row's centre, (height,), falling."""
        return (
            math.radians(self.fov_up_deg)
            - (np.arange(self.height, dtype=np.float64) + 0.5) * self.row_rad
        )

    def columns(self, azimuth_rad: FloatArray | float) -> NDArray[np.float64]:
        """Continuous column of an azimuth: cell j covers [j, j + 1)."""
        return (self.fov_rad / 2 - np.asarray(azimuth_rad, dtype=np.float64)) / self.column_rad

    def rows(self, elevation_rad: FloatArray | float) -> NDArray[np.float64]:
        """Continuous row of an elevation: cell i covers [i, i + 1)."""
        up = np.radians(self.fov_up_deg)
        return (up - np.asarray(elevation_rad, dtype=np.float64)) / self.row_rad

    def directions(self) -> NDArray[np.float64]:
        """Unit vectors of the cells in the body frame (x forward, y left, z up), (H, W, 3)."""
        az, el = np.meshgrid(self.azimuths(), self.elevations())
        return np.stack([np.cos(el) * np.cos(az), np.cos(el) * np.sin(az), np.sin(el)], axis=-1)
