"""Tracked drives of known errors, for tests."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from camera_poses import level_camera_pose

from scmpr_ros.evaluation.trajectory import TrackedDrive


def tracked_drive(
    states: Sequence[str], errors_m: Sequence[float] = (), single_errors_m: Sequence[float] = (),
    turned_deg: float = 0.0,
) -> TrackedDrive:  # fmt: skip
    """A straight drive of 5 m an image; poses are off to the left, by 1 m unless said otherwise.

    turned_deg: heading error of the tracked poses.
    """
    count = len(states)
    true = np.stack([level_camera_pose(np.array([5.0 * i, 0, 1.6]), 0.0) for i in range(count)])
    tracked = np.stack([level_camera_pose(T[:3, 3], np.deg2rad(turned_deg)) for T in true])
    single = true.copy()
    tracked[:, 1, 3] += errors_m or (1.0,) * count
    single[:, 1, 3] += single_errors_m or (1.0,) * count
    return TrackedDrive(
        stamps_s=0.5 * np.arange(count), T_true=true, T_tracked=tracked, T_single=single,
        covariance=np.tile(np.eye(6), (count, 1, 1)), near_probability=np.linspace(0.5, 0.9, count),
        off_map_probability=np.full(count, 0.01), single_confidence=np.linspace(0.1, 0.8, count),
        state=np.array(states),
    )  # fmt: skip
