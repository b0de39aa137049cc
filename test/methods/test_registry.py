"""A method of another package trains, builds maps, localises and is evaluated like our own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
from tiny_runs import PAIRS, TINY
from torch import Tensor, nn
from torch.nn import functional
from window_methods import small_config

from scmpr_ros.cli import build_map as build_map_command
from scmpr_ros.cli import evaluate as evaluate_command
from scmpr_ros.cli import train as train_command
from scmpr_ros.datasets.recordings import open_drives
from scmpr_ros.errors import ConfigError
from scmpr_ros.lidar.panorama import Panoramas
from scmpr_ros.methods.checkpoint import load_checkpoint
from scmpr_ros.methods.contrast import ambiguous_pairs, contrastive_loss, cosines, heading_targets
from scmpr_ros.methods.network import PlaceDescription, PlaceNetwork, PlaceNetworkConfig, Query
from scmpr_ros.methods.objective import Objective, ObjectiveConfig, viewpoints
from scmpr_ros.methods.pair_batch import PairBatch
from scmpr_ros.methods.registry import Method, find_method, method_names, register, unregister
from scmpr_ros.methods.views import PlaceView, QueryView
from scmpr_ros.pipeline.localizer import Localizer
from scmpr_ros.retrieval.place_map import PlaceMap
from scmpr_ros.training.settings import train_config_class


@dataclass(frozen=True)
class ToyConfig(PlaceNetworkConfig):
    """Colours against how far the panorama's columns reach."""

    dim: int = 8


class ToyNetwork(PlaceNetwork):
    method: ClassVar[str] = "toy"
    config: ToyConfig

    def __init__(self, config: ToyConfig) -> None:
        super().__init__(config)
        self.image = nn.Linear(3, config.dim)
        self.place = nn.Linear(1, config.dim)

    def describe_query(self, view: QueryView, context: Tensor) -> Query:
        assert context.shape == (0, 0)
        return Query(functional.normalize(self.image(view.pixels.mean((2, 3))), dim=-1))

    def describe_place(self, place: PlaceView) -> PlaceDescription:
        reach = place.panoramas.range_m.mean(1)
        columns = functional.interpolate(reach[:, None], self.config.num_headings)[:, 0]
        return PlaceDescription(functional.normalize(self.place(columns[..., None]), dim=-1))


class ToyObjective(Objective):
    def losses(self, batch: PairBatch) -> dict[str, Tensor]:
        network, (images, places) = self.network, viewpoints(batch)
        context = batch.view.new_zeros(0, 0)
        descriptors = network.describe_query(QueryView(batch.view, batch.seen), context).descriptor
        view = PlaceView.of(batch.panorama, network.config.panorama)
        similarity = cosines(descriptors, network.describe_place(view).descriptors)
        headings = network.headings_rad
        target = heading_targets(images.yaw_rad + places.yaw_rad, headings)
        ambiguous = ambiguous_pairs(images, places, headings, *self.config.ambiguity)
        nothing = similarity.new_zeros(len(similarity), 0)
        return {"contrastive": contrastive_loss(similarity, target, ambiguous, self.scale, nothing)}


TOY = Method(ToyNetwork, ToyConfig, ToyObjective, ObjectiveConfig)


@pytest.fixture(autouse=True)
def registered() -> Iterator[None]:
    register(TOY)
    yield
    unregister("toy")


