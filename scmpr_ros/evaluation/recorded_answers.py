"""Scores what a running localizer answered to a bag, from the file of `record_answers`."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from scmpr_ros.datasets.bags.options import BagReaderConfig
from scmpr_ros.datasets.bags.reader import BagDrive
from scmpr_ros.datasets.recordings import open_drives
from scmpr_ros.errors import DatasetError
from scmpr_ros.evaluation.localized_drive import LocalizedDrive, read_answers
from scmpr_ros.evaluation.predictions import Predictions
from scmpr_ros.evaluation.protocols import Protocol
from scmpr_ros.evaluation.result import Provenance
from scmpr_ros.retrieval.place_map import PlaceMap


def predict_from_answers(
    bag: Path,
    answers: Path,
    map_directory: Path,
    protocol: Protocol,
    config: BagReaderConfig | None = None,
) -> Predictions:
    """Pair recorded answers with the images and true poses of the bag that was played.

    answers: JSON lines of `record_answers`. map_directory: place map of the localizer, which gives
    the level of chance. config: options of the bag. An image without an answer counts as wrong.

    Raises DatasetError if `bag` is no bag, has no images or poses, or none of its images was
    answered; MapFormatError if there is no map.
    """
    (drive,) = open_drives(bag, bag=config)
    if not isinstance(drive, BagDrive):
        raise DatasetError(f"{bag} is no bag: name the bag that was played")
    frames = drive.image_frames
    if not frames:
        raise DatasetError(f"{bag} has no images with a true pose")
    stamps_ns = {frame: drive.stamp_ns(frame) for frame in frames}
    found = read_answers(answers)
    if not found.keys() & set(stamps_ns.values()):
        raise DatasetError(
            f"none of the {len(found)} answers in {answers} has the stamp of an image in {bag}: "
            "is it the bag that was played?"
        )
    place_map = PlaceMap.load(map_directory)
    truth = {frame: drive.T_world_camera(frame) for frame in frames}
    localized = LocalizedDrive.join(truth, stamps_ns, found)
    return Predictions(
        localized, place_map.positions, place_map.headings_rad,
        np.ones((len(frames), len(place_map)), bool),
        Provenance(
            bag.resolve().name, drive.name, "", "map", drive.pose_source, place_map.fingerprint, {}
        ),
        protocol.include_self, protocol.min_gap_s,
    )  # fmt: skip
