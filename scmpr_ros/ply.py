"""Read and write PLY files as structured arrays with a field per vertex property.

Open3D is not used, because it drops 16-bit fields (the natural type of SemanticKITTI labels) and
fills missing rows of a truncated file with uninitialised memory.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from scmpr_ros.atomic_files import write_file
from scmpr_ros.errors import DatasetError

_TYPES = {
    "char": "i1", "uchar": "u1", "short": "i2", "ushort": "u2", "int": "i4", "uint": "u4",
    "int8": "i1", "uint8": "u1", "int16": "i2", "uint16": "u2", "int32": "i4", "uint32": "u4",
    "float": "f4", "double": "f8", "float32": "f4", "float64": "f8",
}  # fmt: skip
_NAMES = {kind: name for name, kind in reversed(_TYPES.items())}
_BYTE_ORDER = {"ascii": "=", "binary_little_endian": "<", "binary_big_endian": ">"}
_MAX_HEADER_BYTES = 65536


def read_ply(path: Path) -> NDArray[np.void]:
    """Read the vertices of an ASCII or binary PLY: (N,) records with the file's fields and types.

    Raises DatasetError if the file is truncated, not a PLY, or has list properties.
    """
    with path.open("rb") as file:
        form, count, dtype = _parse_header(path, file.read(_MAX_HEADER_BYTES))
        file.seek(0)
        while file.readline().strip() != b"end_header":
            pass
        if form == "ascii":
            lines = [file.readline().split() for _ in range(count)]
            names = dtype.names or ()
            complete = [line for line in lines if len(line) >= len(names)]
            rows = np.zeros(len(complete), dtype)
            for column, name in enumerate(names):
                rows[name] = np.array([line[column] for line in complete], dtype=np.float64)
        else:
            data = file.read(count * dtype.itemsize)
            rows = np.frombuffer(data, dtype, count=len(data) // dtype.itemsize)
    if len(rows) < count:
        raise DatasetError(
            f"{path} is truncated: its header promises {count} points, it has {len(rows)}; "
            "copy it again"
        )
    return rows


def write_ply(path: Path, rows: NDArray[np.void]) -> None:
    """Write (N,) records atomically as the vertices of a binary PLY."""
    fields = [(name, rows.dtype[name]) for name in rows.dtype.names or ()]
    header = ["ply", "format binary_little_endian 1.0", f"element vertex {len(rows)}"]
    header += [f"property {_NAMES[kind.str[1:]]} {name}" for name, kind in fields]
    header += ["end_header\n"]
    packed = rows.astype([(name, kind.newbyteorder("<")) for name, kind in fields], copy=False)
    write_file(path, "\n".join(header).encode("ascii") + packed.tobytes())


def _parse_header(path: Path, head: bytes) -> tuple[str, int, np.dtype]:
    """Parse format, number of vertices and their dtype from the first bytes of a file."""
    text, end, _ = head.partition(b"end_header")
    lines = [line.split() for line in text.decode("ascii", errors="replace").splitlines()]
    if not end or not lines or lines[0] != ["ply"]:
        raise DatasetError(f"{path} is not a PLY file: it has no header from 'ply' to 'end_header'")
    form = next((line[1] for line in lines if line[:1] == ["format"]), "none")
    starts = [i for i, line in enumerate(lines) if line[:1] == ["element"]]
    if form not in _BYTE_ORDER or not starts or lines[starts[0]][1] != "vertex":
        raise DatasetError(
            f"{path}: a PLY of format {form!r} whose first element is not 'vertex' is not "
            "supported; export the points as binary PLY"
        )
    stop = starts[1] if len(starts) > 1 else len(lines)
    properties = [line[1:] for line in lines[starts[0] : stop] if line[:1] == ["property"]]
    unknown = [" ".join(p) for p in properties if len(p) != 2 or p[0] not in _TYPES]
    if unknown:
        raise DatasetError(f"{path}: unsupported vertex property '{unknown[0]}' in a PLY header")
    order = _BYTE_ORDER[form]
    record = np.dtype([(name, order + _TYPES[kind]) for kind, name in properties])
    return form, int(lines[starts[0]][2]), record
