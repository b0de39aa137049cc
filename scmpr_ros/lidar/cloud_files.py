"""Point clouds from files and folders of tiles, in blocks: the formats are in `clouds.formats`.

A cloud is read twice. The first pass finds its bounds and looks for what would make a map silently
wrong: units, axes, rounded coordinates, unknown labels, stray points. The second gives the points.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from scmpr_ros import ply
from scmpr_ros.errors import ConfigError
from scmpr_ros.geometry import round_origin
from scmpr_ros.lidar.clouds.config import CloudConfig
from scmpr_ros.lidar.clouds.raw_cloud import open_raw_cloud
from scmpr_ros.records import PointCloud
from scmpr_ros.semantics import from_joint

__all__ = ["CloudConfig", "CloudStream", "choose_origin", "open_cloud", "read_cloud", "write_cloud"]

# float32 has steps of 0.5 mm at 4 km; beyond that an origin is subtracted in float64.
_LARGE_COORDINATE_M = 4096.0
_MAX_FROM_ORIGIN_M = 120_000.0
"""A map's largest extent, and some; steps are then below 1 cm."""


@dataclass(frozen=True)
class CloudStream:
    """An opened point cloud, read in blocks as often as needed.

    name: the file or folder. origin: (3,) float64, to be added to the points of all blocks.
    bounds: (2, 3) float64 least and greatest coordinates, `origin` included. count: number of
    points. georeference: coordinate system, empty if unknown. blocks: gives the points as clouds of
    at most 500,000, all with the same origin and fields; raises DatasetError where the file is
    damaged.
    """

    name: str
    origin: NDArray[np.float64]
    bounds: NDArray[np.float64]
    count: int
    georeference: str
    has_label: bool
    has_intensity: bool
    blocks: Callable[[], Iterator[PointCloud]]

    def read(self) -> PointCloud:
        """All points as one cloud in memory."""
        blocks = list(self.blocks())
        if len(blocks) == 1:
            return blocks[0]
        return PointCloud(
            np.concatenate([block.xyz for block in blocks]),
            np.concatenate([_given(block.label) for block in blocks]) if self.has_label else None,
            np.concatenate([_given(block.intensity) for block in blocks])
            if self.has_intensity
            else None,
            self.origin,
        )


def open_cloud(path: Path, config: CloudConfig | None = None) -> CloudStream:
    """Open a point cloud file of any format, or a folder of tiles as one cloud, and check it.

    Points that are not finite, or far from all others, are left out with a warning.
    Raises DatasetError for what is missing, unsupported, damaged or without a point, and for
    coordinates or labels that are not what `config` says.
    """
    config = config or CloudConfig()
    raw = open_raw_cloud(Path(path), config)
    given = config.given_origin()
    origin = _origin_within(raw.bounds, raw.sample) if given is None else given
    _check_origin(raw.name, origin, raw.bounds)

    def blocks() -> Iterator[PointCloud]:
        for block in raw.blocks():
            xyz = block.xyz - origin if origin.any() else block.xyz
            label = None if block.label is None else block.label.astype(np.uint8)
            yield PointCloud(xyz.astype(np.float32), label, block.intensity, origin)

    return CloudStream(
        raw.name,
        origin,
        raw.bounds,
        raw.count,
        config.georeference or raw.georeference,
        raw.has_label,
        raw.has_intensity,
        blocks,
    )


def read_cloud(path: Path, label_set: str = "auto") -> PointCloud:
    """Read a cloud into memory, see `open_cloud`; label_set: see `CloudConfig`."""
    return open_cloud(path, CloudConfig(label_set=label_set)).read()


def write_cloud(
    path: Path, cloud: PointCloud, raw_labels: NDArray[np.integer] | None = None
) -> None:
    """Write a binary PLY, atomically, with x, y, z and, if present, intensity and label.

    Labels are written as SemanticKITTI ids, or raw_labels (N,) instead of them. The origin is
    added to the coordinates, which are doubles unless it is zero.
    """
    large = bool(np.any(cloud.origin))
    xyz = cloud.xyz + cloud.origin if large else cloud.xyz
    columns: dict[str, NDArray] = {
        name: xyz[:, axis].astype("f8" if large else "f4") for axis, name in enumerate("xyz")
    }
    if cloud.intensity is not None:
        columns["intensity"] = cloud.intensity.astype("f4")
    label = raw_labels
    if label is None and cloud.label is not None:
        label = from_joint(cloud.label, "semantickitti")
    if label is not None:
        # int, not ushort: Open3D ignores 16-bit properties.
        columns["label"] = label.astype("i4")
    rows = np.empty(len(cloud), [(name, values.dtype) for name, values in columns.items()])
    for name, values in columns.items():
        rows[name] = values
    ply.write_ply(Path(path), rows)


def choose_origin(xyz: NDArray[np.floating]) -> NDArray[np.float64]:
    """Origin to subtract from coordinates (N, 3): zero, or their rounded median if large."""
    return _origin_within(np.stack([xyz.min(axis=0), xyz.max(axis=0)]), xyz)


def _origin_within(
    bounds: NDArray[np.floating], sample: NDArray[np.floating]
) -> NDArray[np.float64]:
    if np.abs(bounds).max() < _LARGE_COORDINATE_M:
        return np.zeros(3)
    return round_origin(np.median(sample, axis=0).astype(np.float64))


def _check_origin(where: str, origin: NDArray[np.float64], bounds: NDArray[np.float64]) -> None:
    """Refuse an origin so far away that float32 would round the points."""
    farthest = float(np.abs(bounds - origin).max())
    if farthest > _MAX_FROM_ORIGIN_M:
        middle = ",".join(f"{v:.0f}" for v in bounds.mean(axis=0))
        raise ConfigError(
            f"origin {origin.tolist()} is {farthest / 1000:.0f} km from points of {where}: name a "
            f"point amid them, such as {middle}, or auto"
        )


def _given(values: NDArray | None) -> NDArray:
    assert values is not None
    return values
