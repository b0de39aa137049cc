"""ONNX networks of a few nodes, with their YAML files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

Size = tuple[int | str, int | str]
OPEN: Size = ("h", "w")


def write_reader(path: Path, nodes: list[Any], shape: Size = OPEN, **description: Any) -> Path:
    """Write `path`.onnx of some nodes from `image` to `answer`, and its YAML; return the latter."""
    from onnx import TensorProto, helper, save

    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, *shape])
    answer = helper.make_tensor_value_info("answer", TensorProto.FLOAT, None)
    graph = helper.make_graph(nodes, "toy", [image], [answer])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    save(model, path.with_suffix(".onnx"))
    return write_description(path, **description)


def write_description(path: Path, **description: Any) -> Path:
    """Write the YAML of `path`.onnx for an input in [0, 1]."""
    raw = {"mean": [0, 0, 0], "std": [1, 1, 1]}
    content = {"model": f"{path.name}.onnx", **raw, **description}
    path.with_suffix(".yaml").write_text(yaml.safe_dump(content))
    return path.with_suffix(".yaml")


def echo() -> list[Any]:
    """Answers the three channels of its input."""
    from onnx import helper

    return [helper.make_node("Identity", ["image"], ["answer"])]


def strongest_channel() -> list[Any]:
    """Answers the number of the strongest channel, (1, h, w), of the input averaged to a half."""
    from onnx import TensorProto, helper

    return [
        helper.make_node("AveragePool", ["image"], ["half"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("ArgMax", ["half"], ["ids"], axis=1, keepdims=0),
        helper.make_node("Cast", ["ids"], ["answer"], to=TensorProto.FLOAT),
    ]


def constant(value: NDArray[np.floating]) -> list[Any]:
    """Answers an array, whatever the image."""
    from onnx import helper, numpy_helper

    tensor = numpy_helper.from_array(np.asarray(value, np.float32))
    return [
        helper.make_node("Constant", [], ["value"], value=tensor),
        helper.make_node("ReduceMean", ["image"], ["mean"], keepdims=1),
        helper.make_node("Sub", ["mean", "mean"], ["nothing"]),
        helper.make_node("Add", ["value", "nothing"], ["answer"]),
    ]
