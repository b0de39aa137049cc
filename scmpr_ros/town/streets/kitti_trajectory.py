"""Trajectories to lay streets along, out of pose files in KITTI odometry format."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from scmpr_ros.errors import DatasetError


def read_trajectory(path: Path) -> NDArray[np.float64]:
    """Plan positions (N, 2) in metres, x east and y north of some origin.

    Rows hold the 12 numbers of a 3 x 4 pose of camera 0, whose x looks right and z ahead; seen
    from above, these are a plan's two axes. Raises DatasetError where the file is not like that.
    """
    path = Path(path)
    if not path.is_file():
        raise DatasetError(f"there is no trajectory file {path}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of an empty file, which is refused below
            rows = np.loadtxt(path, ndmin=2)
    except (ValueError, OSError) as error:
        raise DatasetError(f"{path} is no KITTI pose file: {error}") from error
    if rows.shape[1:] != (12,) or not np.isfinite(rows).all():
        raise DatasetError(
            f"{path} is no KITTI pose file: expected rows of 12 finite numbers, found an array of "
            f"shape {rows.shape}"
        )
    return np.asarray(rows.reshape(-1, 3, 4)[:, [0, 2], 3])
