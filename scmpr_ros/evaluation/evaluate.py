"""Evaluates a checkpoint on recordings without ROS, through the same map builder and localizer.

Images are localised first and scored second, see `predictions`. The database is either a prebuilt
map or, in protocols of the literature, the single scans of the drive.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from scmpr_ros.config import to_dict
from scmpr_ros.datasets.bags.options import BagReaderConfig
from scmpr_ros.datasets.drive import Drive, FrameReader, camera_tilt
from scmpr_ros.datasets.recordings import open_drives
from scmpr_ros.datasets.town_files import town_conditions, town_split
from scmpr_ros.errors import DatasetError
from scmpr_ros.evaluation.drive_split import DriveSplit
from scmpr_ros.evaluation.iou import MaskCounter, count_map_classes
from scmpr_ros.evaluation.localized_drive import Answer, LocalizedDrive
from scmpr_ros.evaluation.metrics import Tolerance, one_percent
from scmpr_ros.evaluation.predictions import Predictions
from scmpr_ros.evaluation.protocols import Protocol, map_protocol
from scmpr_ros.evaluation.rerun_recording import RerunRecording
from scmpr_ros.evaluation.result import Provenance, Result
from scmpr_ros.lidar.point_cloud_map import PointCloudMap
from scmpr_ros.lidar.segmentation import point_confusion, segment_points
from scmpr_ros.methods.network import PlaceNetwork
from scmpr_ros.pipeline.label_free_map import load_label_free_map
from scmpr_ros.pipeline.localizer import Localizer, LocalizerConfig
from scmpr_ros.pipeline.map_builder import MapBuilderConfig, build_map, build_scan_map
from scmpr_ros.pipeline.map_points import load_point_cloud_map
from scmpr_ros.pipeline.map_source import MapSourceConfig, drives_share_frame
from scmpr_ros.pipeline.tracking_localizer import TrackingConfig
from scmpr_ros.records import Mount, PlaceMatch, PointCloud
from scmpr_ros.retrieval.place_map import PlaceMap

PlacePositions = Literal["path", "grid"]
"""Where a map's places are: along the mapping drive's path, or all over the open ground."""

_VIEWPOINTS_PER_PLACE = 8
"""Viewpoints to shortlist for each candidate: neighbouring headings of a place come together."""


@dataclass(frozen=True)
class EvaluationConfig:
    """How the map is built and searched, and which answers are correct.

    skip_bad: leave damaged images out, with a warning, instead of stopping at the first.
    segmenters: also measure the IoU of image masks and map labels where there is ground truth.
    mount: how the camera is mounted on the vehicle; its roll and pitch level the images. By
        default they are those of the recording's extrinsics.
    """

    source: MapSourceConfig = field(default_factory=MapSourceConfig)
    builder: MapBuilderConfig = field(default_factory=MapBuilderConfig)
    localizer: LocalizerConfig = field(default_factory=LocalizerConfig)
    tracking: TrackingConfig = field(default_factory=TrackingConfig)
    tolerance: Tolerance = field(default_factory=Tolerance)
    skip_bad: bool = False
    segmenters: bool = False
    mount: Mount | None = None

    def mount_of(self, drive: Drive) -> Mount:
        """The mount of the camera of a drive."""
        return self.mount or Mount(rpy=camera_tilt(drive))


@dataclass(frozen=True)
class MappedRecording:
    """A recording's map, and the drives whose images are localised in it, by one camera.

    These are the drive that `source.sequence` names, if it has images. Otherwise all drives with
    images if there is a map.ply, whose frame they share, else only the first.
    """

    drives: tuple[Drive, ...]
    point_map: PointCloudMap
    localizer: Localizer
    mount: Mount

    @classmethod
    def of(
        cls, folder: Path, network: PlaceNetwork, config: EvaluationConfig,
        places: PlacePositions = "path",
    ) -> MappedRecording:  # fmt: skip
        """Build the map; raises DatasetError if no drive of the folder has images."""
        drives = query_drives(folder, config.source.sequence, config.source.bag)
        point_map = load_point_cloud_map(folder, config.source)
        if places == "grid":
            point_map = replace(point_map, trajectory=None)
        place_map = build_map(point_map, network, config.builder)
        mount = config.mount_of(drives[0])
        localizer = _localizer(place_map, network, config.localizer, mount)
        return cls(tuple(drives), point_map, localizer, mount)


def predict_in_map(
    folder: Path, network: PlaceNetwork, config: EvaluationConfig,
    recording: RerunRecording | None = None, places: PlacePositions = "path",
) -> Iterator[Predictions]:  # fmt: skip
    """Build the map of a recording and localise the images of its drives in it.

    recording: shows map, images, answers and truth.

    Raises DatasetError if no drive of the folder has images.
    """
    mapped = MappedRecording.of(folder, network, config, places)
    localizer, place_map = mapped.localizer, mapped.localizer.place_map
    protocol = map_protocol(config.tolerance)
    map_classes = None
    if config.segmenters:
        label_free = load_label_free_map(folder, config.source, mapped.point_map)
        map_classes = None if label_free is None else count_map_classes(label_free)
    if recording is not None:
        recording.log_map(place_map, mapped.point_map.cloud)
    for drive in mapped.drives:
        counter = _mask_counter(drive, localizer, config, mapped.mount)
        on_match = counter if recording is None else _recorder(recording, drive, counter)
        localized = localize_drive(drive, localizer, config.skip_bad, on_match=on_match)
        allowed = np.ones((len(localized.frames), len(place_map)), bool)
        yield Predictions(
            localized, place_map.positions, place_map.headings_rad, allowed,
            provenance(folder, drive, "map", localizer, mapped.mount), protocol.include_self,
            protocol.min_gap_s, None if counter is None else counter.confusion, map_classes,
        )  # fmt: skip


def predict_in_scans(
    folder: Path, sequence: str, protocol: Protocol, network: PlaceNetwork,
    config: EvaluationConfig,
) -> Predictions:  # fmt: skip
    """Localise the images of a drive among its own scans, by the rules of a protocol.

    Scans without labels are segmented by geometry. Dynamic classes are removed, as from maps. Every
    query keeps as many candidates as Recall@1 % needs.
    """
    (drive,) = open_drives(folder, sequence, config.source.bag)
    split = DriveSplit.of(drive, protocol)
    place_map = describe_scans(drive, split.scans, network, config.builder)
    search = single_scan_search(config.localizer, len(place_map))
    mount = config.mount_of(drive)
    localizer = _localizer(place_map, network, search, mount)
    counter = _mask_counter(drive, localizer, config, mount)
    localized = localize_drive(
        drive, localizer, config.skip_bad, split.allowed, split.queries, counter
    )
    return Predictions(
        localized, place_map.positions, place_map.headings_rad,
        np.stack([split.allowed(frame) for frame in localized.frames]),
        provenance(folder, drive, "scans", localizer, mount), protocol.include_self,
        protocol.min_gap_s, None if counter is None else counter.confusion,
    )  # fmt: skip


def predict_by_protocol(
    folder: Path, protocol: Protocol, network: PlaceNetwork, config: EvaluationConfig,
    sequences: Sequence[str] = (), recording: RerunRecording | None = None,
    places: PlacePositions = "path",
) -> Iterator[Predictions]:  # fmt: skip
    """Localise the images of a recording in its map, or, by the literature's protocols, in scans.

    sequences: drives whose scans are searched; the protocol's if empty. Others as of
        `predict_in_map`.
    """
    if protocol.name == "map":
        yield from predict_in_map(folder, network, config, recording, places)
        return
    for sequence in sequences or protocol.sequences:
        yield predict_in_scans(folder, sequence, protocol, network, config)


def evaluate_recording(
    folder: Path, network: PlaceNetwork, config: EvaluationConfig
) -> list[Result]:
    """Score `predict_in_map` by the config's tolerance; one result for each drive."""
    protocol = map_protocol(config.tolerance)
    return [predictions.score(protocol) for predictions in predict_in_map(folder, network, config)]


