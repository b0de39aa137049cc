"""Localised drives and results of known recall, for tests."""

from __future__ import annotations

from typing import Any

import numpy as np
from camera_poses import level_camera_pose

from scmpr_ros.evaluation.localized_drive import Answer, LocalizedDrive
from scmpr_ros.evaluation.metrics import Tolerance
from scmpr_ros.evaluation.protocols import Protocol
from scmpr_ros.evaluation.result import Provenance, Result

SCMPR_RULES = Protocol("scmpr", "", (), Tolerance(5.0, 180.0)).rules()
_HEADINGS_RAD = np.deg2rad([0, 90, 180, 270])


def provenance(**changes: Any) -> Provenance:
    """Provenance of a drive in `town`, with some fields changed."""
    fields = {
        "recording": "town", "drive": "01", "condition": "clear/summer", "database": "map",
        "pose_source": "poses", "fingerprint": "", "localizer": {},
    }  # fmt: skip
    return Provenance(**{**fields, **changes})


def straight_drive(answers: str, spacing_m: float = 5.0, confidence: float = 0.9) -> LocalizedDrive:
    """A straight drive; each letter is one query: r right, w wrong, - not answered."""
    along = spacing_m * np.arange(len(answers))
    truth = {i: level_camera_pose(np.array([x, 0, 1.6]), 0.0) for i, x in enumerate(along)}
    wrong = level_camera_pose(np.array([0.0, 40.0, 1.6]), np.pi)
    given = {
        i: Answer((truth[i] if letter == "r" else wrong)[None], 0.1, confidence)
        for i, letter in enumerate(answers)
        if letter != "-"
    }
    return LocalizedDrive.join(truth, {i: i for i in truth}, given)


def result(answers: str, spacing_m: float = 5.0, confidence: float = 0.9, **changes: Any) -> Result:
    """Result of such a drive in a map of its own places; `changes` as of `provenance`."""
    drive = straight_drive(answers, spacing_m, confidence)
    scores = drive.score(drive.T_map_camera[:, :3, 3], _HEADINGS_RAD, Tolerance())
    return Result(provenance(**changes), SCMPR_RULES, scores)
