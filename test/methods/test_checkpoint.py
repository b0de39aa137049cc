"""Checkpoints come back whole or not at all."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from scmpr_ros.errors import CheckpointError
from scmpr_ros.methods.checkpoint import (
    FORMAT,
    fingerprint,
    load_checkpoint,
    save_checkpoint,
)
from scmpr_ros.methods.scmpr.network import ScmprConfig, ScmprNetwork
from scmpr_ros.networks.netvlad import NetVladConfig


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


def test_config_survives_the_file(tmp_path: Path) -> None:
    config = ScmprConfig(num_headings=12, netvlad=NetVladConfig(clusters=8))
    save_checkpoint(ScmprNetwork(config), tmp_path / "net.safetensors")
    assert load_checkpoint(tmp_path / "net.safetensors").config == config


def test_names_of_older_checkpoints_are_translated(
    network: ScmprNetwork, saved: Path, tmp_path: Path
) -> None:
    old = {
        name.replace(".batch_norm.", ".centring.")
        .replace("saff.mask_head.", "saff.segment.")
        .replace("saff.range_head.", "saff.measure.")
        .replace("saff.place_head.", "saff.describe.")
        .replace("part_logits", "shares"): value
        for name, value in load_file(saved).items()
    }
    assert old.keys() != network.state_dict().keys()
    with safe_open(saved, framework="pt") as file:
        save_file(old, tmp_path / "old.safetensors", file.metadata())
    assert fingerprint(load_checkpoint(tmp_path / "old.safetensors")) == fingerprint(network)


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
