"""No command trains on the data that its results are measured on."""

from __future__ import annotations

import logging
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image
from recording import write_recording
from tiny_runs import tiny_run

from scmpr_ros.cli import train as train_script
from scmpr_ros.datasets.town_files import SEEDS
from scmpr_ros.errors import ConfigError, DatasetError
from scmpr_ros.training.ablation import AblationConfig, ablate
from scmpr_ros.training.point_segmentation import PointSegmentationConfig, fit_point_network
from scmpr_ros.training.preparation import RecordingSource, find_recordings
from scmpr_ros.training.split import check_split
from scmpr_ros.training.train import train


def source(folder: Path, drive: str = "") -> RecordingSource:
    return RecordingSource(folder, drive)


@pytest.fixture(scope="module")
def kitti(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """KITTI odometry's layout: sequences with scans and images, each in its own frame."""
    root = tmp_path_factory.mktemp("splits") / "kitti"
    for name in ("03", "05", "08", "09"):
        single = write_recording(root.parent / f"single-{name}", seed=int(name), images=2)
        images = single / "sequences" / "01"
        (images / "velodyne").mkdir()
        for scan in ("000000.bin", "000001.bin"):
            shutil.copy(single / "sequences" / "00" / "velodyne" / scan, images / "velodyne" / scan)
        shutil.copytree(images, root / "sequences" / name)
        (root / "poses").mkdir(exist_ok=True)
        shutil.copy(single / "poses" / "01.txt", root / "poses" / f"{name}.txt")
    return root


def test_sequences_of_a_recording_can_be_chosen(kitti: Path, recordings: Path) -> None:
    assert [s.drive for s in find_recordings(kitti)] == ["03", "05", "08", "09"]
    assert find_recordings(kitti, "05, 03") == [source(kitti, "05"), source(kitti, "03")]
    with pytest.raises(DatasetError, match="no drive '04'; it has 03, 05, 08, 09"):
        find_recordings(kitti, "03,04")
    with pytest.raises(DatasetError, match="sequence 01 has no images"):
        write_recording(kitti.parent / "bare", seed=0, images=2)
        (kitti.parent / "bare" / "map.ply").unlink()
        find_recordings(kitti.parent / "bare", "01")
    for folder in (recordings, recordings / "0000"):
        with pytest.raises(
            ConfigError, match=r"cannot choose the sequences 01 .* single recording"
        ):
            find_recordings(folder, "01")


def test_test_sequences_of_kitti_are_not_trained_on(
    kitti: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = replace(tiny_run(kitti, tmp_path, 2), validation=None)
    with pytest.raises(ConfigError) as error:
        train(run)
    assert "drive 08) for training: test data of scmpr, lip_loc; " in str(error.value)
    assert "drive 09)" in str(error.value) and "allow_test_data" in str(error.value)
    with pytest.raises(ConfigError, match="drive 09\\) for validation"):
        train(replace(run, sequences="03", validation=kitti, validation_sequences="09"))
    caplog.clear()
    check_split([source(kitti, "08")], allow_test_data=True)
    assert not caplog.records
    with caplog.at_level(logging.WARNING):
        check_split([source(kitti, "03"), source(kitti, "05")])
    (warning,) = caplog.messages
    assert "drive 05) is test data of the protocols modalink, rangebev, revisit" in warning


def test_sequences_are_settings_of_the_command(
    kitti: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    where = ["--recordings", str(kitti), "--out", str(tmp_path)]
    command = [*where, "--sequences", "03,08", "--validation", "null"]
    assert train_script.main(command) == 1
    last = capsys.readouterr().err.splitlines()[-1]
    assert "drive 08" in last and "drive 09" not in last


def test_kitti_sequences_with_a_prebuilt_map_are_recognised_by_their_length(tmp_path: Path) -> None:
    """Other recordings have the layout of KITTI odometry and a drive 09 as well."""
    folder = write_recording(tmp_path / "own", seed=0, images=2)
    (folder / "sequences" / "01").rename(folder / "sequences" / "09")
    poses = (folder / "poses" / "01.txt").rename(folder / "poses" / "09.txt")
    check_split([source(folder)])
    first = poses.read_text().splitlines()[0] + "\n"
    poses.write_text(1591 * first)
    with pytest.raises(ConfigError, match=r"drive 09\) for training: test data of scmpr"):
        check_split([source(folder)])


@pytest.mark.parametrize("name", ["2011_09_30_drive_0028_sync", "2013_05_28_drive_0000_sync"])
def test_test_drives_are_recognised_by_their_names_in_other_data_sets(
    kitti: Path, tmp_path: Path, name: str
) -> None:
    """Sequence 08 as a drive of KITTI raw, and the test drive of KITTI-360."""
    shutil.copytree(kitti / "sequences" / "03", tmp_path / "sequences" / name)
    shutil.copytree(kitti / "poses", tmp_path / "poses")
    (tmp_path / "poses" / "03.txt").rename(tmp_path / "poses" / f"{name}.txt")
    with pytest.raises(ConfigError, match=rf"drive {name}\) for training: test data of scmpr"):
        check_split([source(tmp_path, name)])


@pytest.mark.parametrize("split", ["validation", "test"])
def test_towns_reserved_for_another_use_are_not_trained_on(tmp_path: Path, split: str) -> None:
    town = write_recording(tmp_path / "town", seed=0, images=2)
    seed = SEEDS[split][7]
    (town / "town.yaml").write_text(f"seed: {seed}\n")
    with pytest.raises(ConfigError, match=f"its seed is a {split} town's"):
        check_split([source(town)])
    check_split([source(town)], allow_test_data=True)
    other = write_recording(tmp_path / "other", seed=1, images=2)
    if split == "validation":
        check_split([source(other)], [source(town)])
    else:
        with pytest.raises(ConfigError, match=r"for validation: its seed is a test town's"):
            check_split([source(other)], [source(town)])
        check_split([source(other)], test=[source(town)])
    (town / "town.yaml").write_text(f"seed: {SEEDS['train'][7]}\n")
    check_split([source(town)])


def test_no_drive_is_in_two_parts(kitti: Path, tmp_path: Path) -> None:
    copied = tmp_path / "copy"
    shutil.copytree(kitti / "sequences" / "03", copied / "sequences" / "00")
    shutil.copytree(kitti / "poses", copied / "poses")
    (copied / "poses" / "03.txt").rename(copied / "poses" / "00.txt")
    linked = tmp_path / "link"
    linked.symlink_to(kitti)
    same = [source(kitti, "03"), source(linked, "03"), source(copied, "00")]
    for other in same:
        with pytest.raises(ConfigError, match="they are the same drive"):
            check_split([source(kitti, "05"), source(kitti, "03")], [other])
        with pytest.raises(ConfigError, match=r"for validation, and .* for test"):
            check_split([source(kitti, "05")], [source(kitti, "03")], [other])
    check_split([source(kitti, "05")], [source(copied, "00")])


def test_a_part_of_a_drive_is_recognised_by_its_first_image(kitti: Path, tmp_path: Path) -> None:
    shutil.copytree(kitti / "sequences" / "03", tmp_path / "sequences" / "77")
    shutil.copytree(kitti / "poses", tmp_path / "poses")
    (tmp_path / "poses" / "03.txt").rename(tmp_path / "poses" / "77.txt")
    (tmp_path / "sequences" / "77" / "image_2" / "000001.png").unlink()
    with pytest.raises(ConfigError, match="they are the same drive"):
        check_split([source(kitti, "03")], [source(tmp_path, "77")])


def test_black_images_identify_no_drive(tmp_path: Path) -> None:
    folders = [write_recording(tmp_path / name, seed, 2) for seed, name in enumerate("ab")]
    for folder in folders:
        for image in folder.glob("sequences/01/image_2/*.png"):
            Image.new("RGB", Image.open(image).size).save(image)
    check_split([source(folders[0])], [source(folders[1])])


def test_training_refuses_a_copy_of_its_validation(recordings: Path, tmp_path: Path) -> None:
    shutil.copytree(recordings / "0001", tmp_path / "copied")
    run = tiny_run(recordings, tmp_path / "out", 2)
    for validation in (recordings, tmp_path / "copied"):
        with pytest.raises(ConfigError, match=r"training, and .* for validation"):
            train(replace(run, validation=validation))


def test_an_ablation_refuses_to_be_judged_by_what_it_trains_on(
    recordings: Path, tmp_path: Path
) -> None:
    run = tiny_run(recordings, tmp_path / "out", 2)
    ablation = AblationConfig(rows={"full": {}}, test=recordings, out=tmp_path, train=run)
    with pytest.raises(ConfigError, match=r"training, and .* for test"):
        ablate(ablation)
    with pytest.raises(ConfigError, match=r"validation, and .* for test"):
        ablate(replace(ablation, test=recordings.parent / "validation"))
    elsewhere = write_recording(tmp_path / "test" / "0003", seed=3, images=2).parent
    moved = {"full": {"recordings": str(elsewhere)}}
    with pytest.raises(ConfigError, match=r"training, and .* for test"):
        ablate(replace(ablation, test=elsewhere, rows=moved))


def test_a_segmenter_is_not_judged_by_copies_of_what_it_was_fitted_to(
    recordings: Path, tmp_path: Path
) -> None:
    for name in ("0000", "0001"):
        shutil.copytree(recordings / "0000", tmp_path / "towns" / name)
    config = PointSegmentationConfig(tmp_path / "towns", tmp_path / "x", held_out=1, jobs=1)
    with pytest.raises(ConfigError, match=r"training, and .* for test"):
        fit_point_network(config)
    (tmp_path / "towns" / "0000" / "town.yaml").write_text(f"seed: {SEEDS['test'][0]}\n")
    shutil.copytree(recordings / "0001", tmp_path / "towns" / "0001", dirs_exist_ok=True)
    with pytest.raises(ConfigError, match="its seed is a test town's"):
        fit_point_network(config)
