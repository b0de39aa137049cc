"""Measure recordings and compare them with the first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from scmpr_ros.datasets.drive import Drive
from scmpr_ros.errors import ConfigError, DatasetError
from scmpr_ros.evaluation.statistics.distribution import (
    Distribution,
    Measurement,
    jensen_shannon,
    wasserstein,
)
from scmpr_ros.evaluation.statistics.images import measure_image, measure_mask, spectrum_slope
from scmpr_ros.evaluation.statistics.scans import measure_scan

MEANINGS = {
    "images": ("", "images measured"),
    "masks": ("", "masks measured"),
    "scans": ("", "scans measured"),
    "luminance": ("grey levels", "Rec. 601 luminance of the pixels, 0 to 255"),
    "clipped black": ("fraction", "pixels with no channel above 3"),
    "clipped white": ("fraction", "pixels with no channel below 252"),
    "red": ("grey levels", "values of the channel"),
    "green": ("grey levels", "values of the channel"),
    "blue": ("grey levels", "values of the channel"),
    "saturation": ("0 to 1", "1 - lowest / highest channel of the pixels"),
    "gradient": ("grey levels per px", "magnitude of the luminance's central differences"),
    "local contrast": ("grey levels", "standard deviation of luminance in blocks of 8x8 px"),
    "edge sharpness": ("1/px", "95 % quantile of |Laplacian| / gradient on the strongest edges"),
    "noise": ("grey levels", "noise in the flattest tenth of blocks (Immerkaer 1996)"),
    "spectrum": ("cycles per px", "power by frequency, weighted so that 1/f^2 is constant"),
    "spectrum slope": ("", "exponent of the power, fitted from 0.03 to 0.3 cycles per px"),
    "pixel classes": ("class", "joint classes of the masks' pixels"),
    "pixel classes, top third": ("class", "the same in the upper third of the rows"),
    "pixel classes, middle third": ("class", "the same in the middle third of the rows"),
    "pixel classes, bottom third": ("class", "the same in the lower third of the rows"),
    "returns per scan": ("", "points in a scan"),
    "beams without return": ("fraction", "1 - points in a scan / sensor_beams"),
    "elevation": ("deg", "elevation of the returns from the LiDAR, 64 rows from -25 to 3 deg"),
    "range": ("m", "distance of the returns from the LiDAR"),
    "height": ("m", "height of the returns above the ground"),
    "intensity": ("0 to 1", "intensity of the returns"),
    "ground roughness": ("m", "median distance of near ground points from their cell's plane"),
    "point classes": ("class", "joint classes of the scans' points"),
}
"""Unit and meaning of every quantity by name, also for its quantiles and means."""

_QUANTILES = {
    "luminance": (1, 5, 25, 50, 75, 95, 99), "saturation": (50, 95),
    "gradient": (25, 50, 75, 95, 99), "local contrast": (5, 25, 50, 75, 95),
    "elevation": (5, 50, 95), "range": (5, 50, 95), "height": (50, 95), "intensity": (5, 50, 95),
}  # fmt: skip
_MEANS = ("luminance", "red", "green", "blue")
_EQUAL_FOCAL_LENGTHS = 1.02


@dataclass(frozen=True)
class StatisticsConfig:
    """How recordings are measured.

    frames: number of images and of scans per recording, spread evenly.
    sensor_beams: beams of the LiDAR per rotation, rings times columns.
    focal_px: if focal lengths differ by more than 2 %, all images are scaled down to this one, or
        to the smallest.
    """

    frames: int = 60
    sensor_beams: int = 64 * 2048
    focal_px: float = 360.0

    def __post_init__(self) -> None:
        for name in ("frames", "sensor_beams", "focal_px"):
            if getattr(self, name) <= 0:
                raise ConfigError(f"{name} is {getattr(self, name)}, must be positive")


@dataclass(frozen=True)
class Recording:
    """Drives that are measured together."""

    name: str
    drives: tuple[Drive, ...]

    def __post_init__(self) -> None:
        if not any(d.image_frames or d.scan_frames for d in self.drives):
            drives = ", ".join(d.name for d in self.drives)
            raise DatasetError(
                f"{self.name}: neither images nor scans in its drives ({drives}), nothing to "
                "measure; KITTI odometry layout has them in image_2/ and velodyne/"
            )

    def image_frames(self, count: int) -> list[tuple[Drive, int]]:
        """At most `count` frames with an image, spread evenly over the drives."""
        return _spread([(d, frame) for d in self.drives for frame in d.image_frames], count)

    def scan_frames(self, count: int) -> list[tuple[Drive, int]]:
        """At most `count` frames with a scan, spread evenly over the drives."""
        return _spread([(d, frame) for d in self.drives for frame in d.scan_frames], count)


@dataclass(frozen=True)
class DriveStatistics:
    """Statistics of a recording, see `MEANINGS`; numbers are means over its frames."""

    name: str
    numbers: dict[str, float]
    distributions: dict[str, Distribution]

    def summary(self) -> dict[str, float]:
        """Numbers, and means and quantiles of distributions, by name in the order of `MEANINGS`."""
        values: dict[str, float] = {}
        for name in MEANINGS:
            if name in self.numbers:
                values[name] = self.numbers[name]
            distribution = self.distributions.get(name)
            if distribution is None:
                continue
            if name in _MEANS:
                values[f"{name}, mean"] = distribution.mean
            if name == "luminance":
                values[f"{name}, std"] = distribution.std
            for percent in _QUANTILES.get(name, ()):
                values[f"{name}, {percent} %"] = distribution.quantile(percent / 100)
        return values

    def to_dict(self) -> dict[str, Any]:
        """Convert to plain values for JSON."""
        distributions = {name: d.to_dict() for name, d in self.distributions.items()}
        return {"name": self.name, "summary": self.summary(), "numbers": self.numbers,
                "distributions": distributions}  # fmt: skip

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> DriveStatistics:
        """The inverse of `to_dict`."""
        distributions = values["distributions"].items()
        return cls(values["name"], values["numbers"],
                   {name: Distribution.from_dict(d) for name, d in distributions})  # fmt: skip


@dataclass(frozen=True)
class Distance:
    """Distance between two distributions, see `wasserstein` and `jensen_shannon`."""

    wasserstein: float
    unit: str
    jensen_shannon_bits: float


@dataclass(frozen=True)
class Comparison:
    """Comparison of recordings with the first.

    focal_px: focal length that all images were scaled down to, or None if unchanged.
    halves: distances between the two halves of the first recording, as a baseline.
    to_first: distances of the other recordings from the first.
    """

    config: StatisticsConfig
    focal_px: float | None
    recordings: tuple[DriveStatistics, ...]
    halves: dict[str, Distance]
    to_first: tuple[dict[str, Distance], ...]

    def to_dict(self) -> dict[str, Any]:
        """Convert to plain values for JSON."""
        others = zip(self.recordings[1:], self.to_first, strict=True)
        return {
            "config": asdict(self.config),
            "focal_px": self.focal_px,
            "meanings": {name: f"{m} [{u}]" if u else m for name, (u, m) in MEANINGS.items()},
            "recordings": [r.to_dict() for r in self.recordings],
            "halves_of_first": _plain(self.halves),
            "distances_to_first": {r.name: _plain(distances) for r, distances in others},
        }


@dataclass(frozen=True)
class _Measured:
    """Measurements of a recording's frames in driving order."""

    images: Sequence[Measurement]
    masks: Sequence[Measurement]
    scans: Sequence[Measurement]

    def part(self, start: float, end: float) -> _Measured:
        """Select the part between two fractions of the recording."""
        parts = [p[round(start * len(p)) : round(end * len(p))] for p in self._kinds().values()]
        return _Measured(*parts)

    def statistics(self, name: str) -> DriveStatistics:
        """Pool all frames."""
        kinds = self._kinds()
        pooled = Measurement.pool([m for measurements in kinds.values() for m in measurements])
        numbers = {kind: float(len(found)) for kind, found in kinds.items()} | {**pooled.numbers}
        if "spectrum" in pooled.distributions:
            numbers["spectrum slope"] = spectrum_slope(pooled.distributions["spectrum"])
        return DriveStatistics(name, numbers, dict(pooled.distributions))

    def _kinds(self) -> dict[str, Sequence[Measurement]]:
        return {"images": self.images, "masks": self.masks, "scans": self.scans}


