"""Records exchanged between the layers; they validate their fields."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from scmpr_ros.errors import CalibrationError, ConfigError, ShapeError
from scmpr_ros.geometry import make_transform, without_yaw

INTENSITY_FIELDS = ("intensity", "i", "reflectance", "remission")
"""Names of the intensity field in point cloud files and messages; kitti2bag writes `i`."""


@dataclass(frozen=True)
class CameraModel:
    """A rectified pinhole camera; size and intrinsics in pixels, pixel centres at integers."""

    width: int
    height: int
    fx: float
    fy: float
    cx: float
    cy: float

    def __post_init__(self) -> None:
        values = (self.fx, self.fy, self.cx, self.cy)
        if self.width < 1 or self.height < 1:
            raise CalibrationError(f"camera size {self.width}x{self.height} is empty")
        if not np.isfinite(values).all() or self.fx <= 0 or self.fy <= 0:
            raise CalibrationError(
                f"camera intrinsics fx, fy, cx, cy = {values} are not usable: focal lengths must "
                "be positive; an uncalibrated camera publishes zeros"
            )

    @classmethod
    def from_matrix(cls, K: NDArray[np.floating], width: int, height: int) -> CameraModel:
        """Take the intrinsics from the left 3x3 of a camera or projection matrix (3, 3|4)."""
        return cls(width, height, float(K[0, 0]), float(K[1, 1]), float(K[0, 2]), float(K[1, 2]))

    @property
    def matrix(self) -> NDArray[np.float64]:
        """The (3, 3) camera matrix K."""
        return np.array([[self.fx, 0, self.cx], [0, self.fy, self.cy], [0, 0, 1.0]])

    @property
    def horizontal_fov_rad(self) -> float:
        """Angle between the outer edges of the first and last column, in radians."""
        left, right = self.cx + 0.5, self.width - 0.5 - self.cx
        return float(np.arctan(left / self.fx) + np.arctan(right / self.fx))

    def resized(self, width: int, height: int) -> CameraModel:
        """Return the camera of the image scaled to another size."""
        sx, sy = width / self.width, height / self.height
        cx = (self.cx + 0.5) * sx - 0.5
        cy = (self.cy + 0.5) * sy - 0.5
        return CameraModel(width, height, self.fx * sx, self.fy * sy, cx, cy)

    def rays(self) -> NDArray[np.float64]:
        """Viewing direction (H, W, 3) of each pixel in the optical frame, with z = 1."""
        u, v = np.meshgrid(np.arange(self.width), np.arange(self.height))
        x, y = (u - self.cx) / self.fx, (v - self.cy) / self.fy
        return np.stack([x, y, np.ones_like(x)], axis=-1)

    def project(
        self, points_camera: NDArray[np.floating]
    ) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Project points (N, 3) of the optical frame.

        Returns pixel coordinates (N, 2) and a mask (N,) of the points in front of the camera and
        inside the image; coordinates outside the mask are meaningless.
        """
        x, y, z = points_camera[:, 0], points_camera[:, 1], points_camera[:, 2]
        in_front = z > 1e-6
        depth = np.where(in_front, z, 1.0)
        uv = np.stack([self.fx * x / depth + self.cx, self.fy * y / depth + self.cy], axis=1)
        inside = (uv > -0.5).all(axis=1) & (uv < (self.width - 0.5, self.height - 0.5)).all(axis=1)
        return uv, in_front & inside


@dataclass(frozen=True)
class Mount:
    """Where the camera sits on the vehicle: T_base_camera of the camera's body axes (x forward)."""

    xyz: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Position of the camera in the base frame, in metres."""
    rpy: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Roll, pitch, yaw of the camera's body axes in radians, as in URDF; images are levelled by
    roll and pitch."""

    def __post_init__(self) -> None:
        if not np.isfinite([*self.xyz, *self.rpy]).all():
            raise ConfigError(f"mount xyz {self.xyz}, rpy {self.rpy}: numbers must be finite")

    @property
    def T_base_camera_body(self) -> NDArray[np.float64]:
        """(4, 4); the identity by default, which makes the published pose that of the camera."""
        return make_transform(Rotation.from_euler("xyz", self.rpy).as_matrix(), np.array(self.xyz))

    @property
    def R_level_camera(self) -> NDArray[np.float64]:
        """(3, 3) roll and pitch of the camera's body axes, see `geometry.without_yaw`."""
        return without_yaw(self.T_base_camera_body[:3, :3])


@dataclass(frozen=True)
class PointCloud:
    """Points of a scan or a map.

    xyz: (N, 3) float32, metres, relative to `origin`.
    label: (N,) uint8 joint class ids (`semantics`), or None if unlabelled.
    intensity: (N,) float32, or None.
    origin: (3,) float64, to be added to `xyz`: world coordinates of real maps are too large for
        float32.
    """

    xyz: NDArray[np.float32]
    label: NDArray[np.uint8] | None = None
    intensity: NDArray[np.float32] | None = None
    origin: NDArray[np.float64] = field(default_factory=lambda: np.zeros(3))

    def __post_init__(self) -> None:
        if self.xyz.ndim != 2 or self.xyz.shape[1] != 3:
            raise ShapeError.of("point cloud xyz", "(N, 3)", self.xyz.shape)
        for name in ("label", "intensity"):
            values = getattr(self, name)
            if values is not None and values.shape != (len(self.xyz),):
                raise ShapeError.of(f"point cloud {name}", f"({len(self.xyz)},)", values.shape)

    def __len__(self) -> int:
        return len(self.xyz)

    def select(self, keep: NDArray[np.bool_] | NDArray[np.integer]) -> PointCloud:
        """Select points, with all their fields, by a boolean mask or an index array."""
        return PointCloud(
            self.xyz[keep],
            None if self.label is None else self.label[keep],
            None if self.intensity is None else self.intensity[keep],
            self.origin,
        )


@dataclass(frozen=True)
class Candidate:
    """A possible pose of a query: a cluster of neighbouring places, see `retrieval.belief`.

    place_index, heading_index: the cluster's central place, and the heading that matched there.
    T_map_camera: (4, 4) mean pose of the cluster.
    score: alpha * phi + beta * psi of the central place (eq. 10).
    phi: cosine of the descriptors. psi: semantic overlap, see `retrieval.matching`.
    confidence: in [0, 1], probability that the camera was in this cluster and in none of the
        candidates before it.
    """

    place_index: int
    heading_index: int
    T_map_camera: NDArray[np.float64]
    score: float
    phi: float
    psi: float
    confidence: float


@dataclass(frozen=True)
class PlaceMatch:
    """The result of one query: at least one candidate, best first."""

    candidates: tuple[Candidate, ...]
    mask: NDArray[np.uint8] | None
    """(H, W) joint ids predicted for the network's view of the image; None for methods that
    predict none."""

    def __post_init__(self) -> None:
        if not self.candidates:
            raise ShapeError("a match needs at least one candidate")

    @property
    def best(self) -> Candidate:
        """The candidate with the highest confidence."""
        return self.candidates[0]

    @property
    def confidence(self) -> float:
        """Confidence of the best candidate.

        It measures whether another place looks as much like the image, which says more than the
        score, since streets look alike. It is 1 if no other place is shortlisted.
        """
        return self.best.confidence

    def __iter__(self) -> Iterator[Candidate]:
        return iter(self.candidates)
