"""Drives through the tracker: how soon, how often and how well a robot knows where it is.

`drives` encodes the images of a drive once; `trials` then start anywhere, jump, and drift, at the
cost of the search; `scores` sums up; `recordings` does all of it for a recording.
"""

from scmpr_ros.datasets.simulated_odometry import OdometryNoise
from scmpr_ros.evaluation.tracking.drives import EncodedDrive
from scmpr_ros.evaluation.tracking.scores import (
    normalised_errors,
    summarise_kidnaps,
    summarise_wake_ups,
    summary,
)
from scmpr_ros.evaluation.tracking.trials import (
    Kidnap,
    TrackingTrials,
    WakeUp,
    kidnap,
    track,
    wake_up,
)

__all__ = [
    "EncodedDrive", "Kidnap", "OdometryNoise", "TrackingTrials", "WakeUp", "kidnap",
    "normalised_errors", "summarise_kidnaps", "summarise_wake_ups", "summary", "track", "wake_up",
]  # fmt: skip
