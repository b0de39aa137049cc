"""The localizer's recording for the Rerun viewer, where one is asked for."""

from __future__ import annotations

from pathlib import Path

from scmpr_ros.evaluation.rerun_recording import RerunRecording
from scmpr_ros.pipeline.tracking_localizer import TrackedAnswer
from scmpr_ros.records import CameraModel
from scmpr_ros.retrieval.place_map import PlaceMap
from scmpr_ros.ros.camera_input import Query
from scmpr_ros.ros.conversions import stamp_ns


class AnswerRecording:
    """Records maps and answers; does nothing without a path. For the worker's jobs."""

    def __init__(self, path: str) -> None:
        """Open the file; raises ConfigError where rerun-sdk is not installed."""
        self._recording = RerunRecording(Path(path)) if path else None

    def show_map(self, place_map: PlaceMap) -> None:
        """Show the map that the next answers are about."""
        if self._recording is not None:
            self._recording.log_map(place_map)

    def add(self, query: Query, camera: CameraModel, answer: TrackedAnswer) -> None:
        """Show an image and its answer."""
        if self._recording is not None:
            stamp_s = stamp_ns(query.header) / 1e9
            self._recording.log_answer(stamp_s, query.decode(), camera, answer)

    def close(self) -> None:
        """Complete the file."""
        if self._recording is not None:
            self._recording.close()
            self._recording = None
