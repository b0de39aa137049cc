"""The network of map points learns the labels of scans."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from recording import write_labelled_scans
from safetensors.torch import load_file

from scmpr_ros.cli import train_segmenter
from scmpr_ros.errors import ConfigError, DatasetError
from scmpr_ros.lidar.cloud_files import read_cloud
from scmpr_ros.lidar.segmentation import PointNetwork
from scmpr_ros.training.point_segmentation import PointSegmentationConfig, fit_point_network


@pytest.fixture(scope="module")
def labelled(recordings: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The recordings with labelled scans: each is the whole map, seen from its pose."""
    folder = tmp_path_factory.mktemp("labelled") / "recordings"
    shutil.copytree(recordings, folder, ignore=shutil.ignore_patterns(".prepared"))
    for recording in folder.iterdir():
        write_labelled_scans(recording, read_cloud(recording / "map.ply"))
    return folder


def test_fitting_learns_and_writes_a_loadable_file(
    labelled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "new" / "segmentation.safetensors"
    command = ["--recordings", str(labelled), "--out", str(out), "--held_out", "1", "--jobs", "1"]
    assert train_segmenter.main([*command, "--steps", "150", "--batch_size", "512"]) == 0
    printed = capsys.readouterr().out
    assert "road" in printed and str(out) in printed.replace("\n", "")
    network = PointNetwork()
    network.load_state_dict(load_file(out))
    confusion = network.confusion.numpy()
    np.testing.assert_allclose(confusion.sum(1), 1.0, atol=1e-6)
    assert confusion[0, 0] > 0.7  # of the road


def test_ignore_and_sky_are_never_predicted() -> None:
    torch.manual_seed(0)
    network = PointNetwork().eval()
    features = torch.randn(500, network.mean.shape[0])
    probability = network(features)
    assert (probability[:, [0, -1]] == 0).all()
    torch.testing.assert_close(probability.sum(1), torch.ones(500))


def test_invalid_settings_and_recordings_are_refused(recordings: Path, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="held out"):
        fit_point_network(PointSegmentationConfig(recordings, tmp_path / "x", held_out=2))
    with pytest.raises(ConfigError, match="positive"):
        PointSegmentationConfig(steps=0)
    with pytest.raises(ConfigError, match="negative"):
        PointSegmentationConfig(blurred=-1)
    with pytest.raises(DatasetError, match="labelled scans"):
        fit_point_network(PointSegmentationConfig(recordings, tmp_path / "x", 1, jobs=1))
    assert not (tmp_path / "x").exists()