def compare_recordings(recordings: Sequence[Recording], config: StatisticsConfig) -> Comparison:
    """Measure recordings and compare them with the first.

    Raises ConfigError if two have the same name.
    """
    names = [r.name for r in recordings]
    if len(set(names)) < len(names):
        raise ConfigError(f"recordings need different names, got {', '.join(names)}")
    focal_px = common_focal_px(recordings, config.focal_px)
    measured = [_measure(recording, config, focal_px) for recording in recordings]
    first, *others = [m.statistics(name) for m, name in zip(measured, names, strict=True)]
    early, late = (measured[0].part(*p).statistics("half") for p in ((0, 0.5), (0.5, 1)))
    return Comparison(
        config, focal_px, (first, *others), distances(early, late),
        tuple(distances(first, other) for other in others),
    )  # fmt: skip


def common_focal_px(recordings: Sequence[Recording], reduced_px: float) -> float | None:
    """Focal length at which to compare images, or None if all agree within 2 %.

    It is `reduced_px`, or the smallest one: images are never enlarged.
    """
    focal_px = [d.camera.fx for r in recordings for d in r.drives if d.image_frames]
    if not focal_px or max(focal_px) <= _EQUAL_FOCAL_LENGTHS * min(focal_px):
        return None
    return min(reduced_px, *focal_px)


