"""When a place map can be reused, and where one can be written."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from scmpr_ros.errors import ConfigError
from scmpr_ros.pipeline.map_directory import check_writable
from scmpr_ros.pipeline.source_digest import SourceDigest


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A recording's folder that also holds the place map made of it."""
    folder = tmp_path / "town"
    (folder / "scans").mkdir(parents=True)
    (folder / "scans" / "0.bin").write_bytes(b"points")
    (folder / "poses.txt").write_text("1 0 0 0")
    (folder / "map").mkdir()
    (folder / "map" / "metadata.json").write_text('{"format": "scmpr_ros place map/5"}')
    return folder


def test_the_digest_follows_the_content_and_not_the_place(source: Path, tmp_path: Path) -> None:
    digest = SourceDigest.of([source], source / "map")
    (source / "map" / "points.npy").write_text("the map's own files do not count")
    assert digest.matches([source], source / "map")

    moved = source.rename(tmp_path / "moved")
    assert digest.matches([moved], moved / "map")
    copied = tmp_path / "copied"
    shutil.copytree(moved, copied, copy_function=shutil.copy)  # with new modification times
    os.utime(copied / "poses.txt", ns=(1, 1))
    assert digest.matches([copied], copied / "map")

    (copied / "poses.txt").write_text("1 0 0 1")
    assert not digest.matches([copied], copied / "map")
    (moved / "scans" / "1.bin").write_bytes(b"")
    assert not digest.matches([moved], moved / "map")


def test_the_digest_of_one_file(tmp_path: Path) -> None:
    first, second = tmp_path / "a.ply", tmp_path / "b.ply"
    first.write_bytes(b"ply")
    digest = SourceDigest.of([first], tmp_path / "map")
    shutil.copy(first, second)
    assert digest.matches([second], tmp_path / "map")
    second.write_bytes(b"yes")
    assert not digest.matches([second], tmp_path / "map")


def test_large_sources_are_compared_by_listing(source: Path, tmp_path: Path) -> None:
    with (source / "scans" / "1.bin").open("wb") as file:
        file.truncate(2**30 + 1)  # a sparse file, which takes no space
    digest = SourceDigest.of([source], source / "map")
    assert digest.content == "" and digest.matches([source], source / "map")
    os.utime(source / "poses.txt", ns=(1, 1))
    assert not digest.matches([source], source / "map")


def test_check_writable(source: Path, tmp_path: Path) -> None:
    check_writable(tmp_path / "new" / "folders" / "map")
    check_writable(source / "map")
    assert [p.name for p in (tmp_path / "new" / "folders").iterdir()] == []
    with pytest.raises(ConfigError, match=r"poses.txt/map: .*File exists"):
        check_writable(source / "poses.txt" / "map")
    with pytest.raises(ConfigError, match="exists and is no place map"):
        check_writable(source / "scans")


def test_check_writable_where_files_cannot_grow(tmp_path: Path) -> None:
    """A limit on the size of files stands in for a full disk: writing raises OSError alike.

    In a process of its own: the middleware of a test of nodes may still write into shared memory.
    """
    code = """
import resource, sys
from pathlib import Path
from scmpr_ros.errors import ConfigError
from scmpr_ros.pipeline.map_directory import check_writable
soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (1024, hard))
try:
    check_writable(Path(sys.argv[1]))
except ConfigError as error:
    print(error)
resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))  # coverage may write at the end
"""
    result = subprocess.run([sys.executable, "-c", code, str(tmp_path / "map")],
                            capture_output=True, text=True, timeout=120, check=False)  # fmt: skip
    assert result.stdout.startswith("cannot write a place map to "), result.stderr
    assert "File too large" in result.stdout
    assert list(tmp_path.iterdir()) == []
