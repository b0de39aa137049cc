"""Images of a tilted camera are evaluated as levelled ones."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from circle_drive import CircleDrive
from recording import pitch_camera, write_recording
from scipy.spatial.transform import Rotation
from tiny_runs import TINY

from scmpr_ros.cli.evaluate import _parser
from scmpr_ros.datasets.drive import camera_tilt
from scmpr_ros.datasets.recordings import open_drives
from scmpr_ros.evaluation.evaluate import EvaluationConfig, predict_in_map
from scmpr_ros.evaluation.iou import MaskCounter
from scmpr_ros.geometry import R_BODY_OPTICAL, make_transform
from scmpr_ros.methods.scmpr.network import ScmprNetwork
from scmpr_ros.networks.view import ViewSampler
from scmpr_ros.records import Mount

PITCH_RAD = math.radians(6.0)
MOUNT = Mount(rpy=(0.0, PITCH_RAD, 0.0))


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The same recording by a level camera, and by one that is pitched down."""
    folder = tmp_path_factory.mktemp("mount")
    level, tilted = (write_recording(folder / name, 0, images=3) for name in ("level", "tilted"))
    pitch_camera(tilted, PITCH_RAD)
    return level, tilted


def test_answers_to_a_tilted_camera_are_tilted(folders: tuple[Path, Path]) -> None:
    torch.manual_seed(0)
    network = ScmprNetwork(TINY).eval()
    config = EvaluationConfig()
    for mount, pitch_rad in ((Mount(), 0.0), (MOUNT, PITCH_RAD), (None, PITCH_RAD)):
        (predictions,) = predict_in_map(folders[1], network, replace(config, mount=mount))
        forward = predictions.drive.candidates[:, 0, :3, 2]
        np.testing.assert_allclose(np.arcsin(-forward[:, 2]), pitch_rad, atol=0.01)
        assert predictions.provenance.mount_rpy[1] == pytest.approx(pitch_rad)


def test_masks_are_counted_on_the_levelled_grid(folders: tuple[Path, Path]) -> None:
    def correct(mount: Mount) -> float:
        (level,), (tilted,) = (
            [drive for drive in open_drives(folder) if drive.image_frames] for folder in folders
        )
        counter = MaskCounter(tilted, TINY.mask_grid, mount)
        sampler = ViewSampler.of(level.camera, TINY.mask_grid)
        for frame in level.image_frames:
            mask = sampler.labels(torch.from_numpy(level.mask(frame))[None])[0].numpy()
            counter(frame, MaskOnly(mask))
        return np.trace(counter.confusion[1:, 1:]) / counter.confusion[1:, 1:].sum()

    assert correct(MOUNT) > 0.97 > 0.95 > correct(Mount())


def test_a_tilted_camera_is_levelled() -> None:
    """Cameras of KITTI-360 look down by 5 degrees; taken for level, half of the recall is lost."""
    drive = CircleDrive()
    down = Rotation.from_euler("xyz", [0.01, np.radians(5.0), 0.3]).as_matrix()
    drive.T_lidar_camera = make_transform(down @ R_BODY_OPTICAL, np.array([0.2, 0.1, -0.3]))
    assert camera_tilt(drive) == pytest.approx((0.01, np.radians(5.0), 0.0))


def test_the_command_takes_a_mount() -> None:
    parser = _parser()

    def mount(*arguments: str) -> Mount | None:
        return parser.instantiate(parser.parse_args(["folder", *arguments])).settings.mount

    assert mount() is None
    assert mount("--settings.mount.rpy", "[0.0, 0.087, 0.0]") == Mount(rpy=(0.0, 0.087, 0.0))
    assert mount("--settings.mount.rpy", "[0, 0, 0]") == Mount()


class MaskOnly:
    """What `MaskCounter` reads of an answer."""

    def __init__(self, mask: np.ndarray) -> None:
        self.mask = mask
