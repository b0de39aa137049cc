"""Rigid transforms, voxels and spherical grids, in numpy and float64.

Conventions
-----------
`T_a_b` transforms points from frame b to frame a: `p_a = T_a_b @ p_b`.
Body, LiDAR and map frames follow REP-103 (x forward, y left, z up); the camera's optical frame is
x right, y down, z forward. Yaw is counter-clockwise about z, zero along x.

The centre column of an `AngularGrid` looks along +x. Columns run to the right, as in a camera
image, so azimuth decreases with the column.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scmpr_ros.errors import ConfigError, ShapeError

FloatArray = NDArray[np.floating]

_VOXEL_BITS = 21  # three signed voxel indices in one int64: +-157 km at 0.15 m
_ORIGIN_GRID_M = 100.0

R_BODY_OPTICAL: NDArray[np.float64] = np.array(
    [[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]]
)
"""Rotation from a camera's optical frame (z forward) to its body frame (x forward)."""


def make_transform(rotation: FloatArray, translation: FloatArray) -> NDArray[np.float64]:
    """Combine a (3, 3) rotation and a (3,) translation into a (4, 4) transform."""
    T = np.eye(4)
    T[:3, :3] = rotation
    T[:3, 3] = translation
    return T


_T_BODY_OPTICAL = make_transform(R_BODY_OPTICAL, np.zeros(3))


def invert(T: FloatArray) -> NDArray[np.float64]:
    """Invert a rigid transform, (4, 4) or a stack (..., 4, 4), without a matrix inversion."""
    R_t = np.swapaxes(T[..., :3, :3], -1, -2)
    result = np.zeros(np.shape(T))
    result[..., :3, :3] = R_t
    result[..., :3, 3] = -np.einsum("...ij,...j->...i", R_t, T[..., :3, 3])
    result[..., 3, 3] = 1.0
    return result


def transform_points(T_a_b: FloatArray, points_b: FloatArray) -> NDArray[np.float64]:
    """Transform points (N, 3) from frame b to frame a."""
    points_b = np.asarray(points_b)
    if points_b.ndim != 2 or points_b.shape[1] != 3:
        raise ShapeError.of("points", "(N, 3)", points_b.shape)
    return points_b @ T_a_b[:3, :3].T + T_a_b[:3, 3]


def rotation_z(yaw_rad: float) -> NDArray[np.float64]:
    """Return the (3, 3) rotation by `yaw_rad` about z, counter-clockwise."""
    c, s = np.cos(yaw_rad), np.sin(yaw_rad)
    return np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])


def shift_covariance(covariance: FloatArray, lever_arm: FloatArray) -> NDArray[np.float64]:
    """Return the covariance of the pose of another point of the same rigid body.

    covariance: (6, 6) of x, y, z in metres and of small rotations about the axes x, y, z of the
        same fixed frame, as in geometry_msgs/PoseWithCovariance.
    lever_arm: (3,) from the point whose covariance is given to the other one, in that frame.
    """
    x, y, z = lever_arm
    J = np.eye(6)
    J[:3, 3:] = [[0.0, z, -y], [-z, 0.0, x], [y, -x, 0.0]]  # a rotation w moves the tip by w x arm
    return J @ covariance @ J.T


def camera_pose_on_ground(
    position: FloatArray, axes: FloatArray, yaw_rad: float, R_level_body: FloatArray
) -> NDArray[np.float64]:
    """Return the pose `T_map_camera` (4, 4) of a camera mounted on a vehicle on the ground.

    position: (3,) of the camera. axes: (3, 3) of the ground there, see `upright_axes`.
    yaw_rad: heading of the vehicle in those axes.
    R_level_body: (3, 3) roll and pitch of the camera's body frame on the vehicle, see
        `without_yaw`.
    """
    return make_transform(axes @ rotation_z(yaw_rad) @ R_level_body @ R_BODY_OPTICAL, position)


def without_yaw(R_base_body: FloatArray) -> NDArray[np.float64]:
    """Remove the yaw from a rotation (3, 3): turn the body about the base's z to face x."""
    return rotation_z(-np.arctan2(R_base_body[1, 0], R_base_body[0, 0])) @ R_base_body


def camera_yaw(T_map_camera: FloatArray) -> NDArray[np.float64]:
    """Heading of the optical axis in the map's xy plane, in radians, (...) of poses (..., 4, 4)."""
    forward = np.asarray(T_map_camera)[..., :3, 2]
    return np.arctan2(forward[..., 1], forward[..., 0])


def body_axes(T_map_camera: FloatArray) -> NDArray[np.float64]:
    """Rotation `R_map_body` (..., 3, 3) of a camera: its forward, left and up axes as columns."""
    return np.asarray(T_map_camera)[..., :3, :3] @ R_BODY_OPTICAL.T


def body_from_optical(T_map_camera: FloatArray) -> NDArray[np.float64]:
    """Convert poses (..., 4, 4) of an optical frame to those of the camera's body axes."""
    return np.asarray(T_map_camera @ _T_BODY_OPTICAL.T)


def optical_from_body(T_map_body: FloatArray) -> NDArray[np.float64]:
    """Convert poses (..., 4, 4) of a camera's body axes to those of its optical frame."""
    return np.asarray(T_map_body @ _T_BODY_OPTICAL)


