"""Entries `ranks`: how far down the scan of a revisited place stands among single scans."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from scmpr_ros.datasets.drive import Drive
from scmpr_ros.errors import ConfigError, DatasetError
from scmpr_ros.evaluation.evaluate import describe_scans, single_scan_search
from scmpr_ros.evaluation.suite.entry import Column, Numbers, RecordingEntry, camera_drive
from scmpr_ros.evaluation.suite.workbench import Workbench
from scmpr_ros.pipeline.localizer import Localizer


@dataclass(frozen=True)
class RanksEntry(RecordingEntry):
    """Ranks of scans among all single scans of their drive but the image's own.

    pairs: frame of an image, and frame of the scan that was taken where the image was.
    """

    pairs: tuple[tuple[int, int], ...] = ()

    title = "Ranks of revisited scans"
    rules = (
        "Each image is searched among the single scans of its drive, its own left out. The rank is "
        "that of the scan taken at the same place on another visit; chance is the mean rank of a "
        "random order. Own scan: images whose own scan comes first if it is not left out."
    )
    columns = (
        Column("ranks (image: scan)", "ranks", "{}"),
        Column("mean", "mean_rank", "{:.1f}"),
        Column("chance", "chance", "{:.1f}"),
        Column("scans", "num_scans", "{}"),
        Column("own scan first", "own_scan_first"),
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.pairs:
            raise ConfigError(f"{self.name}: name pairs, each an image and a scan")

    def measure(self, bench: Workbench) -> Numbers:
        """Describe all scans, and search the images among them."""
        folder = bench.data / self.recording
        drive = camera_drive(folder, self.sequence, self.drive, self.bag)
        scans = np.asarray(drive.scan_frames, np.int64)
        self._check_frames(drive)
        localizer = self._localizer(drive, scans, bench)
        ranks = {f"{image}: {scan}": self._rank(drive, localizer, scans, image, scan)
                 for image, scan in self.pairs}  # fmt: skip
        return {
            "ranks": ", ".join(f"{pair} is {rank}" for pair, rank in ranks.items()),
            "rank_of_pair": ranks, "mean_rank": float(np.mean(list(ranks.values()))),
            "chance": len(scans) / 2, "num_scans": len(scans) - 1,
            "own_scan_first": _own_scan_first(drive, localizer, scans),
        }  # fmt: skip

    def _check_frames(self, drive: Drive) -> None:
        for image, scan in self.pairs:
            if image not in drive.image_frames or scan not in drive.scan_frames:
                raise DatasetError(
                    f"{self.recording}: drive {drive.name} lacks image {image} or scan {scan}"
                )

    def _localizer(self, drive: Drive, scans: np.ndarray, bench: Workbench) -> Localizer:
        """A localizer that ranks every scan."""
        place_map = describe_scans(
            drive, scans, bench.network, bench.config.builder, progress=False
        )
        P, V = len(place_map), len(place_map.headings_rad)
        search = single_scan_search(bench.config.localizer, P)
        search = replace(search, candidates=P, shortlist=P * V)  # so that every scan has a rank
        return Localizer(place_map, bench.network, search, self.mount.T_base_camera_body[:3, :3])

    @staticmethod
    def _rank(drive: Drive, localizer: Localizer, scans: np.ndarray, image: int, scan: int) -> int:
        match = localizer.localize(drive.image(image), drive.camera, scans != image)
        order = [int(scans[candidate.place_index]) for candidate in match]
        return order.index(scan) + 1


def _own_scan_first(drive: Drive, localizer: Localizer, scans: np.ndarray) -> float:
    """Share of the images with a scan for which it comes first."""
    images = [frame for frame in drive.image_frames if frame in scans]
    first = [
        scans[localizer.localize(drive.image(frame), drive.camera).best.place_index] == frame
        for frame in images
    ]
    return float(np.mean(first))
