"""Files and folders appear whole, or not at all, and what was there before stays until then."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from threading import Thread

import pytest

from scmpr_ros.atomic_files import (
    atomic_directory,
    atomic_write,
    exclusive_lock,
    write_file,
    write_json,
)
from scmpr_ros.errors import ConfigError, DatasetError


def test_a_file_appears_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "new" / "file"
    with atomic_write(path) as temporary:
        temporary.write_text("half")
        assert not path.exists() and temporary.parent == path.parent
    assert path.read_text() == "half" and list(path.parent.iterdir()) == [path]


def test_a_failure_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_file(path, "before")
    with pytest.raises(KeyboardInterrupt), atomic_write(path) as temporary:
        temporary.write_text("ha")
        raise KeyboardInterrupt
    assert path.read_text() == "before" and list(tmp_path.iterdir()) == [path]


def test_text_is_utf8_and_bytes_are_bytes(tmp_path: Path) -> None:
    write_file(tmp_path / "text", "α φ")
    assert (tmp_path / "text").read_bytes() == "α φ".encode()
    write_file(tmp_path / "bytes", b"\xff\x00")
    assert (tmp_path / "bytes").read_bytes() == b"\xff\x00"


def test_json_knows_paths_and_refuses_nan(tmp_path: Path) -> None:
    path = tmp_path / "numbers.json"
    write_json(path, {"map": tmp_path, "recall": 0.5})
    assert json.loads(path.read_text()) == {"map": str(tmp_path), "recall": 0.5}
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json(path, {"recall": float("nan")})
    assert json.loads(path.read_text())["recall"] == 0.5


def test_a_folder_appears_when_it_is_whole_and_replaces_none(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "folder"
    with pytest.raises(RuntimeError), atomic_directory(path) as partial:
        partial.mkdir()
        raise RuntimeError
    assert not (tmp_path / "deep").exists()
    with atomic_directory(path) as partial:
        partial.mkdir()
        (partial / "file").write_text("")
        assert partial.name == "folder" and not path.exists()
    assert [p.name for p in path.iterdir()] == ["file"]
    with pytest.raises(DatasetError, match="exists already"), atomic_directory(path):
        pass


def _waited_for(folder: Path, holder: subprocess.Popen[str]) -> bool:
    """Whether a holder had ended when the folder was free."""
    with exclusive_lock(folder, wait=True):
        return holder.wait(60) != 0


def test_a_folder_is_one_process_s_until_it_is_done_or_dead(tmp_path: Path) -> None:
    folder = tmp_path / "new"
    hold = f"""
from pathlib import Path
from scmpr_ros.atomic_files import exclusive_lock
with exclusive_lock(Path({str(folder)!r})):
    print("held", flush=True)
    input()
"""
    with subprocess.Popen(
        [sys.executable, "-c", hold], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None and holder.stdout.readline() == "held\n"
        with pytest.raises(ConfigError, match=f"at work in {folder}"), exclusive_lock(folder):
            pass
        released = []
        waiting = Thread(target=lambda: released.append(_waited_for(folder, holder)))
        waiting.start()
        waiting.join(0.2)
        assert waiting.is_alive()
        holder.kill()
        waiting.join(60)
        assert released == [True]
    with exclusive_lock(folder):
        (folder / "file").write_text("")
    with pytest.raises(BlockingIOError), exclusive_lock(folder):
        raise BlockingIOError  # of the work itself
    assert [path.name for path in folder.iterdir()] == ["file"]
