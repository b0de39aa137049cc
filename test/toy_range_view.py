"""ONNX networks of a few nodes that classify range images, with their YAML files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

HEIGHT, WIDTH = 16, 180
CLASSES = ["road", "car", "building"]
LOW_M, HIGH_M = -1.0, 1.0
"""Heights in the sensor's frame at which `by_height` changes from road to car to building."""
SHARPNESS = 8.0


def write_network(path: Path, nodes: list[Any], num_channels: int = 5, **description: Any) -> Path:
    """Write `path`.onnx of some nodes from `scan` to `answer`, and its YAML; return the latter."""
    from onnx import TensorProto, helper, save

    shape = [1, num_channels, HEIGHT, WIDTH]
    scan = helper.make_tensor_value_info("scan", TensorProto.FLOAT, shape)
    answer = helper.make_tensor_value_info("answer", TensorProto.FLOAT, None)
    graph = helper.make_graph(nodes, "toy", [scan], [answer])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    save(model, path.with_suffix(".onnx"))
    content = {
        "model": f"{path.name}.onnx", "output": "logits", "classes": CLASSES, "height": HEIGHT,
        "width": WIDTH, "mean": [0.0] * 5, "std": [1.0] * 5, **description,
    }  # fmt: skip
    path.with_suffix(".yaml").write_text(yaml.safe_dump(content))
    return path.with_suffix(".yaml")


def by_height(channel: int = 3, channels: int = 5) -> list[Any]:
    """Logits of `CLASSES` of a 1x1 convolution that reads the height in metres."""
    weight = np.zeros((3, channels, 1, 1), np.float32)
    weight[:, channel, 0, 0] = SHARPNESS * np.array([-1, 0, 1])
    return _convolution(weight, SHARPNESS * np.array([LOW_M, 0, -HIGH_M]))


def strongest(nodes: list[Any]) -> list[Any]:
    """The id of the strongest channel, (1, h, w), of the answer of other nodes."""
    from onnx import TensorProto, helper

    nodes[-1].output[0] = "logits"
    return [
        *nodes,
        helper.make_node("ArgMax", ["logits"], ["ids"], axis=1, keepdims=0),
        helper.make_node("Cast", ["ids"], ["answer"], to=TensorProto.FLOAT),
    ]


def not_a_number() -> list[Any]:
    """NaN for each class."""
    return _convolution(np.full((3, 5, 1, 1), np.nan, np.float32), np.zeros(3))


def _convolution(weight: NDArray[np.float32], bias: NDArray[np.floating]) -> list[Any]:
    from onnx import helper, numpy_helper

    return [
        helper.make_node("Constant", [], ["w"], value=numpy_helper.from_array(weight)),
        helper.make_node("Constant", [], ["b"],
                         value=numpy_helper.from_array(bias.astype(np.float32))),
        helper.make_node("Conv", ["scan", "w", "b"], ["answer"]),
    ]  # fmt: skip
