"""Recall of a checkpoint on recordings, without ROS: the same two flows as the nodes run."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from scmpr_ros.datasets.drive import Drive, FrameReader
from scmpr_ros.datasets.recordings import open_drives
from scmpr_ros.errors import DatasetError
from scmpr_ros.evaluation.localized_drive import Answer, LocalizedDrive
from scmpr_ros.evaluation.metrics import Tolerance
from scmpr_ros.networks.scmpr import ScmprNetwork
from scmpr_ros.pipeline.localizer import Localizer, LocalizerConfig
from scmpr_ros.pipeline.map_builder import MapBuilderConfig, build_map
from scmpr_ros.pipeline.map_source import MapSourceConfig, load_point_cloud_map


@dataclass(frozen=True)
class EvaluationConfig:
    """What is built, how it is searched, and what counts as found.

    skip_bad: leave damaged images out, with a warning, instead of stopping at the first.
    """

    source: MapSourceConfig = field(default_factory=MapSourceConfig)
    builder: MapBuilderConfig = field(default_factory=MapBuilderConfig)
    localizer: LocalizerConfig = field(default_factory=LocalizerConfig)
    tolerance: Tolerance = field(default_factory=Tolerance)
    skip_bad: bool = False


def evaluate_recording(
    folder: Path, network: ScmprNetwork, config: EvaluationConfig
) -> dict[str, Any]:
    """Build the map of a recording and localise all its images in it.

    Returns the summary of `LocalizedDrive`, with the folder's name. The images are those of the
    mapped drive if `source.sequence` names one that has images, else those of the first that has.
    Raises DatasetError where no drive of the folder has images.
    """
    point_map = load_point_cloud_map(folder, config.source)
    place_map = build_map(point_map, network, config.builder)
    localizer = Localizer(place_map, network, config.localizer)
    drive = _query_drive(folder, config.source.sequence)
    localized = localize_drive(drive, localizer, config.skip_bad)
    summary = localized.summary(place_map.positions, place_map.headings_rad, config.tolerance)
    return {"recording": folder.name, **summary}


def localize_drive(drive: Drive, localizer: Localizer, skip_bad: bool = False) -> LocalizedDrive:
    """Localise every image of a drive; latencies are those of `Localizer.localize` alone.

    skip_bad: an image that cannot be read is no query; else its error is raised.
    """
    answers = {}
    images = FrameReader(drive.image_frames, drive.image, skip_bad)
    for frame, image in tqdm(images, desc=f"localising {drive.name}", unit="image"):
        began_s = time.perf_counter()
        match = localizer.localize(image, drive.camera)
        latency_s = time.perf_counter() - began_s
        answers[frame] = Answer(np.stack([c.T_map_camera for c in match]), latency_s)
    truth = {frame: drive.T_world_camera(frame) for frame in answers}
    return LocalizedDrive.join(truth, {frame: frame for frame in truth}, answers)


def _query_drive(folder: Path, mapped: str) -> Drive:
    drives = open_drives(folder)
    seeing = [drive for drive in drives if drive.image_frames]
    if not seeing:
        raise DatasetError(
            f"{folder}: none of its {len(drives)} drives has images to localise "
            f"({', '.join(drive.name for drive in drives)})"
        )
    return next((drive for drive in seeing if drive.name == mapped), seeing[0])
