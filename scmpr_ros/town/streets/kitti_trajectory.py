"""Reader of pose files in KITTI odometry format, as trajectories for streets to follow."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from scmpr_ros.errors import DatasetError


def read_trajectory(path: Path) -> NDArray[np.float64]:
    """Positions (N, 2) in plan, in metres.

    Rows hold the 12 numbers of a 3 x 4 pose of camera 0, whose x points right and z ahead: the axes
    of the plan. Raises DatasetError if the file is missing or has another format.
    """
    path = Path(path)
    if not path.is_file():
        raise DatasetError(f"no trajectory file {path}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about an empty file, which raises below
            rows = np.loadtxt(path, ndmin=2)
    except (ValueError, OSError) as error:
        raise DatasetError(f"{path} is not a KITTI pose file: {error}") from error
    if rows.shape[1:] != (12,) or not np.isfinite(rows).all():
        raise DatasetError(
            f"{path} is not a KITTI pose file: expected rows of 12 finite numbers, found an array "
            f"of shape {rows.shape}"
        )
    return np.asarray(rows.reshape(-1, 3, 4)[:, [0, 2], 3])
