"""Checkpoints come back whole or not at all."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from scmpr_ros.errors import CheckpointError
from scmpr_ros.networks.checkpoint import (
    FORMAT,
    config_from_dict,
    fingerprint,
    load_checkpoint,
    save_checkpoint,
)
from scmpr_ros.networks.scmpr import ScmprConfig, ScmprNetwork


@pytest.fixture(scope="module")
def network() -> ScmprNetwork:
    torch.manual_seed(0)
    return ScmprNetwork(ScmprConfig(use_attention=False))


@pytest.fixture(scope="module")
def saved(network: ScmprNetwork, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("checkpoint") / "net.safetensors"
    save_checkpoint(network, path)
    return path


def test_round_trip(network: ScmprNetwork, saved: Path) -> None:
    loaded = load_checkpoint(saved)
    assert loaded.config == network.config and not loaded.training
    assert fingerprint(loaded) == fingerprint(network)
    for name, value in network.state_dict().items():
        assert torch.equal(value, loaded.state_dict()[name]), name


def test_half_precision_loads_as_float32_and_has_its_own_fingerprint(
    network: ScmprNetwork, tmp_path: Path
) -> None:
    path = tmp_path / "half.safetensors"
    save_checkpoint(network, path, torch.float16)
    loaded = load_checkpoint(path)
    assert all(p.dtype == torch.float32 for p in loaded.parameters())
    assert fingerprint(loaded) != fingerprint(network)
    assert fingerprint(loaded) == fingerprint(load_checkpoint(path))


def test_config_survives_json() -> None:
    config = ScmprConfig(num_headings=12)
    assert config_from_dict(json.loads(json.dumps(asdict(config)))) == config


def rewrite(path: Path, target: Path, change: str) -> Path:
    tensors = load_file(path)
    config = json.dumps(asdict(ScmprConfig(use_attention=False)))
    if change == "missing":
        del tensors["saff.mask_head.bias"]
    elif change == "unexpected":
        tensors["extra.weight"] = torch.zeros(2)
    elif change == "mis-shaped":
        tensors["saff.mask_head.bias"] = torch.zeros(3)
    elif change == "not finite":
        tensors["saff.mask_head.bias"][3] = torch.nan
    elif change == "config":
        config = json.dumps({**json.loads(config), "colour": "red"})
    form = "somebody else's" if change == "format" else FORMAT
    save_file(tensors, target, {"format": form, "config": config})
    return target


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("missing", "1 missing: saff.mask_head.bias"),
        ("unexpected", "1 unexpected: extra.weight"),
        ("mis-shaped", r"1 mis-shaped: saff.mask_head.bias \(3,\) instead of \(15,\)"),
        ("not finite", "1 not finite: saff.mask_head.bias"),
        ("config", "colour"),
        ("format", "somebody else's"),
    ],
)
def test_a_file_that_does_not_fit_says_how(
    saved: Path, tmp_path: Path, change: str, message: str
) -> None:
    with pytest.raises(CheckpointError, match=message):
        load_checkpoint(rewrite(saved, tmp_path / "wrong.safetensors", change))


def test_missing_and_truncated_files(saved: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no such checkpoint"):
        load_checkpoint(tmp_path / "nowhere.safetensors")
    half = tmp_path / "half.safetensors"
    half.write_bytes(saved.read_bytes()[:-1000])
    with pytest.raises(CheckpointError, match="not a whole safetensors file"):
        load_checkpoint(half)