def localize_drive(
    drive: Drive,
    localizer: Localizer,
    skip_bad: bool = False,
    allowed: Callable[[int], NDArray[np.bool_]] | None = None,
    frames: Sequence[int] | None = None,
    on_match: Callable[[int, PlaceMatch], None] | None = None,
    progress: bool = True,
) -> LocalizedDrive:
    """Localise images of a drive. Latency is that of `Localizer.localize` alone.

    skip_bad: drop images that cannot be read from the queries, instead of raising their error.
    allowed: gives the places (P,) that may answer a frame; a frame without any stays unanswered.
    frames: query frames; all images by default.
    on_match: called with every frame and its match.
    progress: show a bar.
    """
    answers, queries = {}, []
    images = FrameReader(drive.image_frames if frames is None else frames, drive.image, skip_bad)
    label = f"localising {drive.name}"
    for frame, image in tqdm(images, desc=label, unit="image", disable=not progress):
        queries.append(frame)
        places = None if allowed is None else allowed(frame)
        if places is not None and not places.any():
            continue
        began_s = time.perf_counter()
        match = localizer.localize(image, drive.camera, places)
        latency_s = time.perf_counter() - began_s
        if on_match is not None:
            on_match(frame, match)
        poses = np.stack([candidate.T_map_camera for candidate in match])
        answers[frame] = Answer(poses, latency_s, match.confidence)
    truth = {frame: drive.T_world_camera(frame) for frame in queries}
    return LocalizedDrive.join(truth, {frame: frame for frame in truth}, answers)


