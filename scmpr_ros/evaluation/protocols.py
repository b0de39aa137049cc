"""Evaluation protocols: who asks, what may answer, and when the answer is right.

A protocol of the literature takes a drive's own scans as the database. So each image finds, among
others, the scan that was taken with it: recognising that one is no re-localisation. `revisit` is
this project's stricter reading, where only what was seen long before may answer.

Rules are from the papers' public code where `source` says so; `assumed` names what is not written
anywhere. Published code takes distances in two axes of KITTI's camera frame, and drops a horizontal
one; `code_faithful` does the same, the default is the ground plane.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from scmpr_ros.errors import ConfigError
from scmpr_ros.evaluation.metrics import Axes, Tolerance

_ANY_HEADING = 180.0


@dataclass(frozen=True)
class Protocol:
    """The rules of one way to evaluate.

    name, source: how it is called, and where its rules are written. sequences: KITTI odometry's
    that it tests on. tolerance: of a right answer. include_self: whether the scan of the query's
    own frame may answer. min_gap_s: how much older than the query an answer must be; None for any
    age. only_revisits: whether queries without a right answer in the database are left out.
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

    def rules(self) -> dict[str, object]:
        """What has to stand beside every number."""
        return {
            "protocol": self.name,
            "include_self": self.include_self,
            "min_gap_s": self.min_gap_s,
            "only_revisits": self.only_revisits,
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
