"""Scores methods that run elsewhere by the descriptors they write, see `descriptor_files`.

The protocol decides what is scored, not the files: every image it queries must have a descriptor,
and so must every scan of its database; others are ignored. The candidates of a query are the places
of the highest similarity, each with its most similar heading.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from scmpr_ros.datasets.bags.options import BagReaderConfig
from scmpr_ros.datasets.drive import Drive
from scmpr_ros.datasets.recordings import open_drives
from scmpr_ros.datasets.town_files import town_conditions, town_split
from scmpr_ros.errors import ConfigError, DatasetError
from scmpr_ros.evaluation.descriptor_files import DescriptorFile
from scmpr_ros.evaluation.drive_split import DriveSplit
from scmpr_ros.evaluation.localized_drive import LocalizedDrive
from scmpr_ros.evaluation.metrics import one_percent
from scmpr_ros.evaluation.predictions import Predictions
from scmpr_ros.evaluation.protocols import Protocol
from scmpr_ros.evaluation.result import Provenance
from scmpr_ros.geometry import R_BODY_OPTICAL, rotation_z
from scmpr_ros.pipeline.map_source import drives_share_frame

_log = logging.getLogger(__name__)

Similarity = Literal["cosine", "inner_product"]
_MIN_CANDIDATES = 10
_ANY_HEADING = ", or accept any heading with --settings.tolerance.angle_deg 180"
_QUERIES_AT_ONCE = 64


def predict_from_descriptors(
    folder: Path,
    files: tuple[Path, Path],
    protocol: Protocol,
    similarity: Similarity = "cosine",
    skip_bad: bool = False,
    bag: BagReaderConfig | None = None,
    sequences: Sequence[str] = (),
) -> Iterator[Predictions]:
    """Search the places of a recording by the descriptors of another program, drive by drive.

    files: of the queries and of the places.
    sequences: drives to test on; by default those of the protocol that the recording has, or, if it
        has none of them, all that the queries name.
    skip_bad: drop images without a descriptor from the queries, with a warning.
    bag: options of bags.

    Raises DatasetError for files that do not fit their format, the recording or each other, and
    ConfigError if the protocol needs headings that the places do not have.
    """
    queries, places = map(DescriptorFile.load, files)
    if queries.descriptor.shape[1] != 1:
        raise DatasetError(f"{queries.path}: array 'descriptor' must be (N, D), one for each image")
    if queries.descriptor.shape[2] != places.descriptor.shape[2]:
        raise DatasetError(
            f"descriptors of {queries.path} have {queries.descriptor.shape[2]} numbers, those of "
            f"{places.path} {places.descriptor.shape[2]}"
        )
    if places.heading_rad is None and protocol.tolerance.angle_deg < 180:
        choice = _ANY_HEADING if protocol.name == "map" else ""
        raise ConfigError(
            f"{places.path}: array 'heading_rad' is missing, but protocol {protocol.name} needs "
            f"headings within {protocol.tolerance.angle_deg:g} deg: add it{choice}"
        )
    drives = open_drives(folder, bag=bag)
    fingerprint = hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()
    for drive in _tested(drives, queries, protocol, sequences):
        provenance = Provenance(
            recording=folder.name, drive=drive.name, split=town_split(folder),
            condition=town_conditions(folder).get(drive.name, ""),
            database="map" if protocol.name == "map" else "scans", pose_source=drive.pose_source,
            fingerprint=fingerprint,
            localizer={"descriptors": [path.name for path in files], "similarity": similarity},
            own_frame=not drives_share_frame(folder),
        )  # fmt: skip
        database = _Database.of(places, drive, protocol, len(drives) == 1)
        yield _predict(queries, database, provenance, similarity, skip_bad)


def _tested(
    drives: Sequence[Drive], queries: DescriptorFile, protocol: Protocol, sequences: Sequence[str]
) -> list[Drive]:
    """The drives to test on, each of which has queries."""
    names = {drive.name for drive in drives}
    described = names if queries.drive is None else names & set(queries.drive.tolist())
    wanted = set(sequences) or names & set(protocol.sequences) or described
    if not wanted:
        raise DatasetError(f"{queries.path}: the recording has none of the drives that it names")
    if lacking := sorted(wanted - described):
        raise DatasetError(
            f"{queries.path}: no descriptors of the recording's drive {', '.join(lacking)}, to be "
            f"tested on by protocol {protocol.name}: add them, or name others by --sequences"
        )
    return [drive for drive in drives if drive.name in wanted]


@dataclass(frozen=True)
class _Database:
    """The places that a protocol searches for one drive.

    queries: frames that the protocol asks for. split: None for a prebuilt map.
    """

    drive: Drive
    protocol: Protocol
    queries: tuple[int, ...]
    split: DriveSplit | None
    descriptor: NDArray[np.float32]
    position: NDArray[np.float64]
    heading_rad: NDArray[np.float64]
    only_drive: bool

    @classmethod
    def of(
        cls, places: DescriptorFile, drive: Drive, protocol: Protocol, only_drive: bool
    ) -> _Database:
        heading = places.heading_rad
        if heading is None:
            heading = np.full(places.descriptor.shape[1], np.nan)
        if protocol.name == "map":
            if places.position is None:
                raise DatasetError(f"{places.path}: array 'position' is missing")
            if not drive.image_frames:
                raise DatasetError(f"drive {drive.name} has no images")
            return cls(drive, protocol, tuple(drive.image_frames), None, places.descriptor,
                       places.position, heading, only_drive)  # fmt: skip
        split = DriveSplit.of(drive, protocol)
        frames = [int(frame) for frame in split.scans]
        by_frame = places.rows_by_frame(drive, drive.scan_frames, only_drive)
        if missing := [frame for frame in frames if frame not in by_frame]:
            raise DatasetError(
                f"{places.path}: {len(missing)} scans of drive {drive.name} that protocol "
                f"{protocol.name} searches are missing, first frame {missing[0]}"
            )
        rows = np.array([by_frame[frame] for frame in frames])
        position = np.stack([drive.T_world_lidar(frame)[:3, 3] for frame in frames])
        heading = heading[rows] if heading.ndim == 2 else heading
        return cls(drive, protocol, split.queries, split, places.descriptor[rows], position,
                   heading, only_drive)  # fmt: skip

    def allowed(self, frame: int) -> NDArray[np.bool_]:
        """Which places (P,) may answer a frame."""
        if self.split is None:
            return np.ones(len(self.position), bool)
        return self.split.allowed(frame)


def _predict(
    queries: DescriptorFile, database: _Database, provenance: Provenance, similarity: Similarity,
    skip_bad: bool,
) -> Predictions:  # fmt: skip
    drive = database.drive
    by_frame = queries.rows_by_frame(drive, drive.image_frames, database.only_drive)
    frames = [frame for frame in database.queries if frame in by_frame]
    if missing := sorted(set(database.queries) - set(frames)):
        text = (
            f"{queries.path}: {len(missing)} images of drive {drive.name} that protocol "
            f"{database.protocol.name} asks for are missing, first frame {missing[0]}"
        )
        if not skip_bad or not frames:
            raise DatasetError(text)
        _log.warning("%s: left out", text)
    rows = [by_frame[frame] for frame in frames]
    allowed = np.stack([database.allowed(frame) for frame in frames])
    candidates = _candidates(queries.descriptor[rows, 0], database, allowed, similarity)
    unknown = np.full(len(frames), np.nan)
    truth = np.stack([drive.T_world_camera(frame) for frame in frames])
    localized = LocalizedDrive(tuple(frames), truth, candidates, unknown, unknown)
    protocol = database.protocol
    return Predictions(localized, database.position, database.heading_rad, allowed, provenance,
                       protocol.include_self, protocol.min_gap_s)  # fmt: skip


def _candidates(
    queries: NDArray[np.float32], database: _Database, allowed: NDArray[np.bool_],
    similarity: Similarity,
) -> NDArray[np.float64]:  # fmt: skip
    """Poses (N, K, 4, 4) of the K most similar places; NaN for fewer allowed places."""
    places, position = database.descriptor, database.position
    if similarity == "cosine":
        queries, places = _unit(queries), _unit(places)
    count = min(len(places), max(_MIN_CANDIDATES, one_percent(len(places))))
    heading = np.broadcast_to(database.heading_rad, places.shape[:2])
    candidates = np.full((len(queries), count, 4, 4), np.nan)
    for begin in range(0, len(queries), _QUERIES_AT_ONCE):
        block = slice(begin, begin + _QUERIES_AT_ONCE)
        likeness = np.tensordot(queries[block], places, axes=(1, 2))  # (n, P, V)
        best_heading, likeness = likeness.argmax(axis=2), likeness.max(axis=2)
        likeness[~allowed[block]] = -np.inf
        ranked = np.argsort(-likeness, axis=1, kind="stable")[:, :count]
        for row, order in enumerate(ranked, start=begin):
            order = order[allowed[row, order]]
            yaw = heading[order, best_heading[row - begin, order]]
            candidates[row, : len(order)] = _poses(position[order], yaw)
    return candidates


def _poses(position: NDArray[np.float64], yaw_rad: NDArray[np.float64]) -> NDArray[np.float64]:
    """`T_map_camera` (K, 4, 4) of level cameras; the rotation is NaN where the heading is."""
    poses = np.tile(np.eye(4), (len(position), 1, 1))
    poses[:, :3, 3] = position
    for pose, yaw in zip(poses, yaw_rad, strict=True):
        pose[:3, :3] = rotation_z(yaw) @ R_BODY_OPTICAL
    return poses


def _unit(descriptors: NDArray[np.float32]) -> NDArray[np.float32]:
    norm = np.linalg.norm(descriptors, axis=-1, keepdims=True)
    return descriptors / np.maximum(norm, np.finfo(np.float32).tiny)
