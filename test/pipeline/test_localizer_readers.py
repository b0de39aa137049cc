"""The network's own heads, exported and read as external readers, change no answer."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

pytest.importorskip("onnx", reason='no onnx: pip install ".[export]"')
pytest.importorskip("onnxscript", reason='no onnxscript: pip install ".[export]"')

from recording import write_recording
from toy_readers import constant, echo, write_description, write_reader

from scmpr_ros.cli import evaluate
from scmpr_ros.config import from_dict
from scmpr_ros.errors import ConfigError
from scmpr_ros.evaluation.result import read_results
from scmpr_ros.geometry import AngularGrid
from scmpr_ros.lidar.places import PlacesConfig
from scmpr_ros.lidar.point_cloud_map import PointCloudMap
from scmpr_ros.methods.checkpoint import save_checkpoint
from scmpr_ros.methods.lip_loc.network import LipLocConfig, LipLocNetwork
from scmpr_ros.methods.scmpr.network import ScmprConfig, ScmprNetwork
from scmpr_ros.networks.readers.external import ReadersConfig
from scmpr_ros.networks.view import ViewSampler
from scmpr_ros.pipeline.localizer import Localizer, LocalizerConfig, Observation
from scmpr_ros.pipeline.map_builder import MapBuilderConfig, build_map
from scmpr_ros.records import CameraModel
from scmpr_ros.retrieval.place_map import PlaceMap
from scmpr_ros.ros.localizer_config import LocalizerNodeConfig
from scmpr_ros.semantics import class_id

CAMERA = CameraModel(256, 96, 150.0, 150.0, 127.5, 47.5)
CONFIG = LocalizerConfig(device="cpu", precision="float32")
OWN: dict[str, dict[str, Any]] = {
    "masks": {"kind": "masks", "output": "logits", "label_set": "joint"},
    "depth": {"kind": "depth", "output": "range_logits"},
}


class Heads(nn.Module):
    """Both heads' logits of a view."""

    def __init__(self, network: ScmprNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        prediction = self.network.predict(image)
        assert prediction.range_logits is not None
        return prediction.mask_logits, prediction.range_logits


@pytest.fixture(scope="module")
def network() -> ScmprNetwork:
    torch.manual_seed(0)
    view = AngularGrid(32, 64, 12.0, -15.0, 80.0)
    panorama = AngularGrid(8, 120, 16.0, -16.0)
    config = ScmprConfig(backbone="timm/test_resnet", view=view, panorama=panorama)
    network = ScmprNetwork(config).eval()
    for head in (network.saff.mask_head, network.saff.range_head):
        nn.init.normal_(head.weight)  # as certain as trained ones
    return network


@pytest.fixture(scope="module")
def place_map(point_map: PointCloudMap, network: ScmprNetwork) -> PlaceMap:
    config = MapBuilderConfig(places=PlacesConfig(spacing_m=3.0), device="cpu")
    return build_map(point_map, network, config, progress=False)


def image(seed: int = 0) -> np.ndarray:
    """Coarse shapes."""
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 16, 3), dtype=np.uint8)
    return np.kron(coarse, np.ones((16, 16, 1), np.uint8))


def observe(place_map: PlaceMap, network: ScmprNetwork, readers: ReadersConfig) -> Observation:
    localizer = Localizer(place_map, network, replace(CONFIG, readers=readers))
    return localizer.observe(image(), CAMERA)


@pytest.fixture(scope="module")
def own_heads(network: ScmprNetwork, tmp_path_factory: pytest.TempPathFactory) -> ReadersConfig:
    """Two readers of the view: the outputs of one model, which are the network's own heads."""
    folder = tmp_path_factory.mktemp("readers")
    example = torch.rand(1, 3, network.config.view.height, network.config.view.width)
    with torch.no_grad():
        torch.onnx.export(
            Heads(network).eval(), (example,), folder / "heads.onnx", dynamo=True,
            input_names=["view"], output_names=list(OWN), external_data=False, optimize=False,
            verbose=False,
        )  # fmt: skip
    readers = {
        kind: write_description(
            folder / kind, model="heads.onnx", output_name=kind, geometry="view", **description
        )
        for kind, description in OWN.items()
    }
    return ReadersConfig(masks=str(readers["masks"]), depth=str(readers["depth"]))


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_own_heads_change_nothing(
    place_map: PlaceMap, network: ScmprNetwork, own_heads: ReadersConfig, runtime: str
) -> None:
    pytest.importorskip(runtime)
    expected = observe(place_map, network, ReadersConfig())
    found = observe(place_map, network, replace(own_heads, runtime=runtime))
    assert np.ptp(expected.mask) > 0
    np.testing.assert_array_equal(found.mask, expected.mask)
    np.testing.assert_allclose(found.range_probs, expected.range_probs, atol=1e-4)
    one, other = (
        {
            (p, h): (phi, psi)
            for p, h, phi, psi in zip(x.place, x.heading, x.phi, x.psi, strict=True)
        }
        for x in (found, expected)
    )
    assert one.keys() == other.keys()
    np.testing.assert_allclose([one[k] for k in one], [other[k] for k in one], atol=1e-4)