def single_scan_search(config: LocalizerConfig, places: int) -> LocalizerConfig:
    """Rank single scans, as the literature does, instead of clusters; keep enough candidates."""
    candidates = max(config.candidates, one_percent(places))
    shortlist = max(config.shortlist, _VIEWPOINTS_PER_PLACE * candidates)
    belief = replace(config.belief, cluster_radius_m=0.0)
    return replace(config, candidates=candidates, shortlist=shortlist, belief=belief)


def _localizer(
    place_map: PlaceMap, network: PlaceNetwork, config: LocalizerConfig, mount: Mount
) -> Localizer:
    return Localizer(place_map, network, config, mount.T_base_camera_body[:3, :3])


def _mask_counter(
    drive: Drive, localizer: Localizer, config: EvaluationConfig, mount: Mount
) -> MaskCounter | None:
    return MaskCounter(drive, localizer.mask_grid, mount) if config.segmenters else None


def _recorder(
    recording: RerunRecording, drive: Drive, counter: MaskCounter | None
) -> Callable[[int, PlaceMatch], None]:
    """Return an `on_match` that shows each answer, and calls the counter."""
    recording.log_true_track(np.stack([drive.T_world_camera(f) for f in drive.image_frames]))

    def record(frame: int, match: PlaceMatch) -> None:
        if counter is not None:
            counter(frame, match)
        truth, stamp_s = drive.T_world_camera(frame), drive.stamp_s(frame)
        recording.log_single(stamp_s, drive.image(frame), drive.camera, match, truth)

    return record


def provenance(
    folder: Path, drive: Drive, database: Literal["map", "scans"], localizer: Localizer,
    mount: Mount,
) -> Provenance:  # fmt: skip
    """What the answers of a drive depend on."""
    return Provenance(
        recording=folder.name, drive=drive.name,
        condition=town_conditions(folder).get(drive.name, ""), split=town_split(folder),
        database=database, pose_source=drive.pose_source,
        fingerprint=localizer.place_map.fingerprint, localizer=to_dict(localizer.config),
        mount_rpy=mount.rpy, own_frame=not drives_share_frame(folder),
    )  # fmt: skip


def describe_scans(
    drive: Drive, frames: NDArray[np.int64], network: PlaceNetwork, config: MapBuilderConfig,
    progress: bool = True,
) -> PlaceMap:  # fmt: skip
    """The place map of single scans of a drive, without dynamic classes.

    Scans without labels are segmented by geometry. progress: show a bar.

    Raises DatasetError if some have labels and others not.
    """
    labelled = drive.scan(int(frames[0])).label is not None
    scans = _static_scans(drive, frames, labelled, progress)
    return build_scan_map(scans, network, config, None if labelled else point_confusion())


def _static_scans(
    drive: Drive, frames: NDArray[np.int64], labelled: bool, progress: bool
) -> Iterator[tuple[PointCloud, NDArray[np.float64]]]:
    for frame in map(int, tqdm(frames, "describing scans", unit="scan", disable=not progress)):
        scan = drive.scan(frame)
        if (scan.label is not None) != labelled:
            raise DatasetError(
                f"drive {drive.name}: scan {frame} has {'no ' * labelled}labels, unlike the first: "
                "label all scans or none"
            )
        if scan.label is None:
            scan = replace(scan, label=segment_points(scan))
        yield PointCloudMap.of(scan).cloud, drive.T_world_lidar(frame)


def query_drives(folder: Path, mapped: str, bag: BagReaderConfig | None = None) -> list[Drive]:
    """Drives whose images are localised in the map of a recording, at least one.

    mapped: the drive that the map is made of, if named. bag: options of bags.
    Raises DatasetError if none has images.
    """
    drives = open_drives(folder, bag=bag)
    with_images = [drive for drive in drives if drive.image_frames]
    if not with_images:
        raise DatasetError(
            f"{folder}: none of its {len(drives)} drives has images to localise "
            f"({', '.join(drive.name for drive in drives)})"
        )
    named = [drive for drive in with_images if drive.name == mapped]
    if named or mapped:
        return named or with_images[:1]
    return with_images if drives_share_frame(folder) else with_images[:1]
