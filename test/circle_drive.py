"""A small drive with known values, for tests of readers and writers."""

from __future__ import annotations

import numpy as np

from scmpr_ros.datasets.drive import Drive
from scmpr_ros.geometry import R_BODY_OPTICAL, make_transform, rotation_z
from scmpr_ros.records import CameraModel, PointCloud
from scmpr_ros.semantics import to_joint

RAW_IDS = np.array([0, 10, 18, 30, 40, 44, 48, 50, 51, 70, 71, 72, 80, 81, 252, 259], np.uint32)


class CircleDrive(Drive):
    """Twelve frames on a spiral; every second has an image, every third a scan.

    Labels are SemanticKITTI's, with instances. Every fourth frame has a mask, so some images have
    none.
    """

    name = "circle"
    label_set = "semantickitti"
    pose_source = "a circle"
    camera = CameraModel(32, 24, 20.1, 21.3, 15.5, 11.7)
    T_lidar_camera = make_transform(rotation_z(0.01) @ R_BODY_OPTICAL, np.array([0.2, 0.1, -0.3]))
    frames = tuple(range(12))
    image_frames = tuple(range(0, 12, 2))
    scan_frames = tuple(range(0, 12, 3))

    def stamp_s(self, frame: int) -> float:
        return 7.000000001 + 0.1032879 * frame

    def T_world_lidar(self, frame: int) -> np.ndarray:
        return make_transform(rotation_z(0.3 * frame), np.array([frame, 2.0 * frame, 0.1 * frame]))

    def T_world_camera(self, frame: int) -> np.ndarray:
        return self.T_world_lidar(frame) @ self.T_lidar_camera

    def image(self, frame: int) -> np.ndarray:
        v, u = np.mgrid[:24, :32]
        return np.stack([8 * u, 10 * v, np.full_like(u, 20 * frame)], axis=-1).astype(np.uint8)

    def mask(self, frame: int, sparse: bool = True) -> np.ndarray | None:
        ids = np.arange(24 * 32, dtype=np.uint8).reshape(24, 32) % 15
        return None if frame % 4 else ids

    def point_labels(self, frame: int) -> np.ndarray:
        instances = np.arange(len(RAW_IDS), dtype=np.uint32) * 4099
        return RAW_IDS | instances << 16

    def scan(self, frame: int) -> PointCloud:
        random, label = np.random.default_rng(frame), self.point_labels(frame)
        xyz = random.normal(size=(len(label), 3)).astype(np.float32)
        xyz[3] = -0.0  # LiDARs return it; its sign bit must be kept
        intensity = random.random(len(label)).astype(np.float32)
        return PointCloud(xyz, to_joint(label, "semantickitti"), intensity)
