"""The same seed gives the same town in every version: digests of a reference town.

Trained weights, published numbers and shared town seeds depend on it. Masks, labels and counts are
digested exactly. Images and distances are quantised coarsely first, as vector units of processors
differ in the last bits of sines, blurs and ray hits.
"""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from scmpr_ros.town.drives import DriveConfig
from scmpr_ros.town.sensors.lidar import LidarConfig
from scmpr_ros.town.sensors.rig import Rig
from scmpr_ros.town.traversal import Traversal, TraversalConfig
from scmpr_ros.town.world import Town

DRIVE = DriveConfig(spacing_m=10.0, length_m=60.0)
FRAME = 3

STATIC = "8480839015697440"
POSES = "cf9b3c124a2246e5"
FRAMES = {
    "rain/autumn": {
        "mask": "965609714e0470fa",
        "labels": "7e15abb757109c79",
        "image": "23c1abb46d00cc33",
        "depth": "230335b24727588d",
        "points": "a0ca4c6d461a6c7f",
        "intensity": "4603bd33a31446c4",
    },
    "night/winter": {
        "mask": "2b0b117d24071dcb",
        "labels": "4edb50ea03920be6",
        "image": "5a3a9c9b085247c1",
        "depth": "c3e0d531531499c4",
        "points": "0fbadd9ba29dac2d",
        "intensity": "135ee626cd8db38e",
    },
    "clear/summer": {
        "mask": "e5e87dcec0fbee07",
        "labels": "128e3f0b24dac2f2",
        "image": "19e4ff0e9a53e2af",
        "depth": "31615a4bdd83d4d4",
        "points": "941b0873f9515b9f",
        "intensity": "9e9683b6890e0268",
    },
}


def digest(*arrays: np.ndarray) -> str:
    content = b"".join(np.ascontiguousarray(a).tobytes() for a in arrays)
    return hashlib.sha256(content).hexdigest()[:16]


def static_digest(town: Town) -> str:
    mesh = town.static
    return digest(*(np.bincount(ids, minlength=64) for ids in (mesh.material, mesh.label)))


def traversal_of(town: Town, number: int, conditions: str) -> Traversal:
    condition, season = conditions.split("/")
    config = TraversalConfig(number, condition=condition, season=season, drive=DRIVE)
    lidar = LidarConfig(rings=16, columns=256)
    return Traversal.plan(town, config, Rig.named("kitti", (124, 38)), lidar)


def poses_digest(town: Town) -> str:
    traversal = traversal_of(town, 1, "clear/summer")
    metres = np.concatenate([traversal.T_world_base.ravel(), traversal.stamps_s])
    return digest(np.round(metres * 1e4).astype(np.int64))


def frame_digests(town: Town, number: int, conditions: str) -> dict[str, str]:
    """Digests of one frame by kind of data."""
    frame = traversal_of(town, number, conditions).frame(FRAME)
    assert frame.image is not None and frame.scan is not None
    blocks = frame.image.rgb[:36].reshape(9, 4, 31, 4, 3).mean(axis=(1, 3))
    depth = np.minimum(frame.image.depth, 80.0)
    return {
        "mask": digest(frame.image.mask),
        "labels": digest(frame.scan.label),
        "image": digest(np.round(blocks / 16).astype(np.uint8)),
        "depth": digest(np.round(np.log2(depth)).astype(np.uint8)),
        "points": digest(np.round(frame.scan.xyz / 2).astype(np.int8)),
        "intensity": digest(np.round(frame.scan.intensity * 100).astype(np.uint8)),
    }


def test_static_mesh_is_frozen(town: Town) -> None:
    assert static_digest(town) == STATIC


def test_poses_are_frozen(town: Town) -> None:
    assert poses_digest(town) == POSES


@pytest.mark.parametrize("number", range(len(FRAMES)))
def test_frames_are_frozen(town: Town, number: int) -> None:
    conditions = list(FRAMES)[number]
    assert frame_digests(town, number, conditions) == FRAMES[conditions]
