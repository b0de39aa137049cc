"""Entries `off_map`: what is made of images that were not taken in the map."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from scmpr_ros.datasets.bags.options import BagReaderConfig
from scmpr_ros.evaluation.suite.entry import Column, Entry, Numbers, camera_drive
from scmpr_ros.evaluation.suite.workbench import Places, Workbench
from scmpr_ros.evaluation.tracking import EncodedDrive, TrackingTrials, track
from scmpr_ros.pipeline.states import LOCALIZED
from scmpr_ros.records import Mount


@dataclass(frozen=True)
class OffMapEntry(Entry):
    """A drive's images in the map of somewhere else.

    images: the recording whose images are taken; drive: which of its drives. map: the recording
    that is searched; without one, the town that is given to the command. sequence: the drive that
    mapped it. places: see `RecallEntry`. mount: how the camera is mounted on the vehicle.
    bag: options of the recordings that are bags.
    """

    images: Path
    map: Path | None = None
    drive: str = ""
    sequence: str = ""
    places: Places = "path"
    mount: Mount = field(default_factory=Mount)
    bag: BagReaderConfig = field(default_factory=BagReaderConfig)

    title = "Off-map images"
    rules = (
        "No image was taken in the map, so every answer is wrong and its confidence should be low. "
        "Off: mean probability of the tracker, with drifting odometry, that the camera is not on "
        "the map. LOC: share of the images that leave it LOCALIZED."
    )
    columns = (
        Column("N", "num_images", "{}"),
        Column("P", "num_places", "{}"),
        Column("mean conf.", "mean_confidence", "{:.2f}"),
        Column("95th percentile", "confidence_95", "{:.2f}"),
        Column("off", "off_map", "{:.2f}"),
        Column("LOC", "localized"),
    )

    def needs(self, bench: Workbench) -> list[Path]:
        """Both recordings."""
        return [bench.data / self.images, self._map(bench)]

    def missing(self, bench: Workbench) -> str:
        """A town, if it is needed and not named, or the first missing recording."""
        if self.map is None and bench.town is None:
            return "recording of a town: name one with --town"
        return super().missing(bench)

    def measure(self, bench: Workbench) -> Numbers:
        """Localise every image in the wrong map, alone and by the tracker."""
        drive = camera_drive(bench.data / self.images, "", self.drive, self.bag)
        localizer = bench.localizer(
            self._map(bench), self.sequence, self.places, self.mount, self.bag
        )
        encoded = EncodedDrive.encode(drive, localizer, bench.config.skip_bad, progress=False)
        tracked = track(encoded, localizer, bench.config.tracking, TrackingTrials(), progress=False)
        confidences = tracked.single_confidence
        return {
            "num_images": len(confidences), "num_places": len(localizer.place_map),
            "mean_confidence": float(confidences.mean()),
            "confidence_95": float(np.percentile(confidences, 95)),
            "off_map": float(tracked.off_map_probability.mean()),
            "localized": float((tracked.state == LOCALIZED).mean()),
        }  # fmt: skip

    def _map(self, bench: Workbench) -> Path:
        """The recording that is searched."""
        if self.map is not None:
            return bench.data / self.map
        assert bench.town is not None  # else the entry is skipped
        return bench.town
