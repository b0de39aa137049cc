"""Write a tiny recording in KITTI layout: a street with a mapping and a query drive."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from scipy.spatial.transform import Rotation

from scmpr_ros.datasets.recordings import open_drives
from scmpr_ros.geometry import make_transform, transform_points
from scmpr_ros.lidar.cloud_files import write_cloud
from scmpr_ros.records import PointCloud
from scmpr_ros.semantics import class_id, from_joint

_TR = np.array([[0.0, -1, 0], [0, 0, -1], [1, 0, 0]])  # LiDAR to camera axes, at one point


def write_recording(folder: Path, seed: int, images: int = 12) -> Path:
    """Write a straight street of 24 m with coloured, labelled walls on both sides."""
    rng = np.random.default_rng(seed)
    colours = rng.integers(0, 255, (3, 14, 3), dtype=np.uint8)
    _write_sequence(folder, "00", np.arange(0, 24, 1.5), lateral_m=0.4)
    scans = folder / "sequences" / "00" / "velodyne"
    scans.mkdir()
    for number in range(16):
        np.full((10, 4), 5.0, np.float32).tofile(scans / f"{number:06d}.bin")
    _write_sequence(folder, "01", np.arange(0, 24, 24 / images), lateral_m=-0.4)
    for name in ("image_2", "mask_2"):
        (folder / "sequences" / "01" / name).mkdir()
    for number in range(images):
        image, mask = _picture(colours, number)
        cv2.imwrite(str(folder / "sequences" / "01" / "image_2" / f"{number:06d}.png"), image)
        cv2.imwrite(str(folder / "sequences" / "01" / "mask_2" / f"{number:06d}.png"), mask)
    write_cloud(folder / "map.ply", _street(rng))
    return folder


def _write_sequence(folder: Path, name: str, along: np.ndarray, lateral_m: float) -> None:
    sequence = folder / "sequences" / name
    sequence.mkdir(parents=True)
    P = np.array([[75.0, 0, 63.5, 0], [0, 75, 23.5, 0], [0, 0, 1, 0]])
    Tr = make_transform(_TR, np.zeros(3))
    lines = [f"P{i}: " + " ".join(map(str, P.ravel())) for i in range(4)]
    lines.append("Tr: " + " ".join(map(str, Tr[:3].ravel())))
    (sequence / "calib.txt").write_text("\n".join(lines) + "\n")
    (sequence / "times.txt").write_text("".join(f"{0.1 * i}\n" for i in range(len(along))))
    poses = [
        Tr @ make_transform(np.eye(3), np.array([x, lateral_m, 0])) @ np.linalg.inv(Tr)
        for x in along
    ]
    (folder / "poses").mkdir(exist_ok=True)
    rows = [" ".join(map(str, T[:3].ravel())) for T in poses]
    (folder / "poses" / f"{name}.txt").write_text("\n".join(rows) + "\n")


def _picture(colours: np.ndarray, number: int) -> tuple[np.ndarray, np.ndarray]:
    blocks = np.repeat(np.roll(colours, number, axis=1)[:, :8], 16, axis=1)
    image = np.repeat(blocks, 16, axis=0)
    mask = np.full((48, 128), 11, np.uint8)  # Cityscapes building
    mask[32:] = 7  # road
    return image, mask


def _street(rng: np.random.Generator) -> PointCloud:
    x, y = np.meshgrid(np.arange(-20, 44, 0.4), np.arange(-6, 6, 0.4))
    ground = np.stack([x.ravel(), y.ravel(), np.full(x.size, -1.7)], 1)
    x, z = np.meshgrid(np.arange(-20, 44, 0.4), np.arange(-1.5, 4, 0.4))
    walls = [np.stack([x.ravel(), np.full(x.size, s * 6.0), z.ravel()], 1) for s in (-1, 1)]
    xyz = np.concatenate([ground, *walls]).astype(np.float32)
    label = np.full(len(xyz), class_id("building"), np.uint8)
    label[: len(ground)] = class_id("road")
    blocks = rng.choice([class_id("building"), class_id("vegetation"), class_id("barrier")], 32)
    on_wall = slice(len(ground), None)
    label[on_wall] = blocks[((xyz[on_wall, 0] + 20) / 2).astype(int).clip(0, 31)]
    return PointCloud(xyz, label)


def write_labelled_scans(folder: Path, cloud: PointCloud) -> None:
    """Replace the scans of a recording by a labelled cloud (map frame), seen from each pose."""
    (drive,) = (drive for drive in open_drives(folder) if drive.scan_frames)
    sequence = folder / "sequences" / drive.name
    (sequence / "labels").mkdir(exist_ok=True)
    assert cloud.label is not None
    raw = from_joint(cloud.label, "semantickitti").astype("<u4")
    for frame in drive.scan_frames:
        xyz = transform_points(np.linalg.inv(drive.T_world_lidar(frame)), cloud.xyz)
        rows = np.column_stack([xyz, np.zeros(len(xyz))]).astype("<f4")
        rows.tofile(sequence / "velodyne" / f"{frame:06d}.bin")
        raw.tofile(sequence / "labels" / f"{frame:06d}.label")


def add_wall_like_lorry(cloud: PointCloud) -> PointCloud:
    """A cloud with a lorry across the street at x = 30 m, whose geometry is that of a wall."""
    across, z = np.meshgrid(np.arange(-4.0, 4.0, 0.2), np.arange(-1.5, 4.0, 0.2))
    lorry = np.stack([np.full(across.size, 30.0), across.ravel(), z.ravel()], 1)
    xyz = np.concatenate([cloud.xyz, lorry]).astype(np.float32)
    label = np.full(len(xyz), class_id("other_vehicle"), np.uint8)
    assert cloud.label is not None
    label[: len(cloud)] = cloud.label
    return PointCloud(xyz, label)


def pitch_camera(folder: Path, pitch_rad: float) -> None:
    """Pitch a recording's camera down: images and masks (nearest pixels), poses, extrinsics."""
    (drive,) = (drive for drive in open_drives(folder) if drive.image_frames)
    # URDF's positive pitch looks down: about the optical x axis that is a negative angle.
    R_level_tilted = Rotation.from_euler("x", -pitch_rad).as_matrix()
    K = drive.camera.matrix
    source_of_pixel = K @ R_level_tilted @ np.linalg.inv(K)
    v, u = np.mgrid[: drive.camera.height, : drive.camera.width]
    ray = np.stack([u, v, np.ones_like(u)], -1) @ source_of_pixel.T
    column = np.round(ray[..., 0] / ray[..., 2]).astype(int).clip(0, drive.camera.width - 1)
    row = np.round(ray[..., 1] / ray[..., 2]).astype(int).clip(0, drive.camera.height - 1)
    for name in ("image_2", "mask_2"):
        for path in (folder / "sequences" / drive.name / name).glob("*.png"):
            image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
            cv2.imwrite(str(path), image[row, column])
    R_tilted_level = R_level_tilted.T  # poses are of this camera against its first pose
    path = folder / "poses" / f"{drive.name}.txt"
    rows = R_tilted_level @ np.loadtxt(path).reshape(-1, 3, 4)
    rows[:, :, :3] = rows[:, :, :3] @ R_level_tilted
    np.savetxt(path, rows.reshape(-1, 12))
    path = folder / "sequences" / drive.name / "calib.txt"
    *cameras, mount = path.read_text().splitlines()
    T_camera_lidar = R_tilted_level @ np.array(mount.split()[1:], float).reshape(3, 4)
    mount = "Tr: " + " ".join(map(str, T_camera_lidar.ravel()))
    path.write_text("\n".join([*cameras, mount]) + "\n")