def distances(first: DriveStatistics, other: DriveStatistics) -> dict[str, Distance]:
    """Distances in every distribution that both have, by name."""
    pairs = {
        name: (first.distributions[name], other.distributions[name])
        for name in MEANINGS
        if name in first.distributions and name in other.distributions
    }
    return {
        name: Distance(wasserstein(a, b), a.axis.distance_unit, jensen_shannon(a, b))
        for name, (a, b) in pairs.items()
    }


def _measure(recording: Recording, config: StatisticsConfig, focal_px: float | None) -> _Measured:
    images, masks, scans = [], [], []
    frames = recording.image_frames(config.frames)
    for drive, frame in tqdm(frames, desc=f"measuring {recording.name}", unit="image"):
        images.append(measure_image(_at_focal_length(drive, frame, focal_px)))
        mask = drive.mask(frame)
        if mask is not None:
            masks.append(measure_mask(mask))
    frames = recording.scan_frames(config.frames)
    for drive, frame in tqdm(frames, desc=f"measuring {recording.name}", unit="scan"):
        scans.append(measure_scan(drive.scan(frame), config.sensor_beams))
    return _Measured(images, masks, scans)


def _at_focal_length(drive: Drive, frame: int, focal_px: float | None) -> NDArray[np.uint8]:
    image = drive.image(frame)
    if focal_px is None:
        return image
    scale = focal_px / drive.camera.fx
    size = round(image.shape[1] * scale), round(image.shape[0] * scale)
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def _spread(frames: list[tuple[Drive, int]], count: int) -> list[tuple[Drive, int]]:
    """Select at most `count` frames, evenly spaced."""
    if len(frames) <= count:
        return frames
    at = (np.arange(count) + 0.5) * len(frames) / count
    return [frames[int(i)] for i in at]


def _plain(distances: dict[str, Distance]) -> dict[str, dict[str, Any]]:
    return {name: asdict(distance) for name, distance in distances.items()}
