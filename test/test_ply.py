"""PLY: all types and formats, elements and comments of other writers, and blocks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from clouds import PLY_TYPES, write_ply

from scmpr_ros.errors import DatasetError
from scmpr_ros.ply import open_ply, read_ply

FORMATS = ("ascii", "binary_little_endian", "binary_big_endian")


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("kind", PLY_TYPES)
def test_every_type_in_every_format(tmp_path: Path, form: str, kind: str) -> None:
    values = np.array([0, 1, 100], kind)
    write_ply(tmp_path / "m.ply", {"x": np.array([0.5, -1, 2e6]), "v": values}, form)
    rows = read_ply(tmp_path / "m.ply")
    assert rows["x"].tolist() == [0.5, -1, 2e6]
    assert rows["v"].tolist() == values.tolist()


@pytest.mark.parametrize("form", FORMATS)
def test_blocks(tmp_path: Path, form: str) -> None:
    write_ply(tmp_path / "m.ply", {"x": np.arange(10.0)}, form)
    blocks = list(open_ply(tmp_path / "m.ply").blocks(4))
    assert [len(block) for block in blocks] == [4, 4, 2]
    assert np.concatenate(blocks)["x"].tolist() == list(range(10))


def header(form: str, body: str) -> bytes:
    return f"ply\nformat {form} 1.0\ncomment any\nobj_info any\n{body}end_header\n".encode()


VERTEX = "element vertex 2\nproperty float x\nproperty uchar red\n"
CAMERA = "element camera 1\nproperty double view_px\nproperty int id\n"
FACE = "element face 1\nproperty list uchar int vertex_indices\n"


def test_elements_before_and_behind_the_points(tmp_path: Path) -> None:
    vertices = np.array([(1.5, 2), (3, 4)], [("x", "<f4"), ("red", "u1")]).tobytes()
    (tmp_path / "b.ply").write_bytes(
        header("binary_little_endian", CAMERA + VERTEX + FACE) + bytes(12) + vertices + bytes(13)
    )
    (tmp_path / "a.ply").write_bytes(
        header("ascii", FACE + VERTEX + CAMERA) + b"3 0 1 1\n1.5 2\n3 4\n0.5 7\n"
    )
    for name in "ab":
        assert read_ply(tmp_path / f"{name}.ply").tolist() == [(1.5, 2), (3, 4)]


def test_windows_line_ends(tmp_path: Path) -> None:
    data = header("ascii", VERTEX).replace(b"\n", b"\r\n") + b"1.5 2\r\n3 4\r\n"
    (tmp_path / "m.ply").write_bytes(data)
    assert read_ply(tmp_path / "m.ply").tolist() == [(1.5, 2), (3, 4)]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (
            header("binary_little_endian", FACE + VERTEX),
            "its points stand behind the element 'face'",
        ),
        (header("binary_little_endian", VERTEX.replace("2", "9" * 17)), "is truncated"),
        (header("ascii", VERTEX.replace("2", "-2")), "its header says 'element vertex -2'"),
        (header("ascii", VERTEX.replace("red", "x")), "repeated vertex property 'float x'"),
        (
            header("ascii", VERTEX.replace("uchar", "byte")),
            "unsupported vertex property 'byte red'",
        ),
        (header("ascii", VERTEX) + b"1,5 2\n3,0 4\n", "has decimal commas"),
        (header("ascii", VERTEX) + b"1.5 300\n3 4\n", "should hold uint8 numbers but holds 300"),
        (header("ascii", VERTEX) + b"1.5 2.5\n3 4\n", "should hold uint8 numbers but holds 2.5"),
        (header("ascii", VERTEX) + b"1.5 nan\n3 4\n", "should hold uint8 numbers but holds nan"),
        (header("ascii", VERTEX) + b"1.5 x\n3 4\n", "the line '1.5 x' is not 2 numbers"),
        (header("ascii", VERTEX) + b"1.5 2\n", "promises 2 points, it has 1"),
        (b"ply\n" + b"comment no end\n" * 3, "not a PLY file"),
    ],
    ids=range(12),
)
def test_damaged(tmp_path: Path, data: bytes, message: str) -> None:
    (tmp_path / "m.ply").write_bytes(data)
    with pytest.raises(DatasetError, match=message) as caught:
        read_ply(tmp_path / "m.ply")
    assert "m.ply" in str(caught.value)


def test_a_line_without_end(tmp_path: Path) -> None:
    (tmp_path / "m.ply").write_bytes(header("ascii", VERTEX) + b"1" * (10 << 20))
    with pytest.raises(DatasetError, match=r"m\.ply has a line of more than"):
        read_ply(tmp_path / "m.ply")
