"""What external readers answer, on cells of known content."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation
from scipy.stats import norm
from torch import Tensor

pytest.importorskip("onnx", reason='no onnx: pip install ".[export]"')

from toy_readers import constant, echo, strongest_channel, write_reader

from scmpr_ros.errors import ConfigError
from scmpr_ros.geometry import R_BODY_OPTICAL, AngularGrid
from scmpr_ros.networks.depth import DepthConfig
from scmpr_ros.networks.readers.external import ExternalReaders, ReadersConfig
from scmpr_ros.networks.saff import GivenReading
from scmpr_ros.records import CameraModel
from scmpr_ros.semantics import CLASSES, class_id

CAMERA = CameraModel(320, 200, 180.0, 180.0, 159.5, 99.5)
VIEW = AngularGrid(96, 256, 12.0, -15.0, 80.0)
CELLS = AngularGrid(24, 64, 12.0, -15.0, 80.0)
RANGES = DepthConfig()
COLOURS = ["road", "building", "sky"]  # of red, green and blue
HEIGHT_M = 1.6
SIGMA = 0.15


def reading(
    image: Tensor, config: ReadersConfig, R_level_camera: np.ndarray | None = None
) -> GivenReading:
    tilt = np.eye(3) if R_level_camera is None else R_level_camera
    readers = ExternalReaders(config, (VIEW, CELLS), RANGES, tilt, torch.device("cpu"))
    camera = replace(CAMERA, width=image.shape[3], height=image.shape[2])
    return readers.read(image, torch.zeros(1, 3, VIEW.height, VIEW.width), camera)


def probs(logits: Tensor | None) -> Tensor:
    assert logits is not None
    found = logits[0].softmax(0)
    torch.testing.assert_close(found.sum(0), torch.ones(CELLS.height, CELLS.width))
    return found


def coloured(boundary_px: int) -> Tensor:
    """Red to the left of a column, green from there on, blue above a row."""
    image = torch.zeros(1, 3, CAMERA.height, CAMERA.width, dtype=torch.uint8)
    image[:, 0, :, :boundary_px] = 255
    image[:, 1, :, boundary_px:] = 255
    image[:, :, :80] = torch.tensor([0, 0, 255], dtype=torch.uint8).view(3, 1, 1)
    return image


# --- classes -------------------------------------------------------------------------------------


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_probabilities_are_averaged_over_cells(tmp_path: Path, runtime: str) -> None:
    pytest.importorskip(runtime)
    path = write_reader(
        tmp_path / "echo", echo(), kind="masks", output="probabilities", classes=COLOURS
    )
    boundary = 165
    given = reading(coloured(boundary), ReadersConfig(masks=str(path), runtime=runtime))
    found = probs(given.mask_logits)
    low = 20  # a row of cells on the ground
    azimuth = -np.arctan((boundary - 0.5 - CAMERA.cx) / CAMERA.fx)
    column = float(CELLS.columns(azimuth))  # the boundary crosses this cell
    red = found[class_id("road"), low]
    assert red[: int(column)].min() > 0.999 and red[int(column) + 1 :].max() < 1e-3
    assert red[int(column)] == pytest.approx(column % 1, abs=1 / 8)
    assert found[class_id("building"), low, int(column) + 1] > 0.999
    assert found[class_id("sky"), :5].min() > 0.999
    assert given.range_logits is None and given.seen.all()


def test_thin_things_keep_their_share(tmp_path: Path) -> None:
    """A pole two pixels wide does not vanish between samples."""
    path = write_reader(
        tmp_path / "echo", echo(), kind="masks", output="probabilities", classes=COLOURS
    )
    wide = CameraModel(1280, 400, 720.0, 720.0, 639.5, 199.5)
    image = torch.zeros(1, 3, wide.height, wide.width, dtype=torch.uint8)
    image[:, 1] = 255
    image[:, :, :, 700:702] = torch.tensor([255, 0, 0], dtype=torch.uint8).view(3, 1, 1)
    readers = ExternalReaders(
        ReadersConfig(masks=str(path)), (VIEW, CELLS), RANGES, np.eye(3), torch.device("cpu")
    )
    given = readers.read(image, torch.zeros(1, 3, 96, 256), wide)
    pole = probs(given.mask_logits)[class_id("road"), 12]
    cell_px = wide.fx * CELLS.column_rad
    assert pole.sum() == pytest.approx(2 / cell_px, abs=0.7 / 8)


@pytest.mark.parametrize("description", [
    {"size": [100, 200]}, {"size": [200, 200], "fit": "pad"}, {"short_side_px": 96,
     "multiple_of": 14}, {"white": 255.0}, {"channel_order": "bgr"}, {"multiple_of": 32},
    {"mean": [0.5, 0.5, 0.5], "std": [0.1, 0.2, 0.2]},
])  # fmt: skip
def test_the_input_does_not_move_the_answer(tmp_path: Path, description: dict) -> None:
    """Ids of an output at half the input's resolution, whatever the input's size."""
    order = description.get("channel_order", "rgb")
    path = write_reader(
        tmp_path / "ids", strongest_channel(), kind="masks", output="ids",
        classes=COLOURS if order == "rgb" else COLOURS[::-1], **description,
    )  # fmt: skip
    found = probs(reading(coloured(160), ReadersConfig(masks=str(path))).mask_logits).argmax(0)
    want = torch.full((CELLS.height, CELLS.width), class_id("sky"))
    edge = float(CELLS.rows(np.arctan((CAMERA.cy - 79.5) / CAMERA.fy)))
    want[int(edge) + 1 :, :32], want[int(edge) + 1 :, 32:] = class_id("road"), class_id("building")
    same = found == want
    # The rows of cells bend across the image, and inputs are coarser than it.
    assert same[: int(edge) - 2].all() and same[int(edge) + 4 :, :31].all()
    assert same[int(edge) + 4 :, 33:].all()


def test_ids_of_label_sets(tmp_path: Path) -> None:
    names = {
        "cityscapes_train": {0: "road", 2: "building", 5: "pole", 8: "vegetation", 10: "sky",
                             13: "car", 255: "ignore"},
        "cityscapes": {7: "road", 11: "building", 17: "pole", 33: "two_wheeler", 4: "ignore"},
        "kitti360": {7: "road", 34: "building", 37: "pole", 44: "ignore"},
        "mapillary_vistas": {13: "road", 17: "building", 27: "sky", 30: "vegetation", 45: "pole",
                             55: "car", 64: "ignore"},
        "joint": {i: c.name for i, c in enumerate(CLASSES)},
    }  # fmt: skip
    for label_set, expected in names.items():
        stripes = np.repeat(list(expected), 20)  # one below the other, 20 px each
        answer = np.broadcast_to(stripes[:, None], (len(stripes), 40))[None]
        path = write_reader(
            tmp_path / label_set, constant(answer), kind="masks", output="ids",
            label_set=label_set,
        )  # fmt: skip
        found = probs(_read_column(path, len(stripes)).mask_logits)
        seen = {CLASSES[i].name for i in found.argmax(0).unique().tolist()}
        assert seen == set(expected.values()), label_set


def _read_column(path: Path, rows: int) -> GivenReading:
    """Read a blank image of `rows` rows that the grid covers from top to bottom."""
    focal = rows / (np.tan(np.radians(12)) + np.tan(np.radians(15)))
    camera = CameraModel(
        2 * rows, rows, focal, focal, rows - 0.5, focal * np.tan(np.radians(12)) - 0.5
    )
    readers = ExternalReaders(
        ReadersConfig(masks=str(path)), (VIEW, CELLS), RANGES, np.eye(3), torch.device("cpu")
    )
    image = torch.zeros(1, 3, camera.height, camera.width, dtype=torch.uint8)
    return readers.read(image, torch.zeros(1, 3, 96, 256), camera)


def test_a_view_is_read_cell_by_cell(tmp_path: Path) -> None:
    torch.manual_seed(0)
    answer = torch.randn(1, 3, CELLS.height, CELLS.width).numpy()
    path = write_reader(
        tmp_path / "view", constant(answer), kind="masks", output="logits", classes=COLOURS,
        geometry="view",
    )  # fmt: skip
    given = reading(coloured(160), ReadersConfig(masks=str(path)))
    found = probs(given.mask_logits)[[class_id(name) for name in COLOURS]]
    torch.testing.assert_close(found, torch.tensor(answer)[0].softmax(0), rtol=0, atol=1e-4)


def test_cells_outside_the_image_are_not_read(tmp_path: Path) -> None:
    path = write_reader(
        tmp_path / "echo", echo(), kind="masks", output="probabilities", classes=COLOURS
    )
    given = reading(coloured(100)[..., 60:], ReadersConfig(masks=str(path)))
    assert not given.seen[12, -1] and given.seen[12, 32]


# --- depth ---------------------------------------------------------------------------------------


def ground_depth() -> np.ndarray:
    """Depth (1, h, w) along the optical axis of flat ground, a kilometre above the horizon."""
    below = np.arange(CAMERA.height)[:, None] - CAMERA.cy
    depth = np.where(below > 0, HEIGHT_M * CAMERA.fy / np.maximum(below, 1e-6), 1000.0)
    return np.broadcast_to(depth, (1, CAMERA.height, CAMERA.width)).copy()


def blank() -> Tensor:
    return torch.zeros(1, 3, CAMERA.height, CAMERA.width, dtype=torch.uint8)


def depth_reader(folder: Path, answer: np.ndarray, output: str, **description) -> ReadersConfig:
    path = write_reader(
        folder / output, constant(answer), kind="depth", output=output, **description
    )
    return ReadersConfig(depth=str(path), sigma=SIGMA, camera_height_m=HEIGHT_M)


def test_ranges_of_a_wall(tmp_path: Path) -> None:
    """Depth is along the axis, ranges are along the ray; errors are relative."""
    answer = np.full((1, 50, 80), 10.0)
    found = probs(reading(blank(), depth_reader(tmp_path, answer, "metric_depth")).range_logits)
    elevation, azimuth = CELLS.elevations(), CELLS.azimuths()
    for row, column in ((12, 32), (12, 2), (20, 50)):
        range_m = 10.0 / (np.cos(elevation[row]) * np.cos(azimuth[column]))
        below = norm.cdf(np.log(np.array(RANGES.edges_m) / range_m) / SIGMA)
        expected = np.append(np.diff(below), 1 - (below[-1] - below[0]))
        np.testing.assert_allclose(found[:, row, column], expected, atol=5e-3)


def test_what_is_far_or_has_no_depth_is_no_return(tmp_path: Path) -> None:
    answer = np.full((1, 50, 80), 1000.0)
    answer[:, :25] = 0
    found = probs(reading(blank(), depth_reader(tmp_path, answer, "metric_depth")).range_logits)
    assert found[-1].min() > 0.999


def test_ranges_of_the_ground(tmp_path: Path) -> None:
    given = reading(blank(), depth_reader(tmp_path, ground_depth(), "metric_depth"))
    found = probs(given.range_logits)
    _assert_ground(found)
    assert found[-1, : CELLS.height // 3].min() > 0.999  # above the horizon


def _assert_ground(found: Tensor) -> None:
    """Expected ranges below 3 degrees."""
    rows = np.flatnonzero(CELLS.elevations() < np.radians(-3))
    range_m = HEIGHT_M / np.sin(-CELLS.elevations()[rows])
    middles = np.sqrt(np.array(RANGES.edges_m[1:]) * np.array(RANGES.edges_m[:-1]))
    mean_m = np.einsum("rhw,r->hw", found[:-1, rows].numpy(), middles)
    np.testing.assert_allclose(mean_m, np.broadcast_to(range_m[:, None], mean_m.shape), rtol=0.08)


@pytest.mark.parametrize("tilt_deg", [0.0, 4.0])
@pytest.mark.parametrize(("output", "relative"), [
    ("relative_depth", lambda z: 0.37 * z - 0.9), ("disparity", lambda z: 55.0 / z + 3.0),
])  # fmt: skip
def test_ground_gives_relative_depth_its_scale(
    tmp_path: Path, output: str, relative, tilt_deg: float
) -> None:
    """A wall, and a car that hides half of the street, are no matter.

    Pixels of 0.3 degrees cost 2 % of the scale, which is a probability of 0.06 at an edge.
    """
    tilt = Rotation.from_euler("y", tilt_deg, degrees=True).as_matrix()
    up = (CAMERA.rays() @ R_BODY_OPTICAL.T @ tilt.T)[..., 2]
    depth = np.minimum(np.where(up < 0, HEIGHT_M / np.maximum(-up, 1e-9), np.inf), 25.0)[None]
    depth[:, 60:, 120:180] = np.minimum(depth[:, 60:, 120:180], 5.0)
    metric, other = (
        reading(blank(), depth_reader(tmp_path, answer, name), tilt)
        for answer, name in ((depth, "metric_depth"), (relative(depth), output))
    )
    torch.testing.assert_close(
        probs(other.range_logits), probs(metric.range_logits), rtol=0, atol=0.07
    )


def test_masks_say_what_is_ground_and_what_is_sky(tmp_path: Path) -> None:
    """A street at the left and a wall at the right, where ground would be sought without masks."""
    depth = ground_depth()
    depth[:, :, 100:] = 8.0
    image = coloured(100)
    masks = write_reader(
        tmp_path / "echo", echo(), kind="masks", output="probabilities", classes=COLOURS
    )
    config = depth_reader(tmp_path, 40 / depth + 1, "disparity")
    assert reading(image, config).range_logits is None
    found = probs(reading(image, replace(config, masks=str(masks))).range_logits)
    _assert_ground(found[:, :, :10])
    assert found[-1, :5].min() > 0.999  # sky, at 8 m by its depth


def test_without_ground_the_network_keeps_its_ranges(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    depth = np.random.default_rng(0).uniform(2, 30, (1, CAMERA.height, CAMERA.width))
    assert reading(blank(), depth_reader(tmp_path, depth, "relative_depth")).range_logits is None
    assert "no ground gives" in caplog.text and len(caplog.records) == 1
    depth[:] = 5.0
    assert reading(blank(), depth_reader(tmp_path, depth, "relative_depth")).range_logits is None


def test_canonical_focal_length(tmp_path: Path) -> None:
    """A depth of 10 m for 90 px is 40 m at 180 px, twice that in an input of twice the size."""
    answer = np.full((1, 50, 80), 10.0)
    for size, expected in (([200, 320], 20.0), ([400, 640], 40.0), ([400, 1000], 40.0)):
        config = depth_reader(tmp_path, answer, "metric_depth", canonical_focal_px=90.0,
                              size=size, fit="pad")  # fmt: skip
        found = probs(reading(blank(), config).range_logits)[:, 12, 32]
        below = norm.cdf(np.log(np.array(RANGES.edges_m) / expected) / SIGMA)
        np.testing.assert_allclose(found[:-1], np.diff(below), atol=5e-3)


def test_logits_of_the_networks_ranges(tmp_path: Path) -> None:
    torch.manual_seed(0)
    answer = torch.randn(1, RANGES.num_ranges + 1, CELLS.height, CELLS.width)
    config = depth_reader(tmp_path, answer.numpy(), "range_logits", geometry="view")
    found = probs(reading(blank(), config).range_logits)
    torch.testing.assert_close(found, answer[0].softmax(0), rtol=0, atol=1e-4)


def test_relative_depth_needs_the_height(tmp_path: Path) -> None:
    config = depth_reader(tmp_path, ground_depth(), "disparity")
    with pytest.raises(ConfigError, match=r"set readers\.camera_height_m"):
        reading(blank(), replace(config, camera_height_m=0.0))
