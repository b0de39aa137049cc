"""Poses between given poses, across gaps that are not too wide."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation, Slerp

from scmpr_ros.geometry import make_transform


def interpolate_poses(
    stamps: NDArray[np.int64],
    poses: NDArray[np.float64],
    wanted: NDArray[np.int64],
    max_gap: float,
    unit: float = 1.0,
) -> dict[int, NDArray[np.float64]]:
    """Interpolate poses: linear in position, slerp in rotation.

    stamps: (N,) of the given poses (N, 4, 4), strictly increasing. wanted: (M,) other stamps.
    max_gap: largest distance of the two given poses around a wanted stamp, in `unit`s.
    unit: of `max_gap`, in steps of `stamps`; 1e9 for nanoseconds and a gap in seconds.

    Returns `{index into wanted: pose (4, 4)}`, without stamps outside the given ones or in wider
    gaps.
    """
    after = np.searchsorted(stamps, wanted, side="left")
    last = np.minimum(after, len(stamps) - 1)
    exact = stamps[last] == wanted
    inside = (after > 0) & (after < len(stamps))
    gaps = np.diff(stamps, prepend=stamps[0])[last] / unit
    posed = np.flatnonzero(exact | (inside & (gaps <= max_gap)))
    if len(stamps) == 1:
        return {int(i): poses[0] for i in posed}
    given, at = (stamps - stamps[0]) / unit, (wanted[posed] - stamps[0]) / unit
    rotations = Slerp(given, Rotation.from_matrix(poses[:, :3, :3]))(at).as_matrix()
    positions = [np.interp(at, given, poses[:, axis, 3]) for axis in range(3)]
    return {
        int(i): make_transform(R, np.array(t))
        for i, R, t in zip(posed, rotations, np.stack(positions, axis=1), strict=True)
    }
