"""The sensors of the car: KITTI's camera and LiDAR, with KITTI's calibration (sequence 00)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scmpr_ros.geometry import invert, make_transform
from scmpr_ros.records import CameraModel

Array = NDArray[np.float64]

LIDAR_HEIGHT_M = 1.73
_IMAGE_SIZE = (1241, 376)
_FX, _CX, _CY = 718.856, 607.1928, 185.2157
_P_TRANSLATION = (
    (0.0, 0.0, 0.0), (-386.1448, 0.0, 0.0), (45.38225, -0.1130887, 0.003779761),
    (-337.2877, 2.369057, 0.004915215),
)  # fmt: skip
_TR = np.array(
    [[4.276802385584e-04, -9.999672484946e-01, -8.084491683471e-03, -1.198459927713e-02],
     [-7.210626507497e-03, 8.081198471645e-03, -9.999413164504e-01, -5.403984729748e-02],
     [9.999738645903e-01, 4.859485810390e-04, -7.206933692422e-03, -2.921968648686e-01]]
)  # fmt: skip


@dataclass(frozen=True)
class Rig:
    """Camera 2 and the LiDAR on the base (ground level, x forward).

    camera: intrinsics at the wanted image size. T_cam0_lidar is KITTI's `Tr`; T_cam2_lidar adds the
    offset of camera 2, which KITTI hides in the last column of P2 (K^-1 p).
    """

    camera: CameraModel
    T_base_lidar: Array
    T_cam0_lidar: Array
    T_cam2_lidar: Array

    @classmethod
    def kitti(cls, image_size: tuple[int, int] = _IMAGE_SIZE) -> Rig:
        """KITTI's rig with images scaled to `image_size` (width, height)."""
        full = CameraModel(*_IMAGE_SIZE, _FX, _FX, _CX, _CY)
        R = _TR[:, :3]
        # The printed calibration is a rotation to seven digits; make it one to machine precision.
        U, _, Vt = np.linalg.svd(R)
        T_cam0_lidar = make_transform(U @ Vt, _TR[:, 3])
        offset = np.linalg.solve(full.matrix, np.array(_P_TRANSLATION[2]))
        T_cam2_cam0 = make_transform(np.eye(3), offset)
        return cls(
            full.resized(*image_size),
            make_transform(np.eye(3), np.array([0, 0, LIDAR_HEIGHT_M])),
            T_cam0_lidar,
            T_cam2_cam0 @ T_cam0_lidar,
        )

    @property
    def T_base_camera(self) -> Array:
        """Pose of camera 2's optical frame on the base."""
        return self.T_base_lidar @ invert(self.T_cam2_lidar)

    def calibration_text(self) -> str:
        """KITTI's calib.txt: P0 to P3 for the scaled images, and Tr."""
        full = CameraModel(*_IMAGE_SIZE, _FX, _FX, _CX, _CY)
        lines = []
        for i, translation in enumerate(_P_TRANSLATION):
            offset = np.linalg.solve(full.matrix, np.array(translation))
            K = self.camera.matrix
            lines.append((f"P{i}", np.column_stack([K, K @ offset])))
        lines.append(("Tr", self.T_cam0_lidar[:3]))
        return "".join(f"{k}: {' '.join(f'{v:.12e}' for v in M.ravel())}\n" for k, M in lines)
