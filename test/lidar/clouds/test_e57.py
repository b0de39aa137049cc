"""E57 by pye57: scans are placed by their poses and joined."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from clouds import street_points

from scmpr_ros.errors import DatasetError
from scmpr_ros.lidar.cloud_files import open_cloud, read_cloud

pye57 = pytest.importorskip("pye57")

HALF_TURN = np.array([0.0, 0.0, 0.0, 1.0])  # w, x, y, z: about z
UTM = np.array([458000.0, 5428000.0, 110.0])


def write_e57(path: Path, *scans: tuple[np.ndarray, np.ndarray | None, np.ndarray | None]) -> None:
    """Write scans: points (N, 3) in the scanner's frame, rotation as quaternion, translation."""
    with pye57.E57(str(path), mode="w") as file:
        for xyz, rotation, translation in scans:
            data = {f"cartesian{axis}": xyz[:, k] for k, axis in enumerate("XYZ")}
            data["intensity"] = np.linspace(0, 1, len(xyz)).astype("f4")
            file.write_scan_raw(data, rotation=rotation, translation=translation)


def test_scans_are_placed_by_their_poses(tmp_path: Path) -> None:
    xyz = street_points()
    still = np.array([1.0, 0, 0, 0])
    write_e57(tmp_path / "m.e57", (xyz, still, UTM), (xyz, HALF_TURN, UTM + [1, 2, 3]))
    cloud = read_cloud(tmp_path / "m.e57")
    turned = xyz * [-1, -1, 1] + UTM + [1, 2, 3]
    np.testing.assert_allclose(cloud.xyz + cloud.origin, np.vstack([xyz + UTM, turned]), atol=1e-4)
    assert cloud.intensity is not None
    assert cloud.intensity[[0, len(xyz) - 1]].tolist() == [0, 1]


@pytest.mark.parametrize("scans", [1, 3])
def test_scans_without_poses_are_said(tmp_path: Path, scans: int, caplog) -> None:
    write_e57(tmp_path / "m.e57", *[(street_points(), None, None)] * scans)
    open_cloud(tmp_path / "m.e57")
    assert ("3 of its 3 scans have no pose" in caplog.text) == (scans > 1)


def test_no_scans(tmp_path: Path) -> None:
    write_e57(tmp_path / "m.e57")
    with pytest.raises(DatasetError, match=r"m\.e57 holds no points"):
        open_cloud(tmp_path / "m.e57")


@pytest.mark.parametrize("keep", [9, 30, 0.5, 0.999])
def test_truncated(tmp_path: Path, keep: float) -> None:
    path = tmp_path / "m.e57"
    write_e57(path, (street_points(), HALF_TURN, UTM))
    data = path.read_bytes()
    path.write_bytes(data[: int(keep if keep > 1 else keep * len(data))])
    with pytest.raises(DatasetError, match=r"m\.e57 is (truncated|not an E57 file)"):
        open_cloud(path)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
def test_flipped_bits_are_found_by_the_checksums(tmp_path: Path, share: float) -> None:
    path = tmp_path / "m.e57"
    write_e57(path, (street_points(), HALF_TURN, UTM))
    data = bytearray(path.read_bytes())
    data[int(share * len(data))] ^= 0x10
    path.write_bytes(data)
    with pytest.raises(DatasetError, match=r"m\.e57 is damaged"):
        open_cloud(path)
