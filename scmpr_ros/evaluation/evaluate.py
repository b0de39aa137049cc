"""Recall of a checkpoint on recordings, without ROS: the same two flows as the nodes run.

Answers are predicted first and scored second, see `predictions`. What may answer is either the
places of a prebuilt map, or, as protocols of the literature want it, the single scans of the drive.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from scmpr_ros.datasets.drive import Drive, FrameReader
from scmpr_ros.datasets.recordings import open_drives
from scmpr_ros.datasets.town_files import town_conditions
from scmpr_ros.errors import DatasetError
from scmpr_ros.evaluation.iou import MaskCounter, count_map_classes
from scmpr_ros.evaluation.localized_drive import Answer, LocalizedDrive
from scmpr_ros.evaluation.metrics import Tolerance, one_percent
from scmpr_ros.evaluation.predictions import Predictions
from scmpr_ros.evaluation.protocols import Protocol, map_protocol
from scmpr_ros.lidar.point_cloud_map import PointCloudMap
from scmpr_ros.lidar.segmentation import point_confusion, segment_points
from scmpr_ros.methods.network import PlaceNetwork
from scmpr_ros.pipeline.label_free_map import load_label_free_map
from scmpr_ros.pipeline.localizer import Localizer, LocalizerConfig
from scmpr_ros.pipeline.map_builder import MapBuilderConfig, build_map, build_scan_map
from scmpr_ros.pipeline.map_source import PREBUILT_MAP, MapSourceConfig, load_point_cloud_map
from scmpr_ros.records import Mount, PlaceMatch, PointCloud
from scmpr_ros.retrieval.place_map import PlaceMap

_VIEWPOINTS_A_PLACE = 8
"""Viewpoints to look at for each place wanted: a place's neighbouring headings come along."""


@dataclass(frozen=True)
class EvaluationConfig:
    """What is built, how it is searched, and what counts as found.

    skip_bad: leave damaged images out, with a warning, instead of stopping at the first.
    segmenters: also measure how well images and the map are read, where masks and labels are.
    mount: how the camera is mounted on the vehicle; its roll and pitch level the images.
    """

    source: MapSourceConfig = field(default_factory=MapSourceConfig)
    builder: MapBuilderConfig = field(default_factory=MapBuilderConfig)
    localizer: LocalizerConfig = field(default_factory=LocalizerConfig)
    tolerance: Tolerance = field(default_factory=Tolerance)
    skip_bad: bool = False
    segmenters: bool = False
    mount: Mount = field(default_factory=Mount)

    @property
    def R_base_camera(self) -> NDArray[np.float64]:
        """(3, 3) of `mount`, for `Localizer`."""
        return self.mount.T_base_camera_body[:3, :3]


def predict_in_map(
    folder: Path, network: PlaceNetwork, config: EvaluationConfig
) -> Iterator[Predictions]:
    """Build the map of a recording and localise the images of its drives in it.

    The drives are the mapped one if `source.sequence` names one that has images, else, where the
    folder has a map.ply, all that have, for they share its frame; else the first that has. Raises
    DatasetError where no drive of the folder has images.
    """
    drives = _query_drives(folder, config.source.sequence)
    point_map = load_point_cloud_map(folder, config.source)
    place_map = build_map(point_map, network, config.builder)
    localizer = Localizer(place_map, network, config.localizer, config.R_base_camera)
    skies = town_conditions(folder)
    rules = map_protocol(config.tolerance)
    label_free = (
        load_label_free_map(folder, config.source, point_map) if config.segmenters else None
    )
    of_map = None if label_free is None else count_map_classes(label_free)
    for drive in drives:
        facts = _facts(folder, drive, "map", rules, skies.get(drive.name, ""))
        predictions = _predict(drive, localizer, place_map, config, facts)
        yield replace(predictions, map_classes=of_map)


def predict_in_scans(
    folder: Path, sequence: str, protocol: Protocol, network: PlaceNetwork,
    config: EvaluationConfig,
) -> Predictions:  # fmt: skip
    """Localise the images of a drive among its own scans, by the rules of a protocol.

    Scans without labels are segmented by their geometry; dynamic classes are left out, as in maps.
    As many candidates are kept as Recall@1 % asks for.
    """
    (drive,) = open_drives(folder, sequence)
    frames = np.asarray(drive.scan_frames, np.int64)
    if len(frames) == 0:
        raise DatasetError(f"{folder}: drive {drive.name} has no scans, and so no database")
    frames = frames[protocol.keyframes(_positions(drive, frames))]
    asked = _asked(drive, protocol)
    labelled = drive.scan(int(frames[0])).label is not None
    confusion = None if labelled else point_confusion()
    scans = _static_scans(drive, frames, labelled)
    place_map = build_scan_map(scans, network, config.builder, confusion)
    stamps_s = np.array([drive.stamp_s(int(frame)) for frame in frames])
    kept = max(config.localizer.candidates, one_percent(len(frames)))
    shortlist = max(config.localizer.shortlist, _VIEWPOINTS_A_PLACE * kept)
    # The literature ranks single scans, and takes distances to them.
    belief = replace(config.localizer.belief, cluster_radius_m=0.0)
    localizer = replace(config.localizer, candidates=kept, shortlist=shortlist, belief=belief)
    config = replace(config, localizer=localizer)
    return _predict(
        drive, Localizer(place_map, network, config.localizer, config.R_base_camera), place_map,
        config, _facts(folder, drive, "scans", protocol),
        lambda frame: protocol.may_answer(frame, drive.stamp_s(frame), frames, stamps_s), asked,
    )  # fmt: skip


