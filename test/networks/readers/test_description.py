"""Readers that cannot be used are named in one sentence."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("onnx", reason='no onnx: pip install ".[export]"')

from toy_readers import constant, echo, write_description, write_reader

from scmpr_ros.config import load_yaml
from scmpr_ros.errors import CheckpointError, ConfigError
from scmpr_ros.geometry import AngularGrid
from scmpr_ros.networks.depth import DepthConfig
from scmpr_ros.networks.readers.cells import Cells
from scmpr_ros.networks.readers.description import ReaderDescription, load_description
from scmpr_ros.networks.readers.external import ReadersConfig, with_reader_files
from scmpr_ros.networks.readers.reader import Reader
from scmpr_ros.output_classes import LABEL_SETS
from scmpr_ros.records import CameraModel

VIEW = AngularGrid(96, 256, 12.0, -15.0, 80.0)
CAMERA = CameraModel(320, 200, 180.0, 180.0, 159.5, 99.5)
MASKS: dict[str, Any] = {"kind": "masks", "output": "logits", "label_set": "cityscapes_train"}
RGB = {"kind": "masks", "output": "probabilities", "classes": ["road", "building", "sky"]}


def read(path: Path, runtime: Any = "onnxruntime") -> torch.Tensor:
    """Load a reader and read a grey image."""
    reader = Reader(path, runtime, VIEW, DepthConfig(), on_gpu=False)
    cells = Cells(CAMERA, VIEW.resized(24, 64), np.eye(3), torch.device("cpu"))
    image = torch.full((1, 3, CAMERA.height, CAMERA.width), 100, dtype=torch.uint8)
    return reader.read(image, torch.zeros(1, 3, VIEW.height, VIEW.width), CAMERA, cells)


@pytest.mark.parametrize(("wrong", "message"), [
    ({"output": "disparity"}, "output of masks is one of logits, probabilities, ids"),
    ({"kind": "depth", "output": "logits"}, "output of depth is one of metric_depth, "),
    ({"label_set": ""}, "masks need either label_set or classes"),
    ({"classes": ["road"]}, "masks need either label_set or classes"),
    ({"label_set": "ade"}, "no label_set 'ade'; there are joint, cityscapes_train, "),
    ({"label_set": "", "classes": ["road", "kerb"]}, "classes: no joint class 'kerb'"),
    ({"label_set": "", "classes": ["ignore"]}, "all of them are `ignore`"),
    ({"kind": "depth", "output": "disparity"}, "label_set and classes are for masks"),
    ({"size": [10, 10], "multiple_of": 2}, "give either size, or short_side_px and multiple_of"),
    ({"short_side_px": 0}, "must be at least 1"),
    ({"geometry": "view", "size": [10, 10]}, "the view has the network's size"),
    ({"std": [1, 0, 1]}, "std must be positive"),
    ({"white": 0.0}, "it is 1 or 255"),
    ({"canonical_focal_px": 1000.0}, "for metric_depth only"),
    ({"colour": "grey"}, "unknown key 'colour'; allowed are: model, kind, output"),
    ({"size": [10]}, "'size' should be"),
])  # fmt: skip
def test_descriptions_are_checked(tmp_path: Path, wrong: dict, message: str) -> None:
    path = write_description(tmp_path / "reader", **MASKS | wrong)
    with pytest.raises(ConfigError, match=message) as error:
        load_yaml(ReaderDescription, path)
    assert str(path) in str(error.value)


def test_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.yaml: cannot read"):
        load_description(tmp_path / "none.yaml")
    path = write_description(tmp_path / "reader", **MASKS)
    with pytest.raises(ConfigError, match=r"reader\.yaml: there is no model .*reader\.onnx"):
        load_description(path)


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_a_file_that_is_no_model(tmp_path: Path, runtime: str) -> None:
    pytest.importorskip(runtime)
    path = write_description(tmp_path / "reader", **MASKS)
    (tmp_path / "reader.onnx").write_bytes(b"no model")
    with pytest.raises(CheckpointError, match=rf"reader\.onnx: {runtime} cannot load it") as error:
        read(path, runtime)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_a_missing_runtime(tmp_path: Path, runtime: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_reader(tmp_path / "echo", echo(), **RGB)
    monkeypatch.setitem(sys.modules, runtime, None)
    extra = {"onnxruntime": "readers"}.get(runtime, runtime)
    with pytest.raises(ConfigError, match=rf'not installed: pip install "scmpr_ros\[{extra}\]"'):
        read(path, runtime)


@pytest.mark.parametrize("size", [(40, 60), ("h", "w")])
def test_wrong_number_of_classes(tmp_path: Path, size: Any) -> None:
    """At once if the size of the input is fixed, with the first image if not."""
    path = write_reader(tmp_path / "echo", echo(), size, **MASKS)
    message = r"logits should be of shape \(1, 19, h, w\), but the model answers \(1, 3, "
    with pytest.raises(CheckpointError, match=message):
        read(path)


def test_depth_of_several_channels(tmp_path: Path) -> None:
    path = write_reader(tmp_path / "echo", echo(), kind="depth", output="metric_depth")
    with pytest.raises(CheckpointError, match=r"metric_depth should be of shape \(1, 1, h, w\)"):
        read(path)


def test_output_name(tmp_path: Path) -> None:
    assert read(write_reader(tmp_path / "echo", echo(), output_name="answer", **RGB)).shape[1] == 3
    path = write_reader(tmp_path / "echo", echo(), output_name="masks", **RGB)
    with pytest.raises(ConfigError, match="has no output 'masks'; output_name is one of answer"):
        read(path)


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_nan(tmp_path: Path, runtime: str) -> None:
    pytest.importorskip(runtime)
    nodes = constant(np.full((1, 3, 10, 10), np.nan))
    path = write_reader(tmp_path / "nan", nodes, (40, 60), **RGB)
    with pytest.raises(CheckpointError, match=r"nan\.onnx: its output 'answer' holds NaN"):
        read(path, runtime)


def test_sizes_that_the_model_does_not_take(tmp_path: Path) -> None:
    path = write_reader(tmp_path / "echo", echo(), (40, 60), size=[40, 80], **RGB)
    with pytest.raises(ConfigError, match="is to be 40x80, but the model's is 40x60"):
        read(path)
    path = write_reader(tmp_path / "echo", echo(), (40, 60), geometry="view", **RGB)
    with pytest.raises(ConfigError, match="is to be 96x256, but the model's is 40x60"):
        read(path)
    path = write_reader(tmp_path / "wide", echo(), ("h", 60), **RGB)
    with pytest.raises(CheckpointError, match=r"cannot read an image of 1x3x200x320; give the"):
        read(path)


def test_models_of_other_inputs(tmp_path: Path) -> None:
    from onnx import TensorProto, helper, save

    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 1, 8, 8])
    answer = helper.make_tensor_value_info("answer", TensorProto.FLOAT, None)
    graph = helper.make_graph(echo(), "grey", [image], [answer])
    opset = [helper.make_opsetid("", 17)]
    save(helper.make_model(graph, opset_imports=opset, ir_version=8), tmp_path / "grey.onnx")
    with pytest.raises(CheckpointError, match=r"needs one input \(1, 3, h, w\), has image 1x1x8x8"):
        read(write_description(tmp_path / "grey", **RGB))


def test_files_name_what_they_read(tmp_path: Path) -> None:
    masks = write_reader(tmp_path / "masks", echo(), **RGB)
    depth = write_reader(tmp_path / "depth", echo(), kind="depth", output="metric_depth")
    config = with_reader_files(ReadersConfig(sigma=0.2), [depth, masks])
    assert config == ReadersConfig(masks=str(masks), depth=str(depth), sigma=0.2)
    with pytest.raises(ConfigError, match=r"masks\.yaml and .*masks\.yaml both read masks"):
        with_reader_files(ReadersConfig(), [masks, masks])
    for wrong in ({"sigma": 0.0}, {"camera_height_m": -1.0}):
        with pytest.raises(ConfigError, match=r"readers\.\w+ is"):
            ReadersConfig(**wrong)


def test_shipped_descriptions_are_valid(repository: Path) -> None:
    paths = sorted((repository / "config" / "readers").glob("*.yaml"))
    assert paths
    for path in paths:
        description = load_yaml(ReaderDescription, path)
        assert not description.label_set or description.label_set in LABEL_SETS
