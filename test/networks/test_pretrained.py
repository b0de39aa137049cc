"""Weights of real images reach the pyramid of a backbone, all of them or none."""

from __future__ import annotations

from pathlib import Path

import pytest
import timm
import torch
from torch import nn

from scmpr_ros.errors import CheckpointError, ConfigError
from scmpr_ros.networks.backbones import build_backbone
from scmpr_ros.networks.pretrained import load_pretrained

MODEL = "test_efficientnet.r160_in1k"


@pytest.fixture(scope="module")
def whole() -> dict[str, torch.Tensor]:
    torch.manual_seed(1)
    state: dict[str, torch.Tensor] = timm.create_model(MODEL, pretrained=False).state_dict()
    return state


@pytest.fixture
def network() -> nn.Module:
    torch.manual_seed(2)
    return nn.Sequential(build_backbone(f"timm/{MODEL}"))


def test_names_of_timm_or_any_names_in_its_order_load(
    whole: dict[str, torch.Tensor], network: nn.Module, tmp_path: Path
) -> None:
    numbered = {f"entry.{number}": value for number, value in enumerate(whole.values())}
    for state in (whole, numbered):
        torch.save(state, tmp_path / "weights.pth")
        with torch.no_grad():
            network[0].trunk.conv_stem.weight.zero_()
        load_pretrained(network, tmp_path / "weights.pth")
        for name, value in network[0].trunk.state_dict().items():
            assert torch.equal(value, whole[name]), name


def test_files_of_other_models_change_nothing(
    whole: dict[str, torch.Tensor], network: nn.Module, tmp_path: Path
) -> None:
    before = {name: value.clone() for name, value in network.state_dict().items()}
    torch.save({"a": torch.ones(3)}, tmp_path / "other.pth")
    with pytest.raises(CheckpointError, match=r"other\.pth: neither names nor shapes of its 1"):
        load_pretrained(network, tmp_path / "other.pth")
    broken = dict(whole) | {"conv_stem.weight": whole["conv_stem.weight"] * torch.nan}
    torch.save(broken, tmp_path / "broken.pth")
    with pytest.raises(CheckpointError, match=r"not finite: conv_stem\.weight"):
        load_pretrained(network, tmp_path / "broken.pth")
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    with pytest.raises(ConfigError, match="this run's network has none"):
        load_pretrained(nn.Linear(1, 1), tmp_path / "broken.pth")
