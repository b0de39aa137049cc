"""Where the camera sits on the vehicle: from TF if it is published there, else from parameters."""

from __future__ import annotations

import time

import numpy as np
from numpy.typing import NDArray
from rclpy.node import Node

from scmpr_ros.errors import CalibrationError
from scmpr_ros.geometry import is_body_frame, without_yaw
from scmpr_ros.ros.conversions import body_from_optical, optical_from_body
from scmpr_ros.ros.localizer_config import LocalizerNodeConfig
from scmpr_ros.ros.transforms import TransformError, TransformReader

_PERIOD_S = 1.0  # of looking into TF again
_LEVEL_TOLERANCE_RAD = np.radians(1.0)
_PARAMETERS = "parameters mount.xyz, mount.rpy"


class CameraMount:
    """The mount of the camera that takes the images."""

    def __init__(
        self, node: Node, config: LocalizerNodeConfig, transforms: TransformReader | None
    ) -> None:
        """transforms: None without tf2_ros, or if mount.source is `parameters`."""
        self._node, self._base_frame, self._config = node, config.base_frame, config.mount
        self._transforms = transforms if config.mount.source != "parameters" else None
        self._frame: str | None = None
        self._looked_up_s = 0.0
        self.T_base_camera_body = config.mount.T_base_camera_body
        """(4, 4) of the camera's body axes (x forward)."""
        self.description = ""
        """Where the mount is from; empty before the first image."""

    @property
    def T_base_camera(self) -> NDArray[np.float64]:
        """(4, 4) of the camera's optical frame."""
        return optical_from_body(self.T_base_camera_body)

    def update(self, frame: str) -> None:
        """Take the mount of the camera with this frame; empty if neither image nor info names one.

        TF is read once a second; what it gave is kept while it gives nothing. Raises
        CalibrationError if `mount.source` is `tf` and TF does not have the mount.
        """
        now_s = time.monotonic()
        if frame == self._frame and now_s - self._looked_up_s < _PERIOD_S:
            return
        source = f"TF {self._base_frame} -> {frame}"
        try:
            T_base_camera_body = self._read(frame)
        except TransformError as error:
            if source == self.description:
                return
            if self._config.source == "tf":
                raise CalibrationError(
                    f"where the camera sits is unknown: {error}; publish it, or set mount.source "
                    "to parameters"
                ) from None
            source, T_base_camera_body = _PARAMETERS, self._config.T_base_camera_body
        if source != self.description:
            self._announce(source, T_base_camera_body)
        self.T_base_camera_body, self.description = T_base_camera_body, source
        self._frame, self._looked_up_s = frame, now_s

    def _read(self, frame: str) -> NDArray[np.float64]:
        """Return the mount (4, 4) of the camera's body axes from TF."""
        if self._transforms is None or not frame:
            raise TransformError("images and camera_info have no frame_id")
        T_base_frame = self._transforms.lookup(self._base_frame, frame)
        if not is_body_frame(T_base_frame):
            return body_from_optical(T_base_frame)
        self._node.get_logger().warning(
            f"{frame} is not an optical frame: its z axis points up. It is taken for the camera's "
            "body axes (x forward); images should name an optical frame (z forward, y down)",
            once=True,
        )
        return T_base_frame

    def _announce(self, source: str, T_base_camera_body: NDArray[np.float64]) -> None:
        self._node.get_logger().info(f"camera mount: {source}")
        given = self._config.T_base_camera_body
        if not np.allclose(given, np.eye(4)) and not np.allclose(
            given, T_base_camera_body, atol=0.01
        ):
            self._node.get_logger().warning(
                f"mount.xyz and mount.rpy are set, but {source} differs and is used: correct one "
                "of them, or set mount.source"
            )


def is_equally_level(first: NDArray[np.floating], second: NDArray[np.floating]) -> bool:
    """Whether two mounts (4, 4) tilt the image alike: roll and pitch agree within a degree."""
    between = without_yaw(first[:3, :3]).T @ without_yaw(second[:3, :3])
    return bool(np.trace(between) > 1 + 2 * np.cos(_LEVEL_TOLERANCE_RAD))
