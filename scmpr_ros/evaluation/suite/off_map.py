"""Entries `off_map`: the confidence of answers to images that were not taken in the map."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from scmpr_ros.errors import DatasetError
from scmpr_ros.evaluation.evaluate import localize_drive
from scmpr_ros.evaluation.suite.entry import Column, Entry, Numbers, camera_drive
from scmpr_ros.evaluation.suite.workbench import Places, Workbench
from scmpr_ros.pipeline.states import StateConfig
from scmpr_ros.records import Mount


@dataclass(frozen=True)
class OffMapEntry(Entry):
    """A drive's images in the map of somewhere else.

    images: the recording whose images are taken; drive: which of its drives. map: the recording
    that is searched; without one, the town that is given to the command. sequence: the drive that
    mapped it. places: see `RecallEntry`. mount: how the camera is mounted on the vehicle.
    """

    images: Path
    map: Path | None = None
    drive: str = ""
    sequence: str = ""
    places: Places = "path"
    mount: Mount = field(default_factory=Mount)

    title = "Off-map images"
    rules = (
        "No image was taken in the map, so every answer is wrong and its confidence should be low. "
        "LOC: share of the answers whose confidence makes the localizer LOCALIZED."
    )
    columns = (
        Column("N", "num_images", "{}"),
        Column("P", "num_places", "{}"),
        Column("mean conf.", "mean_confidence", "{:.2f}"),
        Column("95th percentile", "confidence_95", "{:.2f}"),
        Column("LOC", "localized"),
    )

    def needs(self, bench: Workbench) -> list[Path]:
        """Both recordings."""
        searched = self._map(bench)
        return [bench.data / self.images, Path("--town") if searched is None else searched]

    def measure(self, bench: Workbench) -> Numbers:
        """Localise every image in the wrong map."""
        searched = self._map(bench)
        if searched is None:
            raise DatasetError(f"{self.name} has no map")
        drive = camera_drive(bench.data / self.images, "", self.drive)
        localizer = bench.localizer(searched, self.sequence, self.places, self.mount)
        localized = localize_drive(drive, localizer, bench.config.skip_bad, progress=False)
        confidences, threshold = localized.confidences, StateConfig().localized_confidence
        return {
            "num_images": len(confidences), "num_places": len(localizer.place_map),
            "mean_confidence": float(confidences.mean()),
            "confidence_95": float(np.percentile(confidences, 95)),
            "localized": float((confidences >= threshold).mean()), "threshold": threshold,
        }  # fmt: skip

    def _map(self, bench: Workbench) -> Path | None:
        return bench.town if self.map is None else bench.data / self.map
