"""Files and folders appear complete or not at all, and an old one stays until then."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread

import pytest

from scmpr_ros import atomic_files
from scmpr_ros.atomic_files import (
    atomic_directory,
    atomic_write,
    cache_folder,
    exclusive_lock,
    write_file,
    write_json,
)
from scmpr_ros.errors import ConfigError, DatasetError

REPLACE_FOREVER = """
import sys
from itertools import count
from pathlib import Path
from scmpr_ros.atomic_files import atomic_directory

for version in count(1):
    with atomic_directory(Path(sys.argv[1]), replace=True) as new:
        new.mkdir()
        for index in range(5):
            (new / str(index)).write_text(str(version))
            if sys.argv[2:] == [str(index)]:
                print("partial", flush=True)
                sys.stdin.read()
"""
HOLD = """
import sys
from pathlib import Path
from scmpr_ros.atomic_files import exclusive_lock

with exclusive_lock(Path(sys.argv[1])):
    print("held", flush=True)
    input()
"""


@contextmanager
def running(script: str, *arguments: str | Path) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", script, *map(str, arguments)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def write_version(path: Path, version: int) -> None:
    with atomic_directory(path, replace=True) as new:
        new.mkdir()
        for index in range(5):
            (new / str(index)).write_text(str(version))


def read_version(path: Path) -> int | None:
    """Version of a folder that must be there and complete; None if replaced while it was read."""
    folder = os.open(path, os.O_RDONLY)
    try:
        texts = []
        for index in range(5):
            with os.fdopen(os.open(str(index), os.O_RDONLY, dir_fd=folder)) as file:
                texts.append(file.read())
    except FileNotFoundError:
        assert not os.path.samestat(os.fstat(folder), path.stat()), "a file is missing"
        return None
    finally:
        os.close(folder)
    assert len(set(texts)) == 1, texts
    return int(texts[0])


def test_a_file_appears_when_complete(tmp_path: Path) -> None:
    path = tmp_path / "new" / "file"
    with atomic_write(path) as temporary:
        temporary.write_text("half")
        assert not path.exists() and temporary.parent == path.parent
    assert path.read_text() == "half" and list(path.parent.iterdir()) == [path]


def test_a_failed_write_keeps_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_file(path, "before")
    with pytest.raises(KeyboardInterrupt), atomic_write(path) as temporary:
        temporary.write_text("ha")
        raise KeyboardInterrupt
    assert path.read_text() == "before" and list(tmp_path.iterdir()) == [path]


def test_text_is_utf8_and_bytes_are_unchanged(tmp_path: Path) -> None:
    write_file(tmp_path / "text", "α φ")
    assert (tmp_path / "text").read_bytes() == "α φ".encode()
    write_file(tmp_path / "bytes", b"\xff\x00")
    assert (tmp_path / "bytes").read_bytes() == b"\xff\x00"


def test_json_accepts_paths_and_rejects_nan(tmp_path: Path) -> None:
    path = tmp_path / "numbers.json"
    write_json(path, {"map": tmp_path, "recall": 0.5})
    assert json.loads(path.read_text()) == {"map": str(tmp_path), "recall": 0.5}
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json(path, {"recall": float("nan")})
    assert json.loads(path.read_text())["recall"] == 0.5


def test_a_folder_appears_when_complete(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "folder"
    with pytest.raises(RuntimeError), atomic_directory(path) as new:
        new.mkdir()
        raise RuntimeError
    assert not (tmp_path / "deep").exists()
    with atomic_directory(path) as new:
        new.mkdir()
        (new / "file").write_text("")
        assert new.name == "folder" and not path.exists()
    assert [p.name for p in path.iterdir()] == ["file"]


def test_an_existing_folder_is_replaced_only_on_request(tmp_path: Path) -> None:
    path = tmp_path / "map"
    write_version(path, 1)
    with pytest.raises(DatasetError, match="exists already"), atomic_directory(path):
        pytest.fail("the work must not begin")
    with pytest.raises(RuntimeError), atomic_directory(path, replace=True) as new:
        new.mkdir()
        raise RuntimeError
    assert read_version(path) == 1
    late = tmp_path / "late"
    with pytest.raises(DatasetError, match="late exists already"), atomic_directory(late) as new:
        new.mkdir()
        (late / "of somebody else").mkdir(parents=True)
    write_version(path, 2)
    assert read_version(path) == 2
    assert sorted(p.name for p in tmp_path.iterdir()) == ["late", "map"]


def test_a_file_is_not_replaced_by_a_folder(tmp_path: Path) -> None:
    (tmp_path / "map").write_text("of something else")
    with pytest.raises(DatasetError, match="map is not a folder"):
        write_version(tmp_path / "map", 1)
    assert (tmp_path / "map").is_file() and len(list(tmp_path.iterdir())) == 1


def test_a_link_is_replaced_and_its_target_kept(tmp_path: Path) -> None:
    write_version(tmp_path / "target", 1)
    (tmp_path / "map").symlink_to("target")
    write_version(tmp_path / "map", 2)
    assert not (tmp_path / "map").is_symlink()
    assert read_version(tmp_path / "map") == 2 and read_version(tmp_path / "target") == 1


def test_a_replaced_folder_is_complete_at_every_moment(tmp_path: Path) -> None:
    path = tmp_path / "map"
    write_version(path, 0)
    with running(REPLACE_FOREVER, path) as writer:
        versions: set[int | None] = set()
        while len(versions) < 30:
            versions.add(read_version(path))
            assert writer.poll() is None
        writer.kill()
    assert read_version(path) is not None
    write_version(path, 0)
    assert read_version(path) == 0 and list(tmp_path.iterdir()) == [path]


def test_the_partial_folder_of_a_killed_process_is_removed(tmp_path: Path) -> None:
    path = tmp_path / "map"
    with running(REPLACE_FOREVER, path, "2") as writer:
        assert writer.stdout is not None and writer.stdout.readline() == "partial\n"
        with pytest.raises(ConfigError, match="another process"), atomic_directory(path):
            pytest.fail("the folder of a living process must stay")
        writer.kill()
    assert not path.exists() and len(list(tmp_path.iterdir())) == 1
    with atomic_directory(path) as new:
        assert not new.exists()
        new.mkdir()
    assert list(tmp_path.iterdir()) == [path] and not list(path.iterdir())


def test_replacing_waits_for_another_process(tmp_path: Path) -> None:
    path = tmp_path / "map"
    with running(REPLACE_FOREVER, path, "4") as writer:
        assert writer.stdout is not None and writer.stdout.readline() == "partial\n"
        waiting = Thread(target=write_version, args=(path, 100))
        waiting.start()
        waiting.join(0.2)
        assert waiting.is_alive()
        writer.kill()
        waiting.join(60)
    assert read_version(path) == 100


@pytest.mark.parametrize("failure", [AttributeError, errno.EINVAL])
def test_replacing_without_an_exchange_of_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failure: type | int
) -> None:
    """As on macOS, or on NFS."""
    if failure is AttributeError:
        monkeypatch.setattr(atomic_files.ctypes, "CDLL", lambda *_, **__: object())
    else:
        monkeypatch.setattr(atomic_files, "_RENAME_EXCHANGE", 1 << 20)  # an unknown flag
    path = tmp_path / "map"
    for version in (1, 2):
        write_version(path, version)
        assert read_version(path) == version and list(tmp_path.iterdir()) == [path]

    workplace = tmp_path / ".map.partial"  # killed between the two renames
    workplace.mkdir()
    path.rename(workplace / "map.replaced")
    with pytest.raises(RuntimeError), atomic_directory(path, replace=True):
        raise RuntimeError
    assert read_version(path) == 2 and list(tmp_path.iterdir()) == [path]


def test_a_lock_is_held_until_its_process_ends(tmp_path: Path) -> None:
    folder = tmp_path / "new"
    with running(HOLD, folder) as holder:
        assert holder.stdout is not None and holder.stdout.readline() == "held\n"
        with pytest.raises(ConfigError, match=f"at work in {folder}"), exclusive_lock(folder):
            pass
        exit_codes = []

        def wait_for_lock() -> None:
            with exclusive_lock(folder, wait=True):
                exit_codes.append(holder.wait(60))

        waiting = Thread(target=wait_for_lock)
        waiting.start()
        waiting.join(0.2)
        assert waiting.is_alive()
        holder.kill()
        waiting.join(60)
        assert exit_codes == [-9]
    with exclusive_lock(folder):
        (folder / "file").write_text("")
    with pytest.raises(BlockingIOError), exclusive_lock(folder):
        raise BlockingIOError  # an error of the work is passed on
    assert [path.name for path in folder.iterdir()] == ["file"]


def test_a_lock_holds_the_folder_that_is_there(tmp_path: Path) -> None:
    """Who waited for a folder that is removed then gets the new one of that name."""
    folder, entered = tmp_path / "work", []

    def wait_for_lock() -> None:
        with exclusive_lock(folder, wait=True):
            entered.append(folder.is_dir())

    with exclusive_lock(folder):
        waiting = Thread(target=wait_for_lock)
        waiting.start()
        waiting.join(0.2)
        folder.rmdir()
    waiting.join(60)
    assert entered == [True]


def test_the_cache_folder_follows_xdg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "scmpr_ros"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == Path.home() / ".cache" / "scmpr_ros"
    monkeypatch.setattr(Path, "home", homeless)
    with pytest.raises(ConfigError, match="set XDG_CACHE_HOME"):
        cache_folder()


def homeless() -> Path:
    raise RuntimeError("Could not determine home directory.")
