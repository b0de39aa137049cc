"""What the YAML file of a range-view network says of its ONNX network."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from scmpr_ros.config import load_yaml
from scmpr_ros.errors import ConfigError
from scmpr_ros.geometry import AngularGrid
from scmpr_ros.lidar.range_view.clean_up import CleanUpConfig
from scmpr_ros.output_classes import joint_classes

CHANNELS = ("range", "x", "y", "z", "remission", "mask")
"""What a channel of the input may hold: metres, remission in [0, 1], 1 where there is a return."""


@dataclass(frozen=True)
class RangeViewDescription:
    """One ONNX network that classifies range images (1, C, height, width)."""

    model: str
    """The ONNX file, relative to the YAML file."""
    output: Literal["probabilities", "logits", "ids"] = "probabilities"
    """Probabilities or logits (1, classes, height, width), or ids (1, height, width)."""
    output_name: str = ""
    """Name of that output of the model; empty: its first."""
    label_set: str = ""
    """What ids and channels of the output stand for; see `output_classes.LABEL_SETS`. Or say
    `classes`."""
    classes: tuple[str, ...] = ()
    """Name of the joint class of each id or channel, `ignore` for what has none."""
    channels: tuple[str, ...] = ("range", "x", "y", "z", "remission")
    """Channels of the input, in order."""
    mean: tuple[float, ...] = (12.12, 10.88, 0.23, -1.04, 0.21)
    """Subtracted from each channel."""
    std: tuple[float, ...] = (12.32, 11.47, 6.91, 0.86, 0.16)
    """Divides each channel; cells without a return are zero afterwards."""
    height: int = 64
    """Rows of the range image."""
    width: int = 2048
    """Columns of the range image; the centre one looks along x."""
    fov_up_deg: float = 3.0
    """Elevation of its upper edge."""
    fov_down_deg: float = -25.0
    """Elevation of its lower edge."""
    remission_white: float = 1.0
    """Remission of the scans that the network takes for 1: 1, or 255 for bytes."""
    clean_up: CleanUpConfig = field(default_factory=CleanUpConfig)
    """How points take classes from the image."""

    def __post_init__(self) -> None:
        if bool(self.label_set) == bool(self.classes):
            raise ConfigError("a range-view network needs either label_set or classes")
        joint_classes(self.label_set, self.classes)
        unknown = [name for name in self.channels if name not in CHANNELS]
        if unknown or not self.channels:
            raise ConfigError(
                f"channels: {', '.join(unknown) or 'there is none'}; there are "
                f"{', '.join(CHANNELS)}"
            )
        if not len(self.channels) == len(self.mean) == len(self.std):
            raise ConfigError(
                f"{len(self.channels)} channels need as many of mean and std, found "
                f"{len(self.mean)} and {len(self.std)}"
            )
        if not min(self.std) > 0 or not self.remission_white > 0:
            raise ConfigError("std and remission_white must be positive")
        _ = self.grid

    @property
    def grid(self) -> AngularGrid:
        """The range image's cells; ConfigError for impossible angles or sizes."""
        return AngularGrid(self.height, self.width, self.fov_up_deg, self.fov_down_deg)

    @property
    def joint(self) -> NDArray[np.uint8]:
        """Joint id (C,) of each id or channel of the output."""
        return joint_classes(self.label_set, self.classes)


def load_description(path: Path) -> tuple[RangeViewDescription, Path]:
    """Read a YAML file; also return the path of its ONNX file.

    Raises ConfigError if either is missing or the description is not valid.
    """
    description = load_yaml(RangeViewDescription, path)
    model = Path(path).parent / description.model
    if not model.is_file():
        raise ConfigError(f"{path}: there is no model {model}: export the network to that file")
    return description, model
