"""Files and folders appear whole, or not at all, and what was there before stays until then."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from scmpr_ros.errors import DatasetError
from scmpr_ros.whole_files import new_folder, whole_file, write_file, write_json


def test_a_file_appears_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "new" / "file"
    with whole_file(path) as temporary:
        temporary.write_text("half")
        assert not path.exists() and temporary.parent == path.parent
    assert path.read_text() == "half" and list(path.parent.iterdir()) == [path]


def test_a_failure_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_file(path, "before")
    with pytest.raises(KeyboardInterrupt), whole_file(path) as temporary:
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
    with pytest.raises(RuntimeError), new_folder(path) as partial:
        partial.mkdir()
        raise RuntimeError
    assert not (tmp_path / "deep").exists()
    with new_folder(path) as partial:
        partial.mkdir()
        (partial / "file").write_text("")
        assert partial.name == "folder" and not path.exists()
    assert [p.name for p in path.iterdir()] == ["file"]
    with pytest.raises(DatasetError, match="exists already"), new_folder(path):
        pass
