"""Trajectories in binary files: matrices of NumPy, and LIO-SAM's clouds of poses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from scmpr_ros.errors import DatasetError

_PCD_CODES = {("F", 4): "<f4", ("F", 8): "<f8", ("U", 1): "u1", ("U", 2): "<u2", ("U", 4): "<u4",
              ("I", 1): "i1", ("I", 2): "<i2", ("I", 4): "<i4"}  # fmt: skip
_MAX_HEADER_BYTES = 4096


def read_npy_poses(path: Path) -> NDArray[np.float64]:
    """Poses (N, 4, 4) of a .npy file with matrices (N, 4, 4), (N, 3, 4) or (N, 12)."""
    try:
        # mapped, so that a damaged shape cannot ask for more memory than the file has
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except Exception as error:  # the header is Python, whose errors are of any type
        reason = " ".join(str(error).split())
        raise DatasetError(f"{path}: this is no array of NumPy: {reason}") from error
    shape = getattr(array, "shape", None)
    sizes = {(4, 4): 4, (3, 4): 3, (12,): 3}
    if shape is None or shape[1:] not in sizes or array.dtype.kind not in "fiu":
        raise DatasetError(
            f"{path}: the array has shape {shape}, a trajectory has (N, 4, 4), (N, 3, 4) or (N, 12)"
        )
    with np.errstate(invalid="ignore"):  # numbers that are not finite are refused later
        return homogeneous(array.astype(np.float64).reshape(-1, sizes[shape[1:]], 4))


def homogeneous(matrices: NDArray[np.float64]) -> NDArray[np.float64]:
    """Matrices (N, 4, 4) of (N, 3, 4) or (N, 4, 4)."""
    T = np.tile(np.eye(4), (len(matrices), 1, 1))
    T[:, :3] = matrices[:, :3]
    return T


def read_pcd_poses(path: Path) -> tuple[NDArray[np.float64] | None, NDArray[np.float64]]:
    """Stamps (N,) if there are some and poses (N, 4, 4) of a cloud with roll, pitch and yaw."""
    columns = _read_pcd(path)
    missing = [n for n in ("x", "y", "z", "roll", "pitch", "yaw") if n not in columns]
    if missing:
        raise DatasetError(
            f"{path}: this cloud has the fields {', '.join(columns)}, and a trajectory also "
            f"{', '.join(missing)}, as LIO-SAM's transformations.pcd"
        )
    angles = np.stack([columns[name] for name in ("roll", "pitch", "yaw")], axis=1)
    if not np.isfinite(angles).all():
        raise DatasetError(f"{path}: some roll, pitch or yaw is not finite: remove these poses")
    T = np.tile(np.eye(4), (len(angles), 1, 1))
    if len(angles):
        T[:, :3, :3] = Rotation.from_euler("xyz", angles).as_matrix()
    T[:, :3, 3] = np.stack([columns[name] for name in "xyz"], axis=1)
    return columns.get("time"), T


def _read_pcd(path: Path) -> dict[str, NDArray[np.float64]]:
    """Columns of an ascii or binary PCD file by name."""
    content = path.read_bytes()
    start = content.find(b"\nDATA ", 0, _MAX_HEADER_BYTES)
    end = content.find(b"\n", start + 1)
    if start < 0 or end < 0:
        raise DatasetError(f"{path}: no PCD header: the file is damaged or of another format")
    lines = (line.split() for line in content[:end].decode("ascii", "replace").splitlines())
    header = {line[0]: line[1:] for line in lines if line}
    try:
        names = header["FIELDS"]
        counts = [int(count) for count in header.get("COUNT", ["1"] * len(names))]
        sizes = map(int, header["SIZE"])
        columns = list(zip(names, header["TYPE"], sizes, counts, strict=True))
        dtype = np.dtype([(f"f{i}", _PCD_CODES[kind, size], (count,))
                          for i, (_, kind, size, count) in enumerate(columns)])  # fmt: skip
        number = int(header["POINTS"][0])
        table = _pcd_rows(content[end + 1 :], header["DATA"][0], dtype, number)
    except (KeyError, ValueError, IndexError, OverflowError) as error:
        raise DatasetError(f"{path}: the PCD is damaged or unsupported: {error}") from error
    single = {name: i for i, (name, _, _, count) in enumerate(columns) if count == 1}
    return {name: table[f"f{i}"][:, 0].astype(np.float64) for name, i in single.items()}


def _pcd_rows(body: bytes, data: str, dtype: np.dtype[np.void], number: int) -> NDArray[np.void]:
    if data == "binary":
        if not 0 <= number * dtype.itemsize <= len(body):
            raise ValueError(f"{number} points of {dtype.itemsize} bytes in {len(body)} bytes")
        return np.frombuffer(body, dtype, number)
    if data != "ascii":
        raise ValueError(f"DATA {data}: only ascii and binary can be read as a trajectory")
    rows = [line.split() for line in body.decode("ascii", "replace").splitlines() if line.strip()]
    widths = [dtype[name].shape[0] for name in dtype.names or ()]
    if len(rows) != number or any(len(row) != sum(widths) for row in rows):
        raise ValueError(f"not {number} lines of {sum(widths)} numbers")
    values = np.array([[float(value) for value in row] for row in rows]).reshape(number, -1)
    table = np.zeros(number, dtype)
    for name, first, width in zip(dtype.names or (), np.cumsum([0, *widths]), widths, strict=False):
        table[name] = values[:, first : first + width]
    return table
