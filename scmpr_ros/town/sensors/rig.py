"""Sensor rigs: camera and LiDAR as mounted and calibrated in KITTI and KITTI-360."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from scmpr_ros.errors import ConfigError
from scmpr_ros.geometry import R_BODY_OPTICAL, invert, make_transform
from scmpr_ros.records import CameraModel

Array = NDArray[np.float64]

LIDAR_HEIGHT_M = 1.73

_KITTI = CameraModel(1241, 376, 718.856, 718.856, 607.1928, 185.2157)
_KITTI_P_TRANSLATION = (
    (0.0, 0.0, 0.0), (-386.1448, 0.0, 0.0), (45.38225, -0.1130887, 0.003779761),
    (-337.2877, 2.369057, 0.004915215),
)  # fmt: skip
_KITTI_TR = np.array(
    [[4.276802385584e-04, -9.999672484946e-01, -8.084491683471e-03, -1.198459927713e-02],
     [-7.210626507497e-03, 8.081198471645e-03, -9.999413164504e-01, -5.403984729748e-02],
     [9.999738645903e-01, 4.859485810390e-04, -7.206933692422e-03, -2.921968648686e-01]]
)  # fmt: skip
_KITTI360 = CameraModel(1408, 376, 552.554261, 552.554261, 682.049453, 238.769549)
_KITTI360_CAMERA_ON_LIDAR = np.array([0.804, 0.299, -0.177])
_KITTI360_DOWN_DEG, _KITTI360_LEFT_DEG = 5.04, 2.5
RIGS = ("kitti", "kitti360")


@dataclass(frozen=True)
class Rig:
    """A camera and a LiDAR on a base (at ground level, x forward).

    camera: intrinsics at the image size. T_cam0_lidar: KITTI's `Tr`. offsets: (4, 3) positions of
    cameras 0 to 3 relative to camera 0, from the last columns p of KITTI's P0 to P3 (K^-1 p).
    Images are those of camera 2.
    """

    camera: CameraModel
    T_base_lidar: Array
    T_cam0_lidar: Array
    offsets: Array

    @staticmethod
    def proportional_height(name: str, width: int) -> int:
        """Height in pixels of a rig's images when scaled to `width`."""
        full = Rig.named(name).camera
        return round(width * full.height / full.width)

    @classmethod
    def named(cls, name: str, image_size: tuple[int, int] | None = None) -> Rig:
        """One of `RIGS`, with images scaled to `image_size` (width, height) if given."""
        if name not in RIGS:
            raise ConfigError(f"no sensor rig {name!r}; there are {', '.join(RIGS)}")
        full = _KITTI if name == "kitti" else _KITTI360
        if name == "kitti":
            # Orthonormalise: the published rotation has seven digits.
            U, _, Vt = np.linalg.svd(_KITTI_TR[:, :3])
            T_cam0_lidar = make_transform(U @ Vt, _KITTI_TR[:, 3])
            offsets = np.linalg.solve(full.matrix, np.array(_KITTI_P_TRANSLATION).T).T
        else:
            turn = Rotation.from_euler("zy", [_KITTI360_LEFT_DEG, _KITTI360_DOWN_DEG], degrees=True)
            T_lidar_camera = make_transform(
                turn.as_matrix() @ R_BODY_OPTICAL, _KITTI360_CAMERA_ON_LIDAR
            )
            T_cam0_lidar, offsets = invert(T_lidar_camera), np.zeros((4, 3))
        camera = full.resized(*image_size) if image_size else full
        T_base_lidar = make_transform(np.eye(3), np.array([0, 0, LIDAR_HEIGHT_M]))
        return cls(camera, T_base_lidar, T_cam0_lidar, offsets)

    @property
    def T_cam2_lidar(self) -> Array:
        """Pose of the LiDAR in the frame of camera 2."""
        return make_transform(np.eye(3), self.offsets[2]) @ self.T_cam0_lidar

    @property
    def T_base_camera(self) -> Array:
        """Pose of camera 2's optical frame in the base frame."""
        return self.T_base_lidar @ invert(self.T_cam2_lidar)

    @property
    def projections(self) -> Array:
        """KITTI's P0 to P3 (4, 3, 4) at the image size."""
        K = self.camera.matrix
        return np.stack([np.column_stack([K, K @ offset]) for offset in self.offsets])
