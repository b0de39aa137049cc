"""The network of map points learns the labels of scans."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from recording import write_labelled_scans
from safetensors.torch import load_file

from scmpr_ros.cli import train_segmenter
from scmpr_ros.errors import ConfigError, DatasetError
from scmpr_ros.lidar.cloud_files import read_cloud
from scmpr_ros.lidar.segmentation import PointNetwork
from scmpr_ros.semantics import class_id
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
    command += ["--single_scans", "1", "--blurred", "0"]
    assert train_segmenter.main([*command, "--steps", "100", "--batch_size", "256"]) == 0
    printed = capsys.readouterr().out
    assert "road" in printed and str(out) in printed.replace("\n", "")
    network = PointNetwork()
    network.load_state_dict(load_file(out))
    confusion = network.confusion.numpy()
    np.testing.assert_allclose(confusion.sum(1), 1.0, atol=1e-6)
    assert confusion[0, 0] > 0.7  # of the road


def test_ones_own_scans_are_learned_from_as_well(labelled: Path, tmp_path: Path) -> None:
    """They need no images and no map; what they call a wall, the network then calls a wall, too."""
    own = tmp_path / "own"
    shutil.copytree(labelled / "0000", own)
    (own / "map.ply").unlink()
    shutil.rmtree(own / "sequences" / "01")
    for labels in (own / "sequences/00/labels").glob("*.label"):
        np.full(labels.stat().st_size // 4, 51, "<u4").tofile(labels)  # all of it is fence
    towns = tmp_path / "towns"
    for number in ("0001", "0002"):
        shutil.copytree(labelled / "0001", towns / number)
        scale = 1.0 if number == "0001" else 1.01  # the images must differ
        for image in (towns / number / "sequences/01/image_2").glob("*.png"):
            cv2.imwrite(str(image), (cv2.imread(str(image)) / scale).astype(np.uint8))
    settings = PointSegmentationConfig(
        towns,
        tmp_path / "a.safetensors",
        1,
        steps=40,
        batch_size=128,
        single_scans=0,
        blurred=0,
        jobs=1,
    )
    without = fit_point_network(settings)
    adapted = fit_point_network(replace(settings, own=own, own_share=0.9))
    barrier = class_id("barrier")
    assert adapted[:, barrier].sum() > 10 * max(without[:, barrier].sum(), 1)


def test_ignore_and_sky_are_never_predicted() -> None:
    torch.manual_seed(0)
    network = PointNetwork().eval().second
    features = torch.randn(500, network.mean.shape[0])
    features[:, ::7] = torch.nan  # unknown
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
    with pytest.raises(ConfigError, match="own_share is 1"):
        PointSegmentationConfig(own_share=1.0)
    with pytest.raises(DatasetError, match="none: no recording with scans"):
        fit_point_network(
            PointSegmentationConfig(recordings, tmp_path / "x", 1, tmp_path / "none", jobs=1)
        )
    with pytest.raises(DatasetError, match="labelled scans"):
        fit_point_network(PointSegmentationConfig(recordings, tmp_path / "x", 1, jobs=1))
    assert not (tmp_path / "x").exists()