def test_own_masks_read_from_the_image(
    place_map: PlaceMap, network: ScmprNetwork, tmp_path: Path
) -> None:
    """Through the image's pixels, which cells divide unevenly."""
    expected = observe(place_map, network, ReadersConfig())
    assert expected.prediction is not None
    grid = network.config.mask_grid
    x, y, _ = np.moveaxis(CAMERA.rays(), -1, 0)
    columns = grid.columns(-np.arctan(x)).astype(int).clip(0, grid.width - 1)
    rows = grid.rows(-np.arctan2(y, np.hypot(x, 1))).astype(int).clip(0, grid.height - 1)
    logits = expected.prediction.mask_logits.numpy()[:, :, rows, columns]
    path = write_reader(tmp_path / "masks", constant(logits), **OWN["masks"])
    found = observe(place_map, network, ReadersConfig(masks=str(path)))
    assert found.prediction is not None
    one, other = (x.prediction.mask_logits.softmax(1) for x in (found, expected))
    assert (found.mask == expected.mask).mean() > 0.97
    assert (one - other).abs().mean() < 0.01


def test_readers_replace_masks_and_ranges(
    place_map: PlaceMap, network: ScmprNetwork, tmp_path: Path
) -> None:
    """Everywhere: in the mask, in the ranges, in place features, and so in phi and psi."""
    road = np.full((1, 10, 10), class_id("road"))
    masks = write_reader(
        tmp_path / "road", constant(road), kind="masks", output="ids", label_set="joint"
    )
    depth = write_reader(
        tmp_path / "near", constant(np.full((1, 5, 5), 5.0)), kind="depth", output="metric_depth"
    )
    own = observe(place_map, network, ReadersConfig())
    only_masks = observe(place_map, network, ReadersConfig(masks=str(masks)))
    both = observe(place_map, network, ReadersConfig(masks=str(masks), depth=str(depth)))
    seen = ViewSampler.of(CAMERA, network.config.mask_grid).seen.numpy()
    assert (both.mask[seen] == class_id("road")).all() and not (own.mask == both.mask).all()
    np.testing.assert_allclose(only_masks.range_probs, own.range_probs, atol=1e-6)
    assert network.config.depth.edges_m[1:3] == (4.0, 5.5)
    assert both.range_probs[:, 3, 8].argmax() == 1
    for x, y in ((own, only_masks), (only_masks, both)):
        assert x.prediction is not None and y.prediction is not None
        assert (x.prediction.features - y.prediction.features).abs().max() > 1e-3
        assert np.abs(np.sort(x.phi) - np.sort(y.phi)).max() > 1e-3
    assert np.abs(np.sort(own.psi) - np.sort(only_masks.psi)).max() > 1e-3


def test_readers_that_cannot_be_used(
    place_map: PlaceMap, network: ScmprNetwork, point_map: PointCloudMap, tmp_path: Path
) -> None:
    path = write_reader(tmp_path / "echo", echo(), kind="masks", output="probabilities",
                        classes=["road", "building", "sky"])  # fmt: skip
    masks = ReadersConfig(masks=str(path))
    with pytest.raises(ConfigError, match="readers need the engine torch"):
        Localizer(place_map, network, replace(CONFIG, engine="openvino", readers=masks))
    with pytest.raises(ConfigError, match="reads masks, not depth"):
        observe(place_map, network, ReadersConfig(depth=str(path)))
    depth = write_reader(tmp_path / "near", echo(), kind="depth", output="metric_depth")
    flat = ScmprNetwork(replace(network.config, use_depth=False)).eval()
    few = MapBuilderConfig(places=PlacesConfig(spacing_m=15.0), device="cpu")
    flat_map = build_map(point_map, flat, few, progress=False)
    with pytest.raises(ConfigError, match="no range head that a depth reader could replace"):
        observe(flat_map, flat, ReadersConfig(depth=str(depth)))
    rival = LipLocNetwork(LipLocConfig(tower="test_resnet", size=64, num_headings=6)).eval()
    rival_map = build_map(point_map, rival, few, progress=False)
    with pytest.raises(ConfigError, match="lip_loc predicts no masks"):
        Localizer(rival_map, rival, replace(CONFIG, readers=masks))


def test_evaluate_reads_by_onnx(network: ScmprNetwork, tmp_path: Path) -> None:
    """`--readers-onnx` names the same readers as the settings do, and the result says which."""
    checkpoint = tmp_path / "network.safetensors"
    save_checkpoint(network, checkpoint)
    folder = write_recording(tmp_path / "0000", seed=0, images=2)
    path = write_reader(tmp_path / "echo", echo(), kind="masks", output="probabilities",
                        classes=["road", "building", "sky"])  # fmt: skip
    provenances = []
    for number, how in enumerate(
        (["--readers-onnx", str(path)], ["--settings.localizer.readers.masks", str(path)])
    ):
        out = tmp_path / f"{number}.json"
        arguments = [str(folder), "--checkpoint", str(checkpoint), "--out", str(out), *how]
        assert evaluate.main(arguments) == 0
        (result,) = read_results(out)
        assert result.scores.num_answered == 2
        provenances.append(result.provenance)
    assert provenances[0] == provenances[1]
    assert provenances[0].localizer["readers"]["masks"] == str(path)


def test_readers_are_parameters_of_the_node() -> None:
    config = from_dict(
        LocalizerNodeConfig, {"localizer": {"readers": {"masks": "m.yaml", "sigma": 0.2}}}
    )
    assert config.localizer.readers == ReadersConfig(masks="m.yaml", sigma=0.2)
    with pytest.raises(ConfigError, match=r"readers\.sigma is 0\.0"):
        from_dict(LocalizerNodeConfig, {"localizer": {"readers": {"sigma": 0.0}}})