def test_a_toy_method_goes_all_the_way(
    recordings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Through the commands, as a user would."""
    run, weights = tmp_path / "run", tmp_path / "run" / "model.safetensors"
    grids = ["--module.network.panorama.height=8", "--module.network.panorama.width=120",
             "--module.network.view.height=32", "--module.network.view.width=64"]  # fmt: skip
    folders = [f"--recordings={recordings}", f"--validation={recordings.parent / 'validation'}",
               f"--prepared={recordings / '.prepared'}", f"--out={run}"]  # fmt: skip
    arguments = [
        "--method=toy", "--module.network.dim=5", *grids, *folders, "--jobs=1", "--batch_size=6",
        f"--pairs.neighbours={PAIRS.neighbours}", "--module.optimiser.max_steps=2",
        "--module.optimiser.warmup_steps=1", "--validate_every_steps=2",
    ]  # fmt: skip
    assert train_command.main(arguments) == 0
    network = load_checkpoint(weights)
    assert isinstance(network, ToyNetwork) and network.config.dim == 5

    source, built = recordings / "0000", tmp_path / "map"
    assert build_map_command.main([str(source), str(built), f"--checkpoint={weights}"]) == 0
    place_map = PlaceMap.load(built)
    assert place_map.descriptors.shape[1:] == (30, 5) and place_map.context.shape == (0, 0)

    drive = next(drive for drive in open_drives(source) if len(drive.image_frames))
    localizer = Localizer(place_map, network)
    observation = localizer.observe(drive.image(drive.image_frames[0]), drive.camera)
    assert observation.prediction is None and observation.mask is None
    assert np.array_equal(observation.score, observation.phi) and not observation.psi.any()
    assert localizer.answer(observation).mask is None

    out = tmp_path / "result.json"
    options = [f"--checkpoint={weights}", f"--out={out}", "--settings.segmenters=true"]
    assert evaluate_command.main([str(source), *options]) == 0
    assert all(result["num_answered"] > 0 for result in json.loads(out.read_text()))


def test_names() -> None:
    own = ["i2p_rec", "lc2", "lip_loc", "modalink", "scmpr", "vxp"]
    assert method_names() == [*own, "toy"]
    assert find_method("toy") is TOY and find_method("scmpr").name == "scmpr"
    with pytest.raises(ConfigError, match=f"no method 'netvlad'; there are {', '.join(own)}, toy"):
        find_method("netvlad")
    for taken in ("toy", "scmpr"):
        network = type("Other", (ToyNetwork,), {"method": taken})
        with pytest.raises(ConfigError, match=f"a method '{taken}' already"):
            register(replace(TOY, network=network))


def test_settings_are_those_of_the_method() -> None:
    config = train_config_class("toy")()
    assert config.method == "toy" and config.module.network == ToyConfig()
    with pytest.raises(ConfigError, match="are not those of toy"):
        replace(config, module=replace(config.module, network=TINY))
    with pytest.raises(ConfigError, match="toy has no task 'segmentation'; there are place"):
        replace(config, task="segmentation")
    with pytest.raises(ConfigError, match="toy has no perception weights"):
        replace(config, module=replace(config.module, frozen_perception=True))
    with pytest.raises(ConfigError, match="toy has no perception weights"):
        replace(config, perception=Path("weights.safetensors"))


def test_each_method_describes_queries_and_places_alike() -> None:
    """Unit descriptors of one dimension, whatever the method."""
    for name in method_names():
        config = replace(small_config(name, TINY.view, TINY.panorama), num_headings=4)
        torch.manual_seed(0)
        network = find_method(name).network(config).eval()
        shape = (2, TINY.panorama.height, TINY.panorama.width)
        label = torch.randint(0, 9, shape, dtype=torch.uint8)
        normal = torch.randn(2, 3, *shape[1:])
        panoramas = Panoramas(30 * torch.rand(shape), torch.randn(shape), normal, label)
        with torch.inference_mode():
            places = network.describe_place(PlaceView.of(panoramas, TINY.panorama)).descriptors
            seen = torch.ones(TINY.mask_grid.height, TINY.mask_grid.width, dtype=torch.bool)
            view = QueryView(torch.rand(3, 3, TINY.view.height, TINY.view.width), seen)
            query = network.describe_query(view, torch.zeros(config.context_shape))
        assert places.shape[:2] == (2, 4) and query.descriptor.shape == (3, places.shape[2])
        for descriptors in (places, query.descriptor):
            norm = descriptors.norm(dim=-1)
            torch.testing.assert_close(norm, torch.ones_like(norm))
