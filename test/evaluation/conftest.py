"""Weights that several tests of the evaluation share."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tiny_runs import TINY

from scmpr_ros.methods.checkpoint import load_checkpoint, save_checkpoint
from scmpr_ros.methods.network import PlaceNetwork
from scmpr_ros.methods.scmpr.network import ScmprNetwork


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights of a tiny network."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "random.safetensors"
    save_checkpoint(ScmprNetwork(TINY), path)
    return path


@pytest.fixture(scope="session")
def network(checkpoint: Path) -> PlaceNetwork:
    """The network with these weights."""
    return load_checkpoint(checkpoint)
