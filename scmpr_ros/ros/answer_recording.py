"""The localizer's recording for the Rerun viewer, where one is asked for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from scmpr_ros.evaluation.rerun_recording import RerunRecording
from scmpr_ros.pipeline.tracking_localizer import TrackedAnswer
from scmpr_ros.records import CameraModel
from scmpr_ros.retrieval.place_map import PlaceMap


class AnswerRecording:
    """Records maps and answers; does nothing without a path. For the worker's jobs."""

    def __init__(self, path: str) -> None:
        """Open the file; raises ConfigError where rerun-sdk is not installed."""
        self._recording = RerunRecording(Path(path)) if path else None

    def show_map(self, place_map: PlaceMap) -> None:
        """Show the map that the next answers are about."""
        if self._recording is not None:
            self._recording.log_map(place_map)

    def add(
        self, stamp_s: float, image: NDArray[np.uint8], camera: CameraModel, answer: TrackedAnswer
    ) -> None:
        """Show an image (H, W, 3) and its answer."""
        if self._recording is not None:
            self._recording.log_answer(stamp_s, image, camera, answer)

    def close(self) -> None:
        """Complete the file."""
        if self._recording is not None:
            self._recording.close()
            self._recording = None
