"""A made-up street as points, and writers of the cloud files that people bring."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

PCD_TYPES = {"f4": "F4", "f8": "F8", "u1": "U1", "u2": "U2", "u4": "U4", "u8": "U8", "i1": "I1",
             "i2": "I2", "i4": "I4", "i8": "I8"}  # fmt: skip
PLY_TYPES = {"f4": "float", "f8": "double", "u1": "uchar", "i1": "char", "u2": "ushort",
             "i2": "short", "i4": "int", "u4": "uint", "i8": "int64", "u8": "uint64"}  # fmt: skip


def street_points(step_m: float = 0.5) -> NDArray[np.float64]:
    """A level street along x between two fronts: (N, 3) metres, z up, the road at -1.7."""
    rng = np.random.default_rng(0)
    x, y = np.meshgrid(np.arange(-10, 60, step_m), np.arange(-12, 12, step_m))
    along, height = np.meshgrid(np.arange(-10, 60, step_m), np.arange(-1.7, 6, step_m))
    fronts = [np.stack([along.ravel(), np.full(along.size, side), height.ravel()], 1)
              for side in (-12.0, 12.0)]  # fmt: skip
    road = np.stack([x.ravel(), y.ravel(), np.full(x.size, -1.7)], 1)
    points = np.concatenate([road, *fronts])
    return points + rng.normal(0, 0.01, points.shape)


def columns_of(xyz: NDArray, dtype: str = "f4", **more: NDArray) -> dict[str, NDArray]:
    """Columns x, y, z of a type, and more."""
    return {axis: xyz[:, k].astype(dtype) for k, axis in enumerate("xyz")} | more


def write_ply(
    path: Path, columns: Mapping[str, NDArray], form: str = "binary_little_endian"
) -> None:
    """Write a PLY of any format with these columns."""
    order = ">" if form.endswith("big_endian") else "<"
    lines = ["ply", f"format {form} 1.0", f"element vertex {_count(columns)}"]
    lines += [f"property {PLY_TYPES[v.dtype.str[1:]]} {name}" for name, v in columns.items()]
    rows = _rows(columns, order)
    body = _text(columns) if form == "ascii" else rows.tobytes()
    path.write_bytes("\n".join([*lines, "end_header\n"]).encode() + body)


def write_pcd(
    path: Path, fields: Sequence[tuple[str, NDArray]], data: str = "binary", **header: object
) -> None:
    """Write a PCD. fields: names, which may repeat, with values (N,) or (N, C).

    header: lines that replace the usual ones; None leaves a line out.
    """
    values = [np.reshape(v, (len(v), -1 if np.ndim(v) > 1 else 1)) for _, v in fields]
    types = [PCD_TYPES[v.dtype.str[1:]] for v in values]
    count = len(values[0])
    lines: dict[str, object] = {
        "VERSION": "0.7",
        "FIELDS": " ".join(name for name, _ in fields),
        "SIZE": " ".join(t[1] for t in types),
        "TYPE": " ".join(t[0] for t in types),
        "COUNT": " ".join(str(v.shape[1]) for v in values),
        "WIDTH": count,
        "HEIGHT": 1,
        "VIEWPOINT": "0 0 0 1 0 0 0",
        "POINTS": count,
    } | header
    head = "".join(f"{key} {value}\n" for key, value in lines.items() if value is not None)
    if data == "ascii":
        rows = (" ".join(repr(x) for v in values for x in v[k].tolist()) for k in range(count))
        body = "\n".join(rows).encode() + b"\n"
    elif data == "binary":
        body = b"".join(v[k].tobytes() for k in range(count) for v in values)
    else:
        plain = b"".join(v.tobytes() for v in values)
        packed = lzf_compress(plain)
        body = np.array([len(packed), len(plain)], "<u4").tobytes() + packed
    path.write_bytes(f"{head}DATA {data}\n".encode() + body)


def lzf_compress(data: bytes) -> bytes:
    """Compress as liblzf's format allows: matches found by their first three bytes."""
    out, literal, seen, at = bytearray(), bytearray(), {}, 0

    def flush() -> None:
        for start in range(0, len(literal), 32):
            part = literal[start : start + 32]
            out.extend([len(part) - 1, *part])
        literal.clear()

    while at < len(data):
        key = data[at : at + 3]
        back = at - seen.get(key, -(1 << 20))
        seen[key] = at
        length = 0
        if len(key) == 3 and back <= 1 << 13:
            while length < 264 and at + length < len(data) and (
                data[at + length] == data[at + length - back]
            ):  # fmt: skip
                length += 1
        if length < 3:
            literal.append(data[at])
            at += 1
            continue
        flush()
        size, far = length - 2, back - 1
        out.append((min(size, 7) << 5) | (far >> 8))
        if size >= 7:
            out.append(size - 7)
        out.append(far & 255)
        at += length
    flush()
    return bytes(out)


def _count(columns: Mapping[str, NDArray]) -> int:
    return len(next(iter(columns.values())))


def _rows(columns: Mapping[str, NDArray], order: str) -> NDArray[np.void]:
    kinds = [(name, values.dtype.newbyteorder(order)) for name, values in columns.items()]
    rows = np.empty(_count(columns), kinds)
    for name, values in columns.items():
        rows[name] = values
    return rows


def _text(columns: Mapping[str, NDArray]) -> bytes:
    lists = [values.tolist() for values in columns.values()]
    return "".join(" ".join(map(repr, row)) + "\n" for row in zip(*lists, strict=True)).encode()
