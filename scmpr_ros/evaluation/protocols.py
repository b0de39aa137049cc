"""Evaluation protocols: which images are queries, what may answer them, and when it is correct.

Protocols of the literature take a drive's own scans as the database. So each image finds, among
others, the scan taken with it, which is no re-localisation. `revisit` is this project's stricter
protocol, in which only scans from an earlier visit may answer.

Rules follow the papers' public code where `source` names it; `assumed` lists what no source states.
Published code takes distances in two axes of KITTI's camera frame, which drops a horizontal axis.
`code_faithful` reproduces that; the default is the ground plane.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from scmpr_ros.errors import ConfigError, DatasetError
from scmpr_ros.evaluation.metrics import Axes, Tolerance
from scmpr_ros.evaluation.result import Rules

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
    """The rules of one evaluation.

    name, source: the protocol's name, and where its rules are written.
    sequences: drives it tests on: KITTI odometry's or, if it needs Mercator metres, KITTI raw's.
    tolerance: of a correct answer.
    include_self: whether the scan of the query's own frame may answer.
    min_gap_s: an answer must be older than the query by more than this; None for any age.
    only_revisits: leave out queries without a correct answer in the database.
    keyframe_m: metres travelled between the frames that are used; None uses all.
    regions: by drive, centres in Mercator metres of the squares in which its queries must lie.
    code_axes: axes of a z-up world in which the published code takes distances.
    assumed: what the source leaves open.
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

    def allowed_places(
        self, frame: int, stamp_s: float, place_frames: NDArray[np.int64],
        place_stamps_s: NDArray[np.float64],
    ) -> NDArray[np.bool_]:  # fmt: skip
        """Which scans (P,) of the query's own drive may answer it."""
        allowed = np.ones(len(place_frames), bool)
        if not self.include_self:
            allowed &= place_frames != frame
        if self.min_gap_s is not None:
            allowed &= place_stamps_s < stamp_s - self.min_gap_s
        return allowed

    def keyframes(self, positions: NDArray[np.floating]) -> NDArray[np.int64]:
        """Indices of the frames that are used, of positions (F, 3) in driving order."""
        if self.keyframe_m is None or len(positions) == 0:
            return np.arange(len(positions))
        steps_m = np.linalg.norm(np.diff(positions[:, :2], axis=0), axis=1)
        travelled_m = np.concatenate([[0.0], np.cumsum(steps_m)])
        _, first = np.unique(np.floor(travelled_m / self.keyframe_m), return_index=True)
        return np.asarray(first, np.int64)

    def in_query_regions(
        self, drive: str, positions: NDArray[np.floating], origin: NDArray[np.floating] | None
    ) -> NDArray[np.bool_]:
        """Which positions (F, 3) of a drive lie in its query regions; all if it has none.

        origin: (3,) what was subtracted from the drive's Mercator coordinates; None if unknown,
            which is a DatasetError for a drive with regions.
        """
        centres = self.regions.get(drive, ())
        if not centres:
            return np.ones(len(positions), bool)
        if origin is None:
            raise DatasetError(
                f"protocol {self.name} has query regions in Mercator metres, but drive {drive} has "
                "no Mercator origin: use KITTI raw's own layout, with oxts/"
            )
        offset = (positions + origin)[:, None, :2] - np.array(centres)
        return np.asarray((np.abs(offset) <= _HALF_SQUARE_M).all(axis=2).any(axis=1))

    def rules(self) -> Rules:
        """The rules to write beside every number."""
        return Rules(
            protocol=self.name,
            include_self=self.include_self,
            min_gap_s=self.min_gap_s,
            only_revisits=self.only_revisits,
            keyframe_m=self.keyframe_m,
            regions=bool(self.regions),
            radius_m=self.tolerance.radius_m,
            angle_deg=self.tolerance.angle_deg,
            distance_axes="".join("xyz"[axis] for axis in self.tolerance.axes),
            assumed=self.assumed,
        )


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
    """The protocol for a prebuilt map: every place may answer, and all images are queries."""
    return Protocol("map", "this project", (), tolerance)


def find_protocol(name: str) -> Protocol:
    """The protocol of a name; raises ConfigError for an unknown one."""
    if name not in PROTOCOLS:
        raise ConfigError(f"no protocol {name!r}; choose one of {', '.join(PROTOCOLS)}")
    return PROTOCOLS[name]
