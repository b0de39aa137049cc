"""The files of a point cloud as one stream of points, whatever their formats and field names."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from scmpr_ros.errors import DatasetError
from scmpr_ros.label_sets import LabelSet, is_own_set, open_label_set
from scmpr_ros.lidar.clouds.config import CloudConfig
from scmpr_ros.lidar.clouds.fields import CloudFields, choose_fields
from scmpr_ros.lidar.clouds.formats.point_table import Columns, PointTable
from scmpr_ros.lidar.clouds.formats.registry import open_table
from scmpr_ros.lidar.clouds.tile_folders import find_tiles

_log = logging.getLogger(__name__)

_MOST_BROKEN_LABELS = 0.001
_FEWEST_SCANS, _MOST_SCANS_READ = 5, 20
_FRAME_NAME = re.compile(r"\d+(\.\d+)?")
_NEAR_SENSOR_M = 5.0
_COARSEST_STEP_M = 0.05


@dataclass(frozen=True)
class RawBlock:
    """Finite points (N, 3) in metres, z up, in the file's precision.

    label: (N,) raw class ids, or joint ids once known. intensity: (N,) float32.
    """

    xyz: NDArray[np.floating]
    label: NDArray[np.integer] | None
    intensity: NDArray[np.float32] | None
    dropped: int = 0
    """Number of points left out because they are not finite."""

    def select(self, keep: NDArray[np.bool_]) -> RawBlock:
        """Select points by a mask."""
        return RawBlock(
            self.xyz[keep],
            None if self.label is None else self.label[keep],
            None if self.intensity is None else self.intensity[keep],
        )


@dataclass(frozen=True)
class CloudTables:
    """The files of a cloud, with the columns to read of each."""

    path: Path
    tables: Sequence[tuple[PointTable, CloudFields]]
    config: CloudConfig
    georeference: str
    has_intensity: bool

    def blocks(self, labels: LabelSet | None) -> Iterator[RawBlock]:
        """Finite points of all files, with raw class ids if `labels` are wanted."""
        for table, fields in self.tables:
            names = [name for name in fields.names if name != fields.label or labels is not None]
            for columns in _readable(table, names):
                block = self._block(table.path, columns, fields)
                finite = np.isfinite(block.xyz).all(axis=1)
                if not finite.all():
                    block = replace(block.select(finite), dropped=int(np.sum(~finite)))
                if labels is None or block.label is None:
                    yield replace(block, label=None)
                else:
                    where = f"{table.path}: field {fields.label}"
                    yield replace(block, label=labels.class_ids(_whole(block.label, where)))

    def used_fields(self, labels: LabelSet | None, has_intensity: bool) -> str:
        """Which fields are read, for the log: a name that is not known is lost otherwise."""
        table, fields = self.tables[0]
        used = list(fields.axes)
        text = "no labels"
        if labels is not None and fields.label:
            used.append(fields.label)
            text = f"labels from {fields.label} ({labels.name})"
        if has_intensity and fields.intensity:
            used.append(fields.intensity)
            text += f", intensity from {fields.intensity}"
        others = [name for name in table.fields if name not in used]
        return f"{text}; fields not used: {', '.join(others)}" if others else text

    def _block(self, path: Path, columns: Columns, fields: CloudFields) -> RawBlock:
        xyz = np.stack([columns[name] for name in fields.axes], axis=1)
        if not np.issubdtype(xyz.dtype, np.floating):
            xyz = xyz.astype(np.float64)
        elif xyz.dtype == np.float16:
            xyz = _of_half_floats(path, xyz)
        xyz = self.config.in_map(xyz)
        intensity = columns[fields.intensity] if self.has_intensity and fields.intensity else None
        if intensity is not None:
            intensity = intensity.astype(np.float32)
        return RawBlock(xyz, None if fields.label is None else columns.get(fields.label), intensity)


def _readable(table: PointTable, names: Sequence[str]) -> Iterator[Columns]:
    """Read a table; an error of the disk is one of the file."""
    try:
        yield from table.read(names)
    except OSError as error:
        raise DatasetError(f"cannot read {table.path}: {error.strerror or error}") from error


def open_tables(path: Path, config: CloudConfig) -> CloudTables:
    """Open a file, or all tiles of a folder; DatasetError if they do not make one cloud."""
    georeference, paths = "", [path]
    if path.is_dir():
        tiles = find_tiles(path)
        georeference, paths = tiles.georeference, list(tiles.paths)
    own_ids = open_label_set(config.label_set).joint_of if is_own_set(config.label_set) else ()
    opened = [open_table(file, config.bin_layout, own_ids) for file in paths]
    tables = [(t, choose_fields(t.path, t.fields)) for t in opened]
    _check_alike(path, tables, config)
    has_intensity = all(fields.intensity is not None for _, fields in tables)
    of_tiles = next((table.georeference for table in opened if table.georeference), "")
    georeference = " ".join((georeference or of_tiles).split())
    cloud = CloudTables(path, tables, config, georeference, has_intensity)
    _check_no_scans(cloud)
    return cloud


def _check_no_scans(cloud: CloudTables) -> None:
    """Refuse files with the names of frames that all lie about zero: each in its sensor's frame.

    Of a map's tiles, at most the four that meet there are so near it.
    """
    names = [table.path.stem for table, _ in cloud.tables]
    if len(names) < _FEWEST_SCANS or not all(map(_FRAME_NAME.fullmatch, names)):
        return
    for table in cloud.tables[:_MOST_SCANS_READ]:
        block = next(replace(cloud, tables=[table]).blocks(None), None)
        if block is None or len(block.xyz) == 0:
            continue
        low, high = block.xyz[:, :2].min(axis=0), block.xyz[:, :2].max(axis=0)
        if (low > _NEAR_SENSOR_M).any() or (high < -_NEAR_SENSOR_M).any():
            return
    raise DatasetError(
        f"{cloud.path} holds {len(names)} scans such as {cloud.tables[0][0].path.name}, each about "
        "its own zero, and no poses, which makes no map: give the map that was made of them, or, "
        "if they are in one frame, join them into one file"
    )


def _check_alike(
    path: Path, tables: Sequence[tuple[PointTable, CloudFields]], config: CloudConfig
) -> None:
    """Refuse tiles that differ in coordinate system, or in what their labels are."""
    systems = {table.georeference: table.path.name for table, _ in tables}
    unsaid = systems.pop("", None)
    if systems and unsaid:
        _log.warning("%s: its tile %s does not say its coordinate system, taken to be that of the "
                     "others", path, unsaid)  # fmt: skip
    if len(systems) > 1:
        first, second, *_ = systems.values()
        raise DatasetError(
            f"{path}: its tiles {first} and {second} are in different coordinate systems: "
            "transform them to one"
        )
    if config.label_set == "none":
        return
    without = [table.path.name for table, fields in tables if fields.label is None]
    if 0 < len(without) < len(tables):
        raise DatasetError(
            f"{path}: {len(without)} of {len(tables)} tiles have no labels, such as {without[0]}: "
            "label them, or set cloud.label_set to none to ignore those of the others"
        )
    meanings = {fields.label_set: table.path.name for table, fields in tables}
    if len(meanings) > 1 and config.label_set == "auto":
        names = ", ".join(f"{file} ({meaning})" for meaning, file in meanings.items())
        raise DatasetError(
            f"{path}: the label fields of its tiles have different meanings, {names}: set "
            "cloud.label_set to the one of all"
        )


def _of_half_floats(path: Path, xyz: NDArray[np.float16]) -> NDArray[np.float32]:
    """Points as float32; DatasetError if float16 has rounded them to steps that matter."""
    largest = np.abs(xyz[np.isfinite(xyz)]).max(initial=0)
    if np.spacing(largest) > _COARSEST_STEP_M:
        raise DatasetError(
            f"{path} has coordinates in float16, whose steps are {np.spacing(largest):.2g} at "
            f"{largest:.0f}: save it again as float32"
        )
    return xyz.astype(np.float32)


def _whole(label: NDArray, where: str) -> NDArray[np.integer]:
    """Labels as whole numbers, which files often hold as floats."""
    if label.dtype.kind in "iub":
        return label
    if not np.isfinite(label).all():
        raise DatasetError(
            f"{where} holds values that are not finite: set cloud.label_set to none to ignore it"
        )
    whole = np.round(label)
    broken = np.abs(label - whole) > 1e-3
    if broken.mean() > _MOST_BROKEN_LABELS or np.abs(whole).max(initial=0) >= 2.0**62:
        raise DatasetError(
            f"{where} holds numbers such as {label[np.argmax(broken)]:g}, which are no ids of "
            "classes (a mean of labels, as voxel filters make it?): set cloud.label_set to none to "
            "ignore it"
        )
    return whole.astype(np.int64)
