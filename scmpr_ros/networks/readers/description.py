"""What a reader's YAML file says of its ONNX network."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from scmpr_ros.config import load_yaml
from scmpr_ros.errors import ConfigError
from scmpr_ros.output_classes import joint_classes

MASK_OUTPUTS = ("logits", "probabilities", "ids")
DEPTH_OUTPUTS = ("metric_depth", "relative_depth", "disparity", "range_logits")
RELATIVE_OUTPUTS = ("relative_depth", "disparity")


@dataclass(frozen=True)
class ReaderDescription:
    """One ONNX network: what it answers, and how it wants its image."""

    model: str
    """The ONNX file, relative to the YAML file."""
    kind: Literal["masks", "depth"]
    """What it reads."""
    output: Literal[
        "logits", "probabilities", "ids",
        "metric_depth", "relative_depth", "disparity", "range_logits",
    ]  # fmt: skip
    """Of masks: logits or probabilities (1, C, h, w), or ids (1, h, w). Of depth, (1, h, w) or
    (1, 1, h, w): depth along the optical axis in metres; the same but for scale and shift; inverse
    depth but for scale and shift. Or logits (1, num_ranges + 1, h, w) of the network's ranges."""
    output_name: str = ""
    """Name of that output of the model; empty: its first."""
    label_set: str = ""
    """Meaning of ids and channels of masks, see `output_classes.LABEL_SETS`. Or say `classes`."""
    classes: tuple[str, ...] = ()
    """Name of the joint class of each id or channel, `ignore` for what has none."""
    geometry: Literal["image", "view"] = "image"
    """Whether the model sees the rectified image or the view that the backbone sees."""
    size: tuple[int, int] | None = None
    """Height and width of the input; default: the model's if they are fixed, else the image's."""
    short_side_px: int | None = None
    """Scale the image to this short side, keeping its proportions, where there is no size."""
    multiple_of: int = 1
    """Round height and width to multiples of this, where there is no size."""
    fit: Literal["stretch", "pad"] = "stretch"
    """Stretch the image to the size, or keep its proportions and pad it with a mean grey."""
    white: float = 1.0
    """Value of white before mean and deviation apply: 1 or 255."""
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    """Subtracted from each channel, RGB; the default is ImageNet's."""
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    """Divides each channel, RGB; the default is ImageNet's."""
    channel_order: Literal["rgb", "bgr"] = "rgb"
    """Order of the channels in the input."""
    canonical_focal_px: float | None = None
    """For metric depth that assumes this focal length, in pixels of the input, as Metric3D does:
    depth is multiplied by the ratio of the camera's to it."""

    def __post_init__(self) -> None:
        if self.output not in (MASK_OUTPUTS if self.kind == "masks" else DEPTH_OUTPUTS):
            allowed = ", ".join(MASK_OUTPUTS if self.kind == "masks" else DEPTH_OUTPUTS)
            raise ConfigError(f"output of {self.kind} is one of {allowed}, not {self.output!r}")
        self._check_classes()
        self._check_input()
        if self.canonical_focal_px is not None and (
            self.output != "metric_depth" or not self.canonical_focal_px > 0
        ):
            raise ConfigError("canonical_focal_px is a positive number, for metric_depth only")

    def _check_classes(self) -> None:
        given = bool(self.label_set) + bool(self.classes)
        if self.kind == "masks" and given != 1:
            raise ConfigError("masks need either label_set or classes")
        if self.kind == "depth" and given:
            raise ConfigError("label_set and classes are for masks")
        if self.kind == "masks":
            joint_classes(self.label_set, self.classes)

    def _check_input(self) -> None:
        free = self.short_side_px is not None or self.multiple_of != 1
        if self.geometry == "view" and (self.size or free or self.fit == "pad"):
            raise ConfigError("the view has the network's size: leave size, short_side_px, "
                              "multiple_of and fit out")  # fmt: skip
        if self.size is not None and free:
            raise ConfigError("give either size, or short_side_px and multiple_of")
        sides = [*(self.size or ()), self.multiple_of]
        sides += [] if self.short_side_px is None else [self.short_side_px]
        if min(sides) < 1:
            raise ConfigError("size, short_side_px and multiple_of must be at least 1")
        if not (np.isfinite([*self.mean, *self.std, self.white]).all() and min(self.std) > 0):
            raise ConfigError(f"mean {self.mean} and std {self.std}: std must be positive")
        if not self.white > 0:
            raise ConfigError(f"white is {self.white}; it is 1 or 255")


def load_description(path: Path) -> tuple[ReaderDescription, Path]:
    """Read a YAML file; return what it says and the path of the model.

    Raises ConfigError if either file is missing, or the YAML is not a reader's.
    """
    description = load_yaml(ReaderDescription, path)
    model = Path(path).parent / description.model
    if not model.is_file():
        raise ConfigError(f"{path}: there is no model {model}: export it, or correct `model`")
    return description, model
