"""What all tests share: the real sample data, and a ROS 2 graph of this run's own."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings
from recording import write_recording

REPOSITORY = Path(__file__).resolve().parents[1]

# A loaded machine must not fail a test.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

# Before anything imports rclpy, and inherited by every node that a test starts. Domains 0 to 101
# are safe on all platforms; parallel runs on one machine rarely share the last digits of a pid.
os.environ["ROS_DOMAIN_ID"] = str(1 + os.getpid() % 100)
os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
os.environ["FASTDDS_DEFAULT_PROFILES_FILE"] = str(REPOSITORY / "config" / "fastdds.xml")
os.environ.setdefault("MPLBACKEND", "Agg")

# One thread a process, here and in every process that a test starts: tests run side by side, and
# threads that wait for a busy core spin.
os.environ["OMP_NUM_THREADS"] = "1"


@pytest.fixture(scope="session")
def repository() -> Path:
    """Root of the source tree."""
    return REPOSITORY


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of the real sample recordings: SCMPR_DATA, or ../shared/data beside the clone."""
    folder = Path(os.environ.get("SCMPR_DATA", REPOSITORY.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real sample data in {folder}; name its folder with SCMPR_DATA")
    return folder


@pytest.fixture(scope="session")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of two tiny recordings, see `recording`, beside `validation` with another one."""
    folder = tmp_path_factory.mktemp("recordings") / "train"
    for seed in (0, 1):
        write_recording(folder / f"{seed:04d}", seed)
    write_recording(folder.parent / "validation" / "0002", seed=2)
    return folder
