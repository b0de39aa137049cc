"""The view of an image shows the same directions for every camera."""

from __future__ import annotations

import numpy as np
import torch

from scmpr_ros.geometry import AngularGrid, rotation_z
from scmpr_ros.networks.view import ViewSampler
from scmpr_ros.records import CameraModel

GRID = AngularGrid(24, 64, 10.0, -10.0, 60.0)
KITTI = CameraModel(1241, 376, 718.856, 718.856, 607.1928, 185.2157)
KITTI360 = CameraModel(1408, 376, 552.554261, 552.554261, 682.049453, 238.769549)


def coordinates_image(camera: CameraModel) -> torch.Tensor:
    """An image whose colours are the azimuth and elevation of each pixel."""
    x, y, _ = np.moveaxis(camera.rays(), -1, 0)
    azimuth, elevation = -np.arctan(x), -np.arctan2(y, np.hypot(x, 1))
    return torch.from_numpy(np.stack([azimuth, elevation, 0 * x])[None]).float()


def test_all_cameras_show_the_same_directions() -> None:
    for camera in (KITTI, KITTI360):
        sampler = ViewSampler.of(camera, GRID)
        view = sampler.image(coordinates_image(camera))[0].numpy()
        seen = sampler.seen.numpy()
        assert seen[12].all()
        azimuth = np.broadcast_to(GRID.azimuths(), (24, 64))
        elevation = np.broadcast_to(GRID.elevations()[:, None], (24, 64))
        np.testing.assert_allclose(view[0][seen], azimuth[seen], atol=5e-3)
        np.testing.assert_allclose(view[1][seen], elevation[seen], atol=5e-3)


def test_unseen_cells_are_zero_and_ignored() -> None:
    narrow = CameraModel(320, 240, 700.0, 700.0, 159.5, 119.5)
    sampler = ViewSampler.of(narrow, GRID)
    assert not sampler.seen[:, 0].any() and sampler.seen[12, 32]
    assert sampler.image(torch.ones(1, 3, 240, 320))[0, :, 12, 0].abs().sum() == 0
    labels = sampler.labels(torch.full((1, 240, 320), 5, dtype=torch.uint8))
    assert labels[0, 12, 32] == 5 and labels[0, 12, 0] == 0 and labels.dtype == torch.uint8


def test_a_rotated_mount_shifts_the_view() -> None:
    step = GRID.column_rad
    level = ViewSampler.of(KITTI, GRID).image(coordinates_image(KITTI))[0, 0]
    rotated = ViewSampler.of(KITTI, GRID, rotation_z(step)).image(coordinates_image(KITTI))[0, 0]
    torch.testing.assert_close(rotated[12, :-1], level[12, 1:], rtol=0, atol=5e-3)


def test_bytes_and_floats_give_the_same_view() -> None:
    pixels = torch.randint(0, 256, (1, 3, KITTI.height, KITTI.width), dtype=torch.uint8)
    sampler = ViewSampler.of(KITTI, GRID)
    assert sampler.shrink < 1  # scaling down rounds bytes once more
    from_bytes, from_floats = sampler.image(pixels), sampler.image(pixels.float() / 255)
    torch.testing.assert_close(from_bytes, from_floats, rtol=0, atol=1.01 / 255)
