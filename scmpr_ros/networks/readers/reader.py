"""One external reader: an ONNX model with its description."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from scmpr_ros.errors import CheckpointError, ConfigError
from scmpr_ros.geometry import AngularGrid
from scmpr_ros.networks.depth import DepthConfig
from scmpr_ros.networks.readers.cells import Cells
from scmpr_ros.networks.readers.description import ReaderDescription, load_description
from scmpr_ros.networks.readers.input import Placement, input_size, prepare
from scmpr_ros.onnx_model import OnnxModel, Runtime
from scmpr_ros.output_classes import joint_classes
from scmpr_ros.records import CameraModel


class Reader:
    """Reads one image after another.

    description: what its YAML file says. path: of that file.
    """

    def __init__(
        self, path: Path, runtime: Runtime, view: AngularGrid, ranges: DepthConfig, on_gpu: bool
    ) -> None:
        """Load the model and, if the size of its input is known, try it on a grey image.

        view: the network's view grid. ranges: those of its range head.
        Raises ConfigError and CheckpointError as `load_description` and `OnnxModel` do.
        """
        self.path = path
        self.description, model = load_description(path)
        self._model = OnnxModel(model, runtime, self.description.output_name, on_gpu)
        self._channels = _channels(self.description, ranges)
        size = self.description.size
        if self.description.geometry == "view":
            size = (view.height, view.width)
        fixed = self._model.fixed_size
        if size and any(n not in (None, m) for n, m in zip(fixed, size, strict=True)):
            raise ConfigError(
                f"{path}: the input is to be {size[0]}x{size[1]}, but the model's is "
                f"{fixed[0]}x{fixed[1]}"
            )
        if size or None not in fixed:
            self._run(torch.full((1, 3, *(size or fixed)), 0.5))  # type: ignore[arg-type]

    def read(self, image: Tensor, view: Tensor, camera: CameraModel, cells: Cells) -> Tensor:
        """The answer (1, C, 8h, 8w) at the samples of the cells; arguments as of
        `ExternalReaders.read`."""
        of_view = self.description.geometry == "view"
        answer, placement, width = self._run(view if of_view else image)
        answer = answer.to(cells.axial.device)
        if self.description.canonical_focal_px is not None:
            focal_px = camera.fx * placement.width * width / camera.width
            answer = answer * (focal_px / self.description.canonical_focal_px)
        return cells.sample_view(answer) if of_view else cells.sample_image(answer, placement)

    def _run(self, image: Tensor) -> tuple[Tensor, Placement, int]:
        """Answer (1, C, ., .), where the image lies in the input, and the input's width."""
        shape = (image.shape[2], image.shape[3])
        size = input_size(self.description, self._model.fixed_size, shape)
        pixels, placement = prepare(self.description, image, size)
        answer = torch.from_numpy(self._model(pixels.cpu().numpy()))
        shown = tuple(answer.shape)
        answer = answer[:, None] if answer.ndim == 3 else answer
        if answer.ndim != 4 or answer.shape[:2] != (1, self._channels):
            raise CheckpointError(
                f"{self.path}: {self.description.output} should be of shape "
                f"(1, {self._channels}, h, w), but the model answers {shown}; correct output, "
                "output_name or the classes"
            )
        return answer, placement, size[1]


def _channels(description: ReaderDescription, ranges: DepthConfig) -> int:
    """Number of channels that a reader's answers have."""
    if description.output in ("logits", "probabilities"):
        return len(joint_classes(description.label_set, description.classes))
    return ranges.num_ranges + 1 if description.output == "range_logits" else 1
