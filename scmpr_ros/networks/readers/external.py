"""The external readers of one localizer: from an image to what replaces the heads' answers."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from scmpr_ros.errors import ConfigError
from scmpr_ros.geometry import AngularGrid
from scmpr_ros.networks.depth import DepthConfig
from scmpr_ros.networks.readers.cells import Cells
from scmpr_ros.networks.readers.classes import class_probs
from scmpr_ros.networks.readers.description import RELATIVE_OUTPUTS, load_description
from scmpr_ros.networks.readers.ground import metric_depth
from scmpr_ros.networks.readers.ranges import range_probs_of_depth, without_sky
from scmpr_ros.networks.readers.reader import Reader
from scmpr_ros.networks.saff import GivenReading
from scmpr_ros.onnx_model import Runtime
from scmpr_ros.output_classes import joint_classes
from scmpr_ros.records import CameraModel
from scmpr_ros.semantics import class_id

_log = logging.getLogger(__name__)
_SKY = class_id("sky")
_LEAST_PROBABILITY = 1e-6


@dataclass(frozen=True)
class ReadersConfig:
    """External networks that read images in place of the heads of SAFF."""

    masks: str = ""
    """YAML file of an ONNX network that reads classes; empty: the network's own mask head."""
    depth: str = ""
    """YAML file of an ONNX network that reads depth; empty: the network's own range head."""
    runtime: Runtime = "onnxruntime"
    """What runs them: onnxruntime, on the GPU if `device` is one, or openvino, on the CPU."""
    sigma: float = 0.15
    """Standard deviation of the ranges that the depth reader gives, as a fraction of them."""
    camera_height_m: float = 0.0
    """Height of the camera above the ground, which relative depth takes its scale from."""

    def __post_init__(self) -> None:
        if not self.sigma > 0:
            raise ConfigError(f"readers.sigma is {self.sigma}; it must be positive")
        if not self.camera_height_m >= 0:
            raise ConfigError(f"readers.camera_height_m is {self.camera_height_m} m")

    @property
    def any(self) -> bool:
        """Whether there is a reader."""
        return bool(self.masks or self.depth)


def with_reader_files(config: ReadersConfig, files: Sequence[Path]) -> ReadersConfig:
    """Name the readers by their YAML files, each of which says what it reads.

    Raises ConfigError if a file is no reader's, or two read the same.
    """
    named: dict[str, str] = {}
    for path in files:
        kind = load_description(path)[0].kind
        if kind in named:
            raise ConfigError(f"{named[kind]} and {path} both read {kind}: name one of them")
        named[kind] = str(path)
    return replace(config, **named)  # type: ignore[arg-type]  # kinds are names of fields


class ExternalReaders:
    """Reads images of any camera. Not thread-safe."""

    def __init__(
        self,
        config: ReadersConfig,
        grids: tuple[AngularGrid, AngularGrid],
        ranges: DepthConfig,
        R_level_camera: NDArray[np.float64],
        device: torch.device,
    ) -> None:
        """Load the models.

        grids: the network's view and mask grid. ranges: those of its range head.
        R_level_camera: (3, 3) roll and pitch of the camera's body axes.
        Raises ConfigError and CheckpointError as `load_description` and `OnnxModel` do.
        """
        self._config, self._ranges = config, ranges
        self._R_level_camera, self._device = R_level_camera, device
        self._view, self._mask_grid = grids
        self._masks = self._open(config.masks, "masks")
        self._depth = self._open(config.depth, "depth")
        relative = self._depth is not None and self._depth.description.output in RELATIVE_OUTPUTS
        if relative and config.camera_height_m == 0:
            raise ConfigError(
                f"{config.depth} gives relative depth: set readers.camera_height_m, the height of "
                "the camera above the ground"
            )
        self._cells: dict[CameraModel, Cells] = {}
        self._has_scale = True

    @torch.inference_mode()
    def read(self, image: Tensor, view: Tensor, camera: CameraModel) -> GivenReading:
        """Read an image.

        Ranges are left to the network if no ground gives relative depth its scale.

        image: (1, 3, h, w) uint8 RGB, rectified. view: (1, 3, H, W) in [0, 1], the same image on
            the network's view grid.
        Raises CheckpointError if a model's answer is not of the shape that its YAML file says.
        """
        cells = self._cells_of(camera)
        probs = ranges = None
        if self._masks is not None:
            answer, said = self._masks.read(image, view, camera, cells), self._masks.description
            joint = joint_classes(said.label_set, said.classes)
            probs = cells.average(class_probs(answer, said.output, joint))
        if self._depth is not None:
            answer = self._depth.read(image, view, camera, cells)
            ranges = self._range_probs(answer, self._depth, cells, probs)
        return GivenReading(_logits(probs), _logits(ranges), cells.seen)

    def _range_probs(
        self, answer: Tensor, reader: Reader, cells: Cells, probs: Tensor | None
    ) -> Tensor | None:
        """Probabilities (1, num_ranges + 1, h, w), or None if there is no scale."""
        output = reader.description.output
        if output == "range_logits":
            return cells.average(answer.softmax(1))
        depth_m: Tensor | None = answer[0, 0]
        if output in RELATIVE_OUTPUTS:
            depth_m = metric_depth(
                answer[0, 0], output == "disparity", cells, self._config.camera_height_m, probs
            )
        self._note_scale(depth_m is not None, reader.path)
        if depth_m is None:
            return None
        ranges = cells.average(
            range_probs_of_depth(depth_m, cells.axial, self._ranges, self._config.sigma)
        )
        return ranges if probs is None else without_sky(ranges, probs[:, _SKY : _SKY + 1])

    def _note_scale(self, found: bool, path: Path) -> None:
        """Warn of the first image without a scale, and again after images with one."""
        if self._has_scale and not found:
            _log.warning(
                "no ground gives %s its scale: its depth is left out; is readers.camera_height_m "
                "right, and the mount?", path,
            )  # fmt: skip
        self._has_scale = found

    def _open(self, path: str, kind: str) -> Reader | None:
        if not path:
            return None
        on_gpu = self._device.type == "cuda"
        reader = Reader(Path(path), self._config.runtime, self._view, self._ranges, on_gpu)
        if reader.description.kind != kind:
            raise ConfigError(f"{path} reads {reader.description.kind}, not {kind}")
        return reader

    def _cells_of(self, camera: CameraModel) -> Cells:
        if camera not in self._cells:
            self._cells[camera] = Cells(camera, self._mask_grid, self._R_level_camera, self._device)
        return self._cells[camera]


def _logits(probs: Tensor | None) -> Tensor | None:
    return None if probs is None else probs.clamp_min(_LEAST_PROBABILITY).log()
