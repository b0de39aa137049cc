"""Where the camera sits: from the real TF, or from parameters."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="no ROS 2: source one, or install the rclpy wheels")

from scipy.spatial.transform import Rotation

from scmpr_ros.errors import CalibrationError, ConfigError
from scmpr_ros.geometry import is_body_frame, make_transform
from scmpr_ros.records import Mount
from scmpr_ros.ros.camera_mount import CameraMount, is_equally_level
from scmpr_ros.ros.conversions import optical_from_body
from scmpr_ros.ros.localizer_config import LocalizerNodeConfig, MountConfig
from scmpr_ros.ros.vehicle_localizer import VehicleInputs

CAMERA = Mount((1.0, 0.2, 1.5), (0.02, 0.1, 0.5)).T_base_camera_body


def mount(graph, robot_tf=None, **settings: object) -> CameraMount:
    config = LocalizerNodeConfig(mount=MountConfig(**settings))
    return CameraMount(graph.node, config, robot_tf and robot_tf.reader)


def test_parameters(graph) -> None:
    found = mount(graph, source="parameters", xyz=(1.0, 2.0, 3.0))
    found.update("camera")
    np.testing.assert_allclose(found.T_base_camera_body[:3, 3], [1, 2, 3])
    assert found.description == "parameters mount.xyz, mount.rpy"


def test_tf_is_needed_if_it_must_give_the_mount(graph) -> None:
    with pytest.raises(CalibrationError, match="where the camera sits is unknown"):
        mount(graph, source="tf").update("camera")


def test_tf_needs_tf2_ros(graph) -> None:
    try:
        import tf2_ros  # noqa: F401
    except ImportError:
        for settings in ({"mount": MountConfig(source="tf")}, {"broadcast_tf": True}):
            with pytest.raises(ConfigError, match="needs tf2_ros, which is not installed"):
                VehicleInputs(graph.node, LocalizerNodeConfig(**settings))
        assert VehicleInputs(graph.node, LocalizerNodeConfig()).transforms is None
    else:
        pytest.skip("tf2_ros is installed")


def test_kinds_of_frames() -> None:
    assert is_body_frame(CAMERA) and not is_body_frame(optical_from_body(CAMERA))
    upside_down = Mount(rpy=(np.pi, 0.0, 0.0)).T_base_camera_body
    assert not is_body_frame(optical_from_body(upside_down))


def test_levels() -> None:
    turned = make_transform(Rotation.from_euler("z", 1.0).as_matrix() @ CAMERA[:3, :3], np.ones(3))
    assert is_equally_level(CAMERA, turned), "neither yaw nor position tilt an image"
    for rpy, equal in (((0.02, 0.109, 0.5), True), ((0.06, 0.1, 0.5), False)):
        assert is_equally_level(CAMERA, Mount(rpy=rpy).T_base_camera_body) is equal


def test_tf_gives_the_mount(graph, robot_tf, capfd) -> None:
    robot_tf.publish_static("base_link", "optical", optical_from_body(CAMERA))
    found = mount(graph, robot_tf, xyz=(9.0, 0.0, 0.0))
    found.update("optical")
    np.testing.assert_allclose(found.T_base_camera_body, CAMERA, atol=1e-12)
    np.testing.assert_allclose(found.T_base_camera, optical_from_body(CAMERA), atol=1e-12)
    assert found.description == "TF base_link -> optical"
    logged = capfd.readouterr().err
    assert "mount.xyz and mount.rpy are set, but TF base_link -> optical differs" in logged
    found.update("unknown")
    np.testing.assert_allclose(found.T_base_camera_body[:3, 3], [9, 0, 0])
    ignoring = mount(graph, robot_tf, source="parameters")
    ignoring.update("optical")
    np.testing.assert_allclose(ignoring.T_base_camera_body, np.eye(4))


def test_a_frame_with_z_up_is_noticed(graph, robot_tf, capfd) -> None:
    robot_tf.publish_static("base_link", "camera_link", CAMERA)
    found = mount(graph, robot_tf, source="tf")
    found.update("camera_link")
    np.testing.assert_allclose(found.T_base_camera_body, CAMERA, atol=1e-12)
    assert "camera_link is not an optical frame: its z axis points up" in capfd.readouterr().err
