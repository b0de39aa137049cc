"""Evaluation protocols: who asks, what may answer, and when the answer is right.

A protocol of the literature takes a drive's own scans as the database. So each image finds, among
others, the scan that was taken with it: recognising that one is no re-localisation. `revisit` is
this project's stricter reading, where only what was seen long before may answer.

Rules are from the papers' public code where `source` says so; `assumed` names what is not written
anywhere. Published code takes distances in two axes of KITTI's camera frame, and drops a horizontal
one; `code_faithful` does the same, the default is the ground plane.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from scmpr_ros.errors import ConfigError, DatasetError
from scmpr_ros.evaluation.metrics import Axes, Tolerance

_ANY_HEADING = 180.0
_HALF_SQUARE_M = 50.0
_VXP_REGIONS = {
    "2011_10_03_drive_0027_sync": (  # odometry's 00
        (613180.0, 4116330.0), (613050.0, 4116230.0), (613050.0, 4116570.0), (613135.0, 4116455.0),
    ),
    "2011_10_03_drive_0034_sync": (  # 02
        (619375.0, 4116915.0), (619400.0, 4116800.0), (619400.0, 4116700.0), (619390.0, 4116450.0),
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Protocol:
    """The rules of one way to evaluate.

    name, source: how it is called, and where its rules are written. sequences: drives that it tests
    on, KITTI odometry's or, where positions in Mercator metres are needed, KITTI raw's. tolerance:
    of a right answer. include_self: whether the scan of the query's own frame may answer.
    min_gap_s: how much older than the query an answer must be; None for any age. only_revisits:
    whether queries without a right answer in the database are left out.
    keyframe_m: metres travelled from one frame that counts to the next; None counts all. regions:
    centres, in Mercator metres, of squares in which queries of a drive must lie, by drive.
    code_axes: the axes of a z-up world in which the published code takes distances. assumed: what
    the source leaves open.
    """

    name: str
    source: str
    sequences: tuple[str, ...]
    tolerance: Tolerance
    include_self: bool = True
    min_gap_s: float | None = None
    only_revisits: bool = False
    keyframe_m: float | None = None
    regions: Mapping[str, tuple[tuple[float, float], ...]] = field(default_factory=dict)
    code_axes: Axes = (0, 1)
    assumed: str = ""

    def code_faithful(self) -> Protocol:
        """The same protocol with the distances of its published code."""
        return replace(self, tolerance=replace(self.tolerance, axes=self.code_axes))

    def may_answer(
        self, frame: int, stamp_s: float, place_frames: NDArray[np.int64],
        place_stamps_s: NDArray[np.float64],
    ) -> NDArray[np.bool_]:  # fmt: skip
        """Which scans (P,) of the query's own drive may be its answer."""
        allowed = np.ones(len(place_frames), bool)
        if not self.include_self:
            allowed &= place_frames != frame
        if self.min_gap_s is not None:
            allowed &= place_stamps_s < stamp_s - self.min_gap_s
        return allowed

    def keyframes(self, positions: NDArray[np.floating]) -> NDArray[np.int64]:
        """Indices of the frames that count, of positions (F, 3) in driving order."""
        if self.keyframe_m is None or len(positions) == 0:
            return np.arange(len(positions))
        steps_m = np.linalg.norm(np.diff(positions[:, :2], axis=0), axis=1)
        travelled_m = np.concatenate([[0.0], np.cumsum(steps_m)])
        _, first = np.unique(np.floor(travelled_m / self.keyframe_m), return_index=True)
        return np.asarray(first, np.int64)

    def may_ask(
        self, drive: str, positions: NDArray[np.floating], origin: NDArray[np.floating] | None
    ) -> NDArray[np.bool_]:
        """Which positions (F, 3) of a drive lie where queries come from.

        origin: (3,) what was taken off the drive's Mercator coordinates; None where it is not
        known, which is a DatasetError if the protocol has regions for this drive.
        """
        centres = self.regions.get(drive, ())
        if not centres:
            return np.ones(len(positions), bool)
        if origin is None:
            raise DatasetError(
                f"protocol {self.name} names squares in Mercator metres, and drive {drive} does "
                "not tell where its origin is: it needs KITTI raw's own layout, with oxts/"
            )
        offset = (positions + origin)[:, None, :2] - np.array(centres)
        return np.asarray((np.abs(offset) <= _HALF_SQUARE_M).all(axis=2).any(axis=1))

    def rules(self) -> dict[str, object]:
        """What has to stand beside every number."""
        return {
            "protocol": self.name,
            "include_self": self.include_self,
            "min_gap_s": self.min_gap_s,
            "only_revisits": self.only_revisits,
            "keyframe_m": self.keyframe_m,
            "regions": bool(self.regions),
            "radius_m": self.tolerance.radius_m,
            "angle_deg": self.tolerance.angle_deg,
            "distance_axes": "".join("xyz"[axis] for axis in self.tolerance.axes),
            "assumed": self.assumed,
        }


def _within(radius_m: float) -> Tolerance:
    return Tolerance(radius_m, _ANY_HEADING)


_ALL = (
    Protocol(
        "scmpr", "arXiv 2509.13474, section 4.1", ("08", "09"), _within(5.0),
        assumed="query, database and sequences: those of LIP-Loc; the paper says standard splits",
    ),
    Protocol(
        "lip_loc", "code of LIP-Loc (d9e9d6f)", ("08", "09"), _within(20.0), code_axes=(0, 2),
    ),
    Protocol(
        "modalink", "code of ModaLink (6a7e6b5)", ("00", "02", "05", "06", "08"), _within(10.0),
        code_axes=(1, 2), assumed="all frames are queries and database: its lists are not shipped",
    ),
    Protocol(
        "vxp", "code of VXP (8303725)", tuple(_VXP_REGIONS), Tolerance(20.0, math.degrees(0.5)),
        include_self=False, min_gap_s=10.0, only_revisits=True, keyframe_m=20.0,
        regions=_VXP_REGIONS, assumed="keyframes are those of whole multiples of 20 m travelled",
    ),
    Protocol(
        "rangebev", "code of RangeBEV (08d6a69)", ("00", "02", "05", "06", "07", "08"),
        _within(10.0), include_self=False, only_revisits=True,
    ),
    Protocol(
        "revisit", "this project", ("00", "02", "05", "06", "07", "08"), _within(5.0),
        include_self=False, min_gap_s=10.0, only_revisits=True,
    ),
)  # fmt: skip
PROTOCOLS: dict[str, Protocol] = {protocol.name: protocol for protocol in _ALL}


def map_protocol(tolerance: Tolerance) -> Protocol:
    """The rules where the database is a prebuilt map: every place may answer, all queries count."""
    return Protocol("map", "this project", (), tolerance)


def find_protocol(name: str) -> Protocol:
    """The protocol of a name; ConfigError where there is none."""
    if name not in PROTOCOLS:
        raise ConfigError(f"no protocol {name!r}; there are {', '.join(PROTOCOLS)}")
    return PROTOCOLS[name]
