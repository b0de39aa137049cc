"""The parameters of a running localizer that the checks depend on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scmpr_ros.config import flatten, from_dict
from scmpr_ros.datasets.camera_images import CameraImageConfig
from scmpr_ros.records import Mount
from scmpr_ros.ros.localizer_config import LocalizerNodeConfig


@dataclass(frozen=True)
class LocalizerSettings:
    """Parameters by name; `is_known` is False for the defaults of a localizer that is silent."""

    values: Mapping[str, Any]
    is_known: bool = True

    @classmethod
    def of(cls, answered: Mapping[str, Any] | None) -> LocalizerSettings:
        """Complete what a localizer answered, None if nothing, by the defaults."""
        return cls(flatten(LocalizerNodeConfig()) | dict(answered or {}), answered is not None)

    def text(self, name: str) -> str:
        """A parameter of type string; empty if there is none of that name."""
        return str(self.values.get(name, ""))

    def flag(self, name: str) -> bool:
        """A parameter of type bool; False if there is none of that name."""
        return bool(self.values.get(name, False))

    @property
    def images(self) -> CameraImageConfig:
        """What the localizer assumes of its images."""
        given = {
            name.removeprefix("images."): value
            for name, value in self.values.items()
            if name.startswith("images.")
        }
        return from_dict(CameraImageConfig, given)

    @property
    def T_base_camera_body(self) -> NDArray[np.float64]:
        """The mount of the parameters."""
        x, y, z = self.values["mount.xyz"]
        roll, pitch, yaw = self.values["mount.rpy"]
        return Mount((x, y, z), (roll, pitch, yaw)).T_base_camera_body
