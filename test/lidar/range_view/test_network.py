"""Networks that classify by height, so that the classes of all points are known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnx", reason='no onnx: pip install ".[export]"')
pytest.importorskip("onnxruntime", reason='no ONNX Runtime: pip install ".[readers]"')

from toy_range_view import HIGH_M, LOW_M, by_height, not_a_number, strongest, write_network

from scmpr_ros.errors import CheckpointError, ConfigError
from scmpr_ros.lidar.range_view.description import load_description
from scmpr_ros.lidar.range_view.network import RangeViewNetwork
from scmpr_ros.records import PointCloud
from scmpr_ros.semantics import class_id

ROAD, CAR, BUILDING = class_id("road"), class_id("car"), class_id("building")


@pytest.fixture(scope="module")
def scan() -> PointCloud:
    """Walls all around at 8 m, and flat ground before them."""
    rng = np.random.default_rng(0)
    azimuth, z = rng.uniform(-np.pi, np.pi, 4000), rng.uniform(-1.7, 3.0, 4000)
    wall = np.column_stack([8 * np.cos(azimuth), 8 * np.sin(azimuth), z])
    angle, radius = rng.uniform(-np.pi, np.pi, 2000), rng.uniform(4, 8, 2000)
    ground = np.column_stack([radius * np.cos(angle), radius * np.sin(angle), np.full(2000, -1.7)])
    xyz = np.concatenate([wall, ground]).astype(np.float32)
    return PointCloud(xyz, intensity=np.full(len(xyz), 0.3, np.float32))


def by_height_of(z: np.ndarray) -> np.ndarray:
    return np.select([z < LOW_M, z < HIGH_M], [ROAD, CAR], BUILDING)


WIDE = {"fov_up_deg": 25.0, "fov_down_deg": -25.0}


@pytest.mark.parametrize("output", ["logits", "ids"])
def test_heights_become_classes(tmp_path: Path, scan: PointCloud, output: str) -> None:
    nodes = by_height() if output == "logits" else strongest(by_height())
    network = RangeViewNetwork(write_network(tmp_path / "toy", nodes, output=output, **WIDE))
    label, confidence = network.classify(scan)
    z = scan.xyz[:, 2]
    clear = (np.abs(z - LOW_M) > 0.6) & (np.abs(z - HIGH_M) > 0.6)  # a row is 0.45 m high there
    assert clear.sum() > 3000
    assert np.mean(label[clear] == by_height_of(z)[clear]) > 0.95
    assert label.dtype == np.uint8 and (confidence > 0).all() and (confidence <= 1).all()
    if output == "logits":
        assert confidence[clear].mean() > confidence[~clear].mean() + 0.05


def test_the_order_of_points_does_not_matter(tmp_path: Path, scan: PointCloud) -> None:
    network = RangeViewNetwork(write_network(tmp_path / "toy", by_height(), **WIDE))
    label, confidence = network.classify(scan)
    order = np.random.default_rng(1).permutation(len(scan))
    again, sure = network.classify(scan.select(order))
    np.testing.assert_array_equal(again, label[order])
    np.testing.assert_allclose(sure, confidence[order], atol=1e-6)


def test_channels_and_normalisation_are_those_described(tmp_path: Path, scan: PointCloud) -> None:
    expected = RangeViewNetwork(write_network(tmp_path / "a", by_height(), **WIDE)).classify(scan)
    other = write_network(
        tmp_path / "b", by_height(0, 1), 1, channels=["z"], mean=[0.0], std=[1.0], **WIDE
    )
    found = RangeViewNetwork(other).classify(PointCloud(scan.xyz))
    np.testing.assert_array_equal(found[0], expected[0])


def test_label_sets_of_published_networks() -> None:
    for name in ("rangenet", "salsanext", "cenet"):
        path = Path(__file__).parents[3] / "config" / "range_view" / f"{name}.yaml"
        with pytest.raises(ConfigError, match=rf"no model .*{name}\.onnx: export the network"):
            load_description(path)


def test_an_empty_scan_has_no_classes(tmp_path: Path) -> None:
    network = RangeViewNetwork(write_network(tmp_path / "toy", by_height()))
    empty = PointCloud(np.empty((0, 3), np.float32), intensity=np.empty(0, np.float32))
    assert [len(part) for part in network.classify(empty)] == [0, 0]


@pytest.mark.parametrize(("wrong", "message"), [
    ({"label_set": "kitti"}, "needs either label_set or classes"),
    ({"label_set": "kitti", "classes": []}, "no label_set 'kitti'; there are"),
    ({"classes": ["road", "kerb"]}, "no joint class 'kerb'"),
    ({"channels": ["range", "x", "y", "z", "colour"]}, "channels: colour; there are range, x"),
    ({"mean": [0.0]}, "5 channels need as many of mean and std, found 1 and 5"),
    ({"std": [1.0, 1.0, 0.0, 1.0, 1.0]}, "must be positive"),
    ({"fov_up_deg": -30.0}, "vertical field of view"),
    ({"height": 0}, "is empty"),
    ({"clean_up": {"window": 2}}, "must be odd"),
    ({"width": 90}, r"to be 16x90, but the model's is 16x180: correct"),
    ({"field_of_view": 3.0}, "unknown key 'field_of_view'"),
])  # fmt: skip
def test_descriptions_are_checked(tmp_path: Path, wrong: dict, message: str) -> None:
    path = write_network(tmp_path / "toy", by_height(), **wrong)
    with pytest.raises(ConfigError, match=message) as error:
        RangeViewNetwork(path)
    assert str(path) in str(error.value) and "\n" not in str(error.value)


def test_other_inputs_are_named(tmp_path: Path) -> None:
    path = write_network(tmp_path / "toy", by_height(0, 1), 1)
    with pytest.raises(CheckpointError, match=r"needs one input \(1, 5, h, w\), has scan 1x1x16"):
        RangeViewNetwork(path)


@pytest.mark.parametrize(("nodes", "description", "message"), [
    (not_a_number, {}, r"toy\.onnx: its output 'answer' holds NaN; check mean and std"),
    (by_height, {"classes": ["road", "car"]},
     r"logits should be of shape \(1, 2, 16, 180\), but the model answers \(1, 3, 16, 180\)"),
    (by_height, {"output": "ids"}, r"ids should be of shape \(1, 16, 180\), but"),
    (lambda: strongest(by_height()), {}, r"but the model answers \(1, 16, 180\); correct output"),
])  # fmt: skip
def test_answers_that_cannot_be_used(
    tmp_path: Path, scan: PointCloud, nodes, description: dict, message: str
) -> None:
    network = RangeViewNetwork(write_network(tmp_path / "toy", nodes(), **description))
    with pytest.raises(CheckpointError, match=message):
        network.classify(scan)


def test_ids_that_the_description_does_not_know_are_ignored(
    tmp_path: Path, scan: PointCloud
) -> None:
    nodes = strongest(by_height())
    path = write_network(tmp_path / "toy", nodes, output="ids", classes=["road", "car"], **WIDE)
    label, _ = RangeViewNetwork(path).classify(scan)
    assert set(np.unique(label)) == {0, ROAD, CAR}
