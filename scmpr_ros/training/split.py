"""Keep the recordings of training, validation and test apart."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import NamedTuple

from scmpr_ros.datasets.drive import Drive
from scmpr_ros.datasets.recordings import open_drives
from scmpr_ros.datasets.town_files import town_split
from scmpr_ros.errors import ConfigError, ScmprError
from scmpr_ros.evaluation.protocols import PROTOCOLS
from scmpr_ros.pipeline.map_source import PREBUILT_MAP
from scmpr_ros.training.preparation import RecordingSource

_log = logging.getLogger(__name__)


class _Sequence(NamedTuple):
    """A sequence of KITTI odometry: the drive of KITTI raw it was cut from, and its length."""

    raw: str
    frames: int


_ODOMETRY: Mapping[str, _Sequence] = {
    "00": _Sequence("2011_10_03_drive_0027", 4541),
    "01": _Sequence("2011_10_03_drive_0042", 1101),
    "02": _Sequence("2011_10_03_drive_0034", 4661),
    "03": _Sequence("2011_09_26_drive_0067", 801),
    "04": _Sequence("2011_09_30_drive_0016", 271),
    "05": _Sequence("2011_09_30_drive_0018", 2761),
    "06": _Sequence("2011_09_30_drive_0020", 1101),
    "07": _Sequence("2011_09_30_drive_0027", 1101),
    "08": _Sequence("2011_09_30_drive_0028", 4071),
    "09": _Sequence("2011_09_30_drive_0033", 1591),
    "10": _Sequence("2011_09_30_drive_0034", 1201),
}
"""By name, as in the odometry devkit."""

_SEQUENCE_OF_RAW = {sequence.raw: name for name, sequence in _ODOMETRY.items()}

RESERVED = ("scmpr", "lip_loc")
"""Protocols whose test data is never trained on. The others test on what these train on."""

_KITTI360_TEST = "2013_05_28_drive_0000"
"""The drive of KITTI-360 that LIP-Loc tests on, and SCM-PR with it."""


def check_split(
    training: Sequence[RecordingSource],
    validation: Sequence[RecordingSource] = (),
    test: Sequence[RecordingSource] = (),
    allow_test_data: bool = False,
) -> None:
    """Raise ConfigError if results would be measured on data that weights were trained on.

    No drive may occur twice among training, validation and test, whether under the same path,
    through a link, or as a copy: copies are recognised by their first and last images. Training and
    validation, by which weights are selected, must not use test data: test sequences of the
    protocols in `RESERVED`, and towns whose seed is reserved for another use.

    allow_test_data: use such sequences and towns all the same.
    """
    parts = {"training": training, "validation": validation, "test": test}
    drives = {name: list(_drives(sources)) for name, sources in parts.items() if sources}
    for (one, first), (other, second) in combinations(drives.items(), 2):
        _check_disjoint(one, first, other, second)
    if not allow_test_data:
        _check_no_test_data(drives)


class _DriveIdentity(NamedTuple):
    """A drive with its number of frames, and what identifies it: its location and its images."""

    source: RecordingSource
    name: str
    frames: int
    keys: frozenset[str]

    def __str__(self) -> str:
        return f"{self.source.folder} (drive {self.name})"


def _drives(sources: Sequence[RecordingSource]) -> Iterator[_DriveIdentity]:
    for source in sources:
        for drive in open_drives(source.folder, source.drive, source.bag):
            keys = frozenset([f"{source.folder.resolve()}/{drive.name}", *_image_digests(drive)])
            yield _DriveIdentity(source, drive.name, len(drive.frames), keys)


def _image_digests(drive: Drive) -> Iterator[str]:
    """Digests of the first and the last image; black or otherwise uniform ones identify nothing."""
    frames = drive.image_frames
    for frame in {frames[0], frames[-1]} if len(frames) else ():
        try:
            image = drive.image(frame)
        except ScmprError:  # the preparation reports damaged images
            continue
        if image.min() < image.max():
            yield hashlib.sha256(image.tobytes()).hexdigest()


def _check_disjoint(
    one: str, first: Sequence[_DriveIdentity], other: str, second: Sequence[_DriveIdentity]
) -> None:
    owner = {key: drive for drive in first for key in drive.keys}
    for drive in second:
        for key in drive.keys & owner.keys():
            raise ConfigError(
                f"{owner[key]} is used for {one}, and {drive} for {other}, but they are the same "
                "drive: name other folders or sequences"
            )


def _check_no_test_data(drives: Mapping[str, Sequence[_DriveIdentity]]) -> None:
    found = []
    for name in ("training", "validation"):
        for drive in drives.get(name, ()):
            split = town_split(drive.source.folder)
            if split is None:
                protocols = _testing_protocols(drive)
                reserved = [protocol for protocol in protocols if protocol in RESERVED]
                if reserved:
                    found.append(f"{drive} for {name}: test data of {', '.join(reserved)}")
                elif protocols and name == "training":
                    _log.warning(
                        "%s is test data of the protocols %s: do not evaluate the weights by these",
                        drive, ", ".join(protocols),
                    )  # fmt: skip
            elif split == "test" or (split == "validation" and name == "training"):
                found.append(f"{drive.source.folder} for {name}: its seed is a {split} town's")
    if found:
        raise ConfigError(
            f"test data must not be trained on: {'; '.join(dict.fromkeys(found))}. Choose others "
            "with `sequences` or other folders, or set `allow_test_data`"
        )


def _testing_protocols(drive: _DriveIdentity) -> list[str]:
    """Protocols that test on a drive of KITTI odometry, KITTI raw or KITTI-360."""
    if _stem(drive.name) == _KITTI360_TEST:
        return list(RESERVED)
    sequence = _odometry_sequence(drive)
    return [
        protocol.name
        for protocol in PROTOCOLS.values()
        if sequence in {_SEQUENCE_OF_RAW.get(_stem(name), name) for name in protocol.sequences}
    ]


def _odometry_sequence(drive: _DriveIdentity) -> str | None:
    """The sequence of KITTI odometry that a drive is; None if it is none.

    Other recordings use the same layout and names: with a map.ply the length must match as well.
    """
    folder, name = drive.source.folder, drive.name
    if (folder / "sequences").is_dir() and name in _ODOMETRY:
        has_map = (folder / PREBUILT_MAP).is_file()
        return name if not has_map or drive.frames == _ODOMETRY[name].frames else None
    return _SEQUENCE_OF_RAW.get(_stem(name))


def _stem(drive: str) -> str:
    """Name of a raw drive without the ending for its kind of processing."""
    return drive.removesuffix("_sync").removesuffix("_extract")
