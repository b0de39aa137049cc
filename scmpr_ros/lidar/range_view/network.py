"""A range-view network that classifies scans."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from scmpr_ros.errors import CheckpointError, ConfigError
from scmpr_ros.lidar.range_view.clean_up import classes_of_points
from scmpr_ros.lidar.range_view.description import load_description
from scmpr_ros.lidar.range_view.projection import RangeImage, network_input
from scmpr_ros.onnx_model import OnnxModel, Runtime
from scmpr_ros.records import PointCloud
from scmpr_ros.semantics import NUM_CLASSES


class RangeViewNetwork:
    """Classifies one scan after another.

    description: what its YAML file says. path: of that file.
    """

    def __init__(self, path: Path, runtime: Runtime = "onnxruntime") -> None:
        """Load the model, on the GPU where there is one.

        Raises ConfigError for a description that is not valid or not that of its model, and
        CheckpointError for a file that is no model of range images.
        """
        self.path = Path(path)
        self.description, model = load_description(self.path)
        said = self.description
        on_gpu, channels = torch.cuda.is_available(), len(said.channels)
        self._model = OnnxModel(model, runtime, said.output_name, on_gpu, channels)
        size = self._model.fixed_size
        if any(n not in (None, m) for n, m in zip(size, (said.height, said.width), strict=True)):
            raise ConfigError(
                f"{path}: the range image is to be {said.height}x{said.width}, but the model's is "
                f"{size[0]}x{size[1]}: correct height and width"
            )

    def classify(self, scan: PointCloud) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        """Joint id (N,) of each point of a scan, and its probability, (N,) float32.

        scan: in the sensor's frame, x forward and z up.
        Raises DatasetError if the network needs an intensity that the scan does not have, and
        CheckpointError if it answers NaN or another shape than its description says.
        """
        if len(scan) == 0:
            return np.empty(0, np.uint8), np.empty(0, np.float32)
        image = RangeImage.of(scan.xyz, self.description.grid)
        answer = self._model(network_input(scan, image, self.description))
        label, confidence = self._cells(answer)
        cell_range_m = np.where(image.is_return, image.range_m[image.nearest], np.inf)
        return classes_of_points(
            label, confidence, cell_range_m.astype(np.float32),
            image.row, image.column, image.range_m, self.description.clean_up,
        )  # fmt: skip

    def _cells(self, answer: NDArray[np.float32]) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        """Joint id and probability (height, width) of the cells."""
        said, joint = self.description, self.description.joint
        shape = (said.height, said.width)
        if said.output == "ids":
            if answer.size != said.height * said.width or answer.shape[-2:] != shape:
                raise self._wrong_shape("(1, {}, {})".format(*shape), answer)
            ids = np.rint(answer.reshape(shape)).astype(np.int64)
            known = (ids >= 0) & (ids < len(joint))
            label = np.where(known, joint[np.where(known, ids, 0)], 0).astype(np.uint8)
            return label, np.ones(shape, np.float32)
        if answer.shape != (1, len(joint), *shape):
            raise self._wrong_shape("(1, {}, {}, {})".format(len(joint), *shape), answer)
        probability = _softmax(answer[0]) if said.output == "logits" else answer[0].clip(0)
        merged = np.zeros((NUM_CLASSES, *shape), np.float32)
        np.add.at(merged, joint, probability)
        label = merged.argmax(axis=0)
        total = np.maximum(merged.sum(axis=0), np.finfo(np.float32).tiny)
        return label.astype(np.uint8), merged.max(axis=0) / total

    def _wrong_shape(self, wanted: str, answer: NDArray[np.float32]) -> CheckpointError:
        found = "({})".format(", ".join(map(str, answer.shape)))
        return CheckpointError(
            f"{self.path}: {self.description.output} should be of shape {wanted}, but the model "
            f"answers {found}; correct output, output_name, the size or the classes"
        )


def _softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    power = np.exp(logits - logits.max(axis=0))
    return np.asarray(power / power.sum(axis=0))