def is_body_frame(T_base_frame: FloatArray) -> bool:
    """Whether a camera's frame (4, 4) has z up, as body axes have, instead of forward."""
    return bool(T_base_frame[2, 2] > np.sqrt(0.5))


def upright_axes(up: FloatArray) -> NDArray[np.float64]:
    """Forward, left and up axes (N, 3, 3), as columns, of a body facing the map's x.

    up: (N, 3) the body's up axis in the map, of any length.
    Azimuths in these axes equal those of the map to second order of the tilt (0.2 deg at 5 deg).
    """
    up = np.asarray(up, np.float64)
    up = up / np.linalg.norm(up, axis=1, keepdims=True)
    left = np.cross(up, [1.0, 0.0, 0.0])
    left /= np.linalg.norm(left, axis=1, keepdims=True)
    return np.stack([np.cross(left, up), left, up], axis=2)


def wrap_angle(angle_rad: FloatArray | float) -> NDArray[np.float64]:
    """Wrap angles to [-pi, pi)."""
    return (np.asarray(angle_rad, dtype=np.float64) + np.pi) % (2 * np.pi) - np.pi


def voxel_keys(xyz: FloatArray, voxel_m: float) -> NDArray[np.int64]:
    """Sortable int64 key (N,) of each point's voxel; points (N, 3) in metres."""
    index = np.floor(xyz / voxel_m).astype(np.int64) + (1 << (_VOXEL_BITS - 1))
    return (index[:, 0] << (2 * _VOXEL_BITS)) | (index[:, 1] << _VOXEL_BITS) | index[:, 2]


def voxel_centres(keys: NDArray[np.int64], voxel_m: float) -> NDArray[np.float64]:
    """Centre (N, 3) of the voxels of `voxel_keys`."""
    mask, half = (1 << _VOXEL_BITS) - 1, 1 << (_VOXEL_BITS - 1)
    index = np.stack([keys >> (2 * _VOXEL_BITS), (keys >> _VOXEL_BITS) & mask, keys & mask], axis=1)
    centres: NDArray[np.float64] = (index - half + 0.5) * voxel_m
    return centres


def round_origin(position: FloatArray) -> NDArray[np.float64]:
    """Round a position (3,) to 100 m: an origin to subtract before coordinates become float32."""
    return np.round(position / _ORIGIN_GRID_M) * _ORIGIN_GRID_M


def spherical(points: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Azimuth, elevation (radians) and range (metres) of points (N, 3) in a z-up frame."""
    x, y, z = points[:, 0], points[:, 1], points[:, 2]
    range_m = np.sqrt(x * x + y * y + z * z)
    return np.arctan2(y, x), np.arctan2(z, np.hypot(x, y)), range_m


@dataclass(frozen=True)
class AngularGrid:
    """An image with equal steps of azimuth between columns and of elevation between rows.

    Panoramas of the map (fov_deg = 360) and the network's view of a camera image both use such
    grids. So objects have the same shape in both, and a rotation in yaw shifts the columns.
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
        """Height of a cell in radians."""
        return float(np.radians(self.fov_up_deg - self.fov_down_deg)) / self.height

    @property
    def column_rad(self) -> float:
        """Width of a cell in radians."""
        return float(np.radians(self.fov_deg)) / self.width

    @property
    def fov_rad(self) -> float:
        """Horizontal field of view in radians."""
        return float(np.radians(self.fov_deg))

    @property
    def is_circle(self) -> bool:
        """Whether the grid covers 360 degrees."""
        return self.fov_deg == 360

    def resized(self, height: int, width: int) -> AngularGrid:
        """Return a grid of another size with the same field of view."""
        return AngularGrid(height, width, self.fov_up_deg, self.fov_down_deg, self.fov_deg)

    def azimuths(self) -> NDArray[np.float64]:
        """Azimuth of each column's centre, (width,), decreasing."""
        return self.fov_rad / 2 - (np.arange(self.width, dtype=np.float64) + 0.5) * self.column_rad

    def elevations(self) -> NDArray[np.float64]:
        """Elevation of each row's centre, (height,), decreasing."""
        return (
            math.radians(self.fov_up_deg)
            - (np.arange(self.height, dtype=np.float64) + 0.5) * self.row_rad
        )

    def columns(self, azimuth_rad: FloatArray | float) -> NDArray[np.float64]:
        """Continuous column of an azimuth; cell j covers [j, j + 1)."""
        return (self.fov_rad / 2 - np.asarray(azimuth_rad, dtype=np.float64)) / self.column_rad

    def rows(self, elevation_rad: FloatArray | float) -> NDArray[np.float64]:
        """Continuous row of an elevation; cell i covers [i, i + 1)."""
        up = np.radians(self.fov_up_deg)
        return (up - np.asarray(elevation_rad, dtype=np.float64)) / self.row_rad

    def directions(self) -> NDArray[np.float64]:
        """Unit vectors (H, W, 3) of the cells in the body frame (x forward, y left, z up)."""
        az, el = np.meshgrid(self.azimuths(), self.elevations())
        return np.stack([np.cos(el) * np.cos(az), np.cos(el) * np.sin(az), np.sin(el)], axis=-1)
