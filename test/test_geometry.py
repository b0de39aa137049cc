"""Rigid transforms, angles and angular grids."""

from __future__ import annotations

import numpy as np
import pytest
from camera_poses import level_camera_pose
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from scmpr_ros.errors import ConfigError, ShapeError
from scmpr_ros.geometry import (
    AngularGrid,
    body_axes,
    camera_yaw,
    invert,
    make_transform,
    rotation_z,
    shift_covariance,
    spherical,
    transform_points,
    upright_axes,
    wrap_angle,
)

angles = st.floats(-10, 10)
coordinates = st.floats(-1e4, 1e4)


def test_transform_from_body_to_map() -> None:
    T_map_body = make_transform(rotation_z(np.pi / 2), np.array([10.0, 0.0, 0.0]))
    ahead_of_body = np.array([[1.0, 0.0, 0.0]])
    np.testing.assert_allclose(
        transform_points(T_map_body, ahead_of_body), [[10, 1, 0]], atol=1e-12
    )


@given(yaw=angles, x=coordinates, y=coordinates, z=coordinates)
def test_inverse(yaw: float, x: float, y: float, z: float) -> None:
    T = make_transform(rotation_z(yaw), np.array([x, y, z]))
    np.testing.assert_allclose(invert(T) @ T, np.eye(4), atol=1e-9)
    stack = np.stack([T, np.eye(4)])
    np.testing.assert_allclose(invert(stack)[0], invert(T))


def test_covariance_at_the_end_of_a_lever_arm() -> None:
    """The same as moving a body by small random motions and looking at its other point."""
    rng = np.random.default_rng(0)
    A = rng.normal(size=(6, 6)) * 1e-4
    arm = np.array([2.0, -1.0, 0.5])
    motions = rng.multivariate_normal(np.zeros(6), A @ A.T, size=200_000)
    tips = motions[:, :3] + Rotation.from_rotvec(motions[:, 3:]).apply(arm)
    sampled = np.cov(np.concatenate([tips, motions[:, 3:]], axis=1).T)
    np.testing.assert_allclose(shift_covariance(A @ A.T, arm), sampled, atol=0.02 * sampled.max())
    back = shift_covariance(shift_covariance(A @ A.T, arm), -arm)
    np.testing.assert_allclose(back, A @ A.T)
    yaw_alone = np.diag([0.0, 0.0, 0.0, 0.0, 0.0, 0.04])  # swings a point ahead to the side
    np.testing.assert_allclose(shift_covariance(yaw_alone, [3.0, 0, 0])[1, 1], 9 * 0.04)


@given(yaw=st.floats(-3.1, 3.1))
def test_a_level_camera_looks_along_its_yaw(yaw: float) -> None:
    T_map_camera = level_camera_pose(np.array([1.0, 2.0, 3.0]), yaw)
    ahead = transform_points(T_map_camera, np.array([[0.0, 0.0, 5.0]]))[0]
    np.testing.assert_allclose(ahead, [1 + 5 * np.cos(yaw), 2 + 5 * np.sin(yaw), 3], atol=1e-9)
    above = transform_points(T_map_camera, np.array([[0.0, -1.0, 0.0]]))[0]
    np.testing.assert_allclose(above, [1, 2, 4], atol=1e-9)
    assert camera_yaw(T_map_camera) == pytest.approx(yaw)


@given(yaw=st.floats(-3.1, 3.1))
def test_body_axes_of_a_level_camera(yaw: float) -> None:
    axes = body_axes(level_camera_pose(np.zeros(3), yaw))
    np.testing.assert_allclose(axes, rotation_z(yaw), atol=1e-12)


@given(x=st.floats(-0.09, 0.09), y=st.floats(-0.09, 0.09), yaw=st.floats(-3.1, 3.1))
def test_upright_axes_keep_azimuths(x: float, y: float, yaw: float) -> None:
    (axes,) = upright_axes(np.array([[x, y, 1.0]]))
    np.testing.assert_allclose(axes.T @ axes, np.eye(3), atol=1e-12)
    np.testing.assert_allclose(axes[:, 2], np.array([x, y, 1.0]) / np.hypot(np.hypot(x, y), 1))
    ahead = axes @ rotation_z(yaw)[:, 0]
    turned = wrap_angle(np.arctan2(ahead[1], ahead[0]) - yaw)
    assert abs(np.degrees(turned)) < 0.5


@given(angle=st.floats(-1e3, 1e3))
def test_wrapped_angles_are_equivalent(angle: float) -> None:
    wrapped = float(wrap_angle(angle))
    assert -np.pi <= wrapped < np.pi
    assert np.cos(wrapped) == pytest.approx(np.cos(angle), abs=1e-9)


def test_bad_points_are_refused() -> None:
    with pytest.raises(ShapeError, match=r"\(N, 3\)"):
        transform_points(np.eye(4), np.zeros(3))


def test_grid_looks_forward_at_its_centre_and_columns_run_right() -> None:
    grid = AngularGrid(32, 360, 16.0, -16.0)
    assert grid.columns(0.0) == 180
    assert grid.columns(np.pi / 2) == pytest.approx(90)  # left of forward
    assert grid.rows(np.radians(16)) == 0 and grid.rows(np.radians(-16)) == pytest.approx(32)


@given(
    height=st.integers(1, 64),
    width=st.integers(1, 512),
    fov=st.floats(20, 360),
    up=st.floats(1, 80),
)
def test_directions_fall_into_their_cells(height: int, width: int, fov: float, up: float) -> None:
    grid = AngularGrid(height, width, up, -up, fov)
    azimuth, elevation, length = spherical(grid.directions().reshape(-1, 3))
    np.testing.assert_allclose(length, 1, atol=1e-12)
    rows, columns = np.mgrid[0:height, 0:width].reshape(2, -1)
    np.testing.assert_allclose(grid.rows(elevation), rows + 0.5, atol=1e-6)
    np.testing.assert_allclose(np.cos((grid.columns(azimuth) - columns - 0.5) * grid.column_rad), 1)


@pytest.mark.parametrize("values", [(0, 4, 10, -10), (4, 4, -10, 10), (4, 4, 10, -10, 400)])
def test_bad_grids_are_refused(values: tuple[float, ...]) -> None:
    with pytest.raises(ConfigError):
        AngularGrid(*values)  # type: ignore[arg-type]
