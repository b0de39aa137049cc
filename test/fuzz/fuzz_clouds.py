"""Coverage-guided fuzzing of the readers of point clouds, with atheris (`pip install atheris`).

    python test/fuzz/fuzz_clouds.py pcd WORK -max_total_time=600

WORK is a folder for inputs that reach new code; it starts with the seeds that this program makes
and with `test/fuzz/corpus`, whose files a test reads in every run. Anything but points or a
ScmprError is a finding, which libFuzzer writes to `crash-*`, as is an input of more than 10 s or
2 GiB.
"""

from __future__ import annotations

import importlib
import logging
import shutil
import sys
import tempfile
import warnings
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from clouds import columns_of, street_points, write_pcd, write_ply

CORPUS = Path(__file__).with_name("corpus")
FORMATS = ("ply", "pcd", "las", "laz", "e57", "npz", "npy", "bin")
LIMITS = ("-timeout=10", "-rss_limit_mb=2048", "-max_len=20000", "-close_fd_mask=3")


def read_or_refuse(path: Path) -> bool:
    """Whether a file gives points; False if it is refused. Any other exception is a fault."""
    from scmpr_ros.errors import ScmprError
    from scmpr_ros.lidar.cloud_files import open_cloud

    try:
        cloud = open_cloud(path)
        points = 0
        for block in cloud.blocks():
            assert np.isfinite(block.xyz + cloud.origin).all()
            points += len(block)
    except ScmprError as error:
        assert "\n" not in str(error), "an error is one sentence"
        return False
    assert points == cloud.count > 0
    return True


def write_seeds(folder: Path, suffix: str) -> None:
    """Write small files of every variant of a format."""
    few = street_points(4.0)[:20]
    many = street_points(2.0)  # enough to be checked
    extra = {"intensity": np.arange(len(few), dtype="f4"), "label": np.full(len(few), 40, "u1")}
    if suffix == "ply":
        for form in ("ascii", "binary_little_endian", "binary_big_endian"):
            write_ply(folder / f"{form}.ply", columns_of(few, "f8", **extra), form)
        write_ply(folder / "many.ply", columns_of(many))
    elif suffix == "pcd":
        fields = [*columns_of(few, **extra).items(), ("_", np.zeros((len(few), 3), "u1"))]
        for data in ("ascii", "binary", "binary_compressed"):
            write_pcd(folder / f"{data}.pcd", fields, data)
    elif suffix in ("las", "laz"):
        _write_las(folder, suffix, few)
    elif suffix == "e57":
        _write_e57(folder / "a.e57", few)
    elif suffix == "npz":
        np.savez(folder / "a.npz", **columns_of(few, **extra))
        np.savez_compressed(folder / "b.npz", xyz=np.asfortranarray(few), label=extra["label"])
    elif suffix == "npy":
        np.save(folder / "a.npy", few)
        rows = np.zeros(5, [("x", "f4"), ("y", "f8"), ("z", "i2")])
        np.save(folder / "b.npy", rows)
    else:
        np.column_stack([many, np.ones(len(many))]).astype("f4").tofile(folder / "a.bin")


def _write_las(folder: Path, suffix: str, xyz: np.ndarray) -> None:
    import laspy

    for version, point_format in (("1.2", 1), ("1.4", 6)):
        header = laspy.LasHeader(version=version, point_format=point_format)
        header.scales, header.offsets = [0.001] * 3, [0.0] * 3
        header.vlrs.append(laspy.VLR("LASF_Projection", 2112, "", b'PROJCS["x"]\0'))
        las = laspy.LasData(header)
        las.x, las.y, las.z = xyz.T
        las.write(folder / f"{version}.{suffix}")


def _write_e57(path: Path, xyz: np.ndarray) -> None:
    import pye57

    with pye57.E57(str(path), mode="w") as file:
        data = {f"cartesian{axis}": xyz[:, k] for k, axis in enumerate("XYZ")}
        file.write_scan_raw(data, rotation=np.array([1.0, 0, 0, 0]), translation=np.zeros(3))


def with_checksums(data: bytes) -> bytes:
    """An E57 whose size and page checksums are right, so that fuzzing reaches what they guard."""
    pages = bytearray(data[: len(data) // 1024 * 1024])
    pages[16:24] = len(pages).to_bytes(8, "little")
    for start in range(0, len(pages), 1024):
        crc = 0xFFFFFFFF
        for byte in pages[start : start + 1020]:
            crc = _CRC32C[(crc ^ byte) & 0xFF] ^ (crc >> 8)
        pages[start + 1020 : start + 1024] = (crc ^ 0xFFFFFFFF).to_bytes(4, "big")
    return bytes(pages)


def _crc32c_table() -> list[int]:
    table = []
    for value in range(256):
        for _ in range(8):
            value = (value >> 1) ^ (0x82F63B78 if value & 1 else 0)
        table.append(value)
    return table


_CRC32C = _crc32c_table()


def main() -> None:
    """Fuzz one format until libFuzzer's limits are reached."""
    import atheris

    suffix, work, *options = sys.argv[1:]
    assert suffix in FORMATS, f"expected one of {FORMATS}"
    Path(work).mkdir(parents=True, exist_ok=True)
    write_seeds(Path(work), suffix)
    for file in CORPUS.glob(f"*.{suffix}"):
        shutil.copy(file, work)
    logging.disable()
    warnings.simplefilter("ignore")
    with atheris.instrument_imports(include=["scmpr_ros", "laspy", "zipfile"]):
        importlib.import_module("scmpr_ros.lidar.cloud_files")
        if suffix in ("las", "laz"):
            importlib.import_module("laspy")
    path = Path(tempfile.mkdtemp(dir="/dev/shm")) / f"input.{suffix}"

    def one_input(data: bytes) -> None:
        path.write_bytes(with_checksums(data) if suffix == "e57" else data)
        read_or_refuse(path)

    atheris.Setup([sys.argv[0], work, *LIMITS, f"-artifact_prefix={work}/", *options], one_input)
    try:
        atheris.Fuzz()
    finally:
        shutil.rmtree(path.parent)


if __name__ == "__main__":
    main()