def evaluate_recording(
    folder: Path, network: PlaceNetwork, config: EvaluationConfig
) -> list[dict[str, Any]]:
    """The numbers of `predict_in_map` by the config's tolerance, for each drive."""
    rules = map_protocol(config.tolerance)
    return [predictions.score(rules) for predictions in predict_in_map(folder, network, config)]


def localize_drive(
    drive: Drive,
    localizer: Localizer,
    skip_bad: bool = False,
    may_answer: Callable[[int], NDArray[np.bool_]] | None = None,
    frames: Sequence[int] | None = None,
    count: Callable[[int, PlaceMatch], None] | None = None,
) -> LocalizedDrive:
    """Localise images of a drive; latencies are those of `Localizer.localize` alone.

    skip_bad: an image that cannot be read is no query; else its error is raised. may_answer: gives
    the places (P,) that a frame may find; a frame that may find none stays unanswered. frames: of
    the images that are asked for; all where it is None. count: is told every answer.
    """
    answers, asked = {}, []
    images = FrameReader(drive.image_frames if frames is None else frames, drive.image, skip_bad)
    for frame, image in tqdm(images, desc=f"localising {drive.name}", unit="image"):
        asked.append(frame)
        allowed = None if may_answer is None else may_answer(frame)
        if allowed is not None and not allowed.any():
            continue
        began_s = time.perf_counter()
        match = localizer.localize(image, drive.camera, allowed)
        latency_s = time.perf_counter() - began_s
        if count is not None:
            count(frame, match)
        poses = np.stack([c.T_map_camera for c in match])
        answers[frame] = Answer(poses, latency_s, match.confidence)
    truth = {frame: drive.T_world_camera(frame) for frame in asked}
    return LocalizedDrive.join(truth, {frame: frame for frame in truth}, answers)


def _facts(
    folder: Path, drive: Drive, database: str, rules: Protocol, condition: str = ""
) -> dict[str, Any]:
    """What answers depend on besides the localizer; see `Predictions.facts`."""
    return {
        "recording": folder.name, "drive": drive.name, "condition": condition,
        "database": database, "include_self": rules.include_self, "min_gap_s": rules.min_gap_s,
        "pose_source": drive.pose_source,
    }  # fmt: skip


def _predict(
    drive: Drive,
    localizer: Localizer,
    place_map: PlaceMap,
    config: EvaluationConfig,
    facts: dict[str, Any],
    may_answer: Callable[[int], NDArray[np.bool_]] | None = None,
    frames: Sequence[int] | None = None,
) -> Predictions:
    counter = MaskCounter(drive, localizer.mask_grid, config.mount) if config.segmenters else None
    localized = localize_drive(drive, localizer, config.skip_bad, may_answer, frames, counter)
    allowed = np.ones((len(localized.frames), len(place_map)), bool)
    if may_answer is not None:
        allowed = np.stack([may_answer(frame) for frame in localized.frames])
    facts = {
        **facts, "fingerprint": place_map.fingerprint, "localizer": asdict(config.localizer),
        "mount_rpy": list(config.mount.rpy),
    }  # fmt: skip
    return Predictions(
        localized, place_map.positions, place_map.headings_rad, allowed, facts,
        counter.confusion if counter is not None else None,
    )  # fmt: skip


def _asked(drive: Drive, protocol: Protocol) -> list[int]:
    """Frames of the images that a protocol asks for; DatasetError where there is none."""
    frames = np.asarray(drive.image_frames, np.int64)
    if len(frames):
        frames = frames[protocol.keyframes(_positions(drive, frames))]
        origin = getattr(drive, "origin", None)
        frames = frames[protocol.may_ask(drive.name, _positions(drive, frames), origin)]
    if len(frames) == 0:
        raise DatasetError(
            f"drive {drive.name} has no image that protocol {protocol.name} asks for"
        )
    return [int(frame) for frame in frames]


def _positions(drive: Drive, frames: NDArray[np.int64]) -> NDArray[np.float64]:
    """Where the LiDAR was at each frame, (F, 3)."""
    return np.array([drive.T_world_lidar(int(frame))[:3, 3] for frame in frames]).reshape(-1, 3)


def _static_scans(
    drive: Drive, frames: NDArray[np.int64], labelled: bool
) -> Iterator[tuple[PointCloud, NDArray[np.float64]]]:
    for frame in map(int, tqdm(frames, "describing scans", unit="scan")):
        scan = drive.scan(frame)
        if (scan.label is not None) != labelled:
            raise DatasetError(
                f"drive {drive.name}: scan {frame} has {'no ' * labelled}labels, unlike the first: "
                "label all scans or none"
            )
        if scan.label is None:
            scan = replace(scan, label=segment_points(scan))
        yield PointCloudMap.of(scan).cloud, drive.T_world_lidar(frame)


def _query_drives(folder: Path, mapped: str) -> list[Drive]:
    drives = open_drives(folder)
    seeing = [drive for drive in drives if drive.image_frames]
    if not seeing:
        raise DatasetError(
            f"{folder}: none of its {len(drives)} drives has images to localise "
            f"({', '.join(drive.name for drive in drives)})"
        )
    of_map = [drive for drive in seeing if drive.name == mapped]
    if of_map or mapped:
        return of_map or seeing[:1]
    return seeing if (folder / PREBUILT_MAP).is_file() else seeing[:1]
