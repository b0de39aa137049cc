"""Camera models, point clouds and matches, and their validation."""

from __future__ import annotations

import numpy as np
import pytest

from scmpr_ros.errors import CalibrationError, ShapeError
from scmpr_ros.records import CameraModel, PlaceMatch, PointCloud

KITTI = CameraModel(1241, 376, 718.856, 718.856, 607.1928, 185.2157)


def test_projection_of_a_known_point() -> None:
    uv, visible = KITTI.project(np.array([[1.0, 0.5, 10.0], [0.0, 0.0, -1.0], [100.0, 0.0, 1.0]]))
    np.testing.assert_allclose(uv[0], [607.1928 + 71.8856, 185.2157 + 35.9428])
    assert visible.tolist() == [True, False, False]


def test_rays_project_to_their_own_pixels() -> None:
    uv, visible = KITTI.project(KITTI.rays().reshape(-1, 3))
    v, u = np.mgrid[0:376, 0:1241].reshape(2, -1)
    assert visible.all()
    np.testing.assert_allclose(uv, np.stack([u, v], 1), atol=1e-9)


def test_resizing_keeps_the_field_of_view() -> None:
    small = KITTI.resized(372, 113)
    assert small.horizontal_fov_rad == pytest.approx(KITTI.horizontal_fov_rad, rel=1e-9)
    assert small.resized(1241, 376).cx == pytest.approx(KITTI.cx)


def test_intrinsics_come_from_a_projection_matrix() -> None:
    P = np.array([[700.0, 0, 320, -300], [0, 710, 240, 2], [0, 0, 1, 0]])
    camera = CameraModel.from_matrix(P, 640, 480)
    assert (camera.fx, camera.fy, camera.cx, camera.cy) == (700, 710, 320, 240)
    np.testing.assert_array_equal(camera.matrix, P[:, :3])


@pytest.mark.parametrize(
    "values", [(0, 4, 1, 1, 0, 0), (4, 4, 0, 1, 0, 0), (4, 4, 1, 1, np.nan, 0)]
)
def test_bad_cameras_are_refused(values: tuple[float, ...]) -> None:
    with pytest.raises(CalibrationError):
        CameraModel(*values)  # type: ignore[arg-type]


def test_selected_points_keep_their_fields() -> None:
    cloud = PointCloud(
        np.arange(12, dtype=np.float32).reshape(4, 3),
        np.array([1, 2, 3, 4], np.uint8),
        np.array([0.1, 0.2, 0.3, 0.4], np.float32),
        np.array([5.0, 6.0, 7.0]),
    )
    part = cloud.select(np.array([False, True, False, True]))
    assert part.label is not None and part.label.tolist() == [2, 4]
    assert part.xyz[1].tolist() == [9, 10, 11] and part.origin.tolist() == [5, 6, 7]
    with pytest.raises(ShapeError, match="label"):
        PointCloud(cloud.xyz, cloud.label[:2])
    with pytest.raises(ShapeError, match="xyz"):
        PointCloud(cloud.xyz[:, :2])


def test_a_match_needs_a_candidate() -> None:
    with pytest.raises(ShapeError):
        PlaceMatch((), np.zeros((2, 2), np.uint8))
