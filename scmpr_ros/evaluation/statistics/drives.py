"""What recordings look like in numbers, and how far they are from the first of them."""

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
    "clipped black": ("share", "pixels with no channel above 3"),
    "clipped white": ("share", "pixels with no channel below 252"),
    "red": ("grey levels", "values of the channel"),
    "green": ("grey levels", "values of the channel"),
    "blue": ("grey levels", "values of the channel"),
    "saturation": ("of 1", "1 - lowest / highest channel of the pixels"),
    "gradient": ("grey levels per px", "length of the luminance's central differences"),
    "local contrast": ("grey levels", "standard deviation of luminance in blocks of 8x8 px"),
    "edge sharpness": ("1/px", "95 % quantile of |Laplacian| / gradient on the strongest edges"),
    "noise": ("grey levels", "noise in the flattest tenth of blocks (Immerkaer 1996)"),
    "spectrum": ("cycles per px", "power by frequency, equal in all bins where it falls as 1/f^2"),
    "spectrum slope": ("", "exponent of the power, fitted from 0.03 to 0.3 cycles per px"),
    "pixel classes": ("class", "joint classes of the masks' pixels"),
    "pixel classes, top third": ("class", "the same, of the upper third of the rows"),
    "pixel classes, middle third": ("class", "the same, of the middle third of the rows"),
    "pixel classes, bottom third": ("class", "the same, of the lower third of the rows"),
    "returns per scan": ("", "points of a scan"),
    "beams without return": ("share", "1 - points of a scan / sensor_beams"),
    "elevation": ("deg", "returns by elevation seen from the LiDAR, 64 rows from -25 to 3 deg"),
    "range": ("m", "distance of the returns from the LiDAR"),
    "height": ("m", "height of the returns above the ground below them"),
    "intensity": ("of 1", "intensity of the returns"),
    "ground roughness": ("m", "median distance of near ground points from their cell's plane"),
    "point classes": ("class", "joint classes of the scans' points"),
}
"""Unit and meaning of every quantity, by name; quantiles and means have those of their quantity."""

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

    frames: images, and scans, of each recording; spread evenly over it.
    sensor_beams: what the LiDAR fires in a rotation, rings times columns.
    focal_px: if focal lengths differ by over 2 %, images are reduced to it, or to the smallest.
    """

    frames: int = 60
    sensor_beams: int = 64 * 2048
    focal_px: float = 360.0

    def __post_init__(self) -> None:
        for name in ("frames", "sensor_beams", "focal_px"):
            if getattr(self, name) <= 0:
                raise ConfigError(f"{name} is {getattr(self, name)}, but must be positive")


@dataclass(frozen=True)
class Recording:
    """One or several drives that are measured as one."""

    name: str
    drives: tuple[Drive, ...]

    def __post_init__(self) -> None:
        if not any(d.image_frames or d.scan_frames for d in self.drives):
            drives = ", ".join(d.name for d in self.drives)
            raise DatasetError(
                f"{self.name}: neither images nor scans in its drives ({drives}), so there is "
                "nothing to measure; KITTI layout keeps them in image_2/ and velodyne/"
            )

    def image_frames(self, count: int) -> list[tuple[Drive, int]]:
        """At most `count` frames with an image, spread evenly over the drives."""
        return _spread([(d, frame) for d in self.drives for frame in d.image_frames], count)

    def scan_frames(self, count: int) -> list[tuple[Drive, int]]:
        """At most `count` frames with a scan, spread evenly over the drives."""
        return _spread([(d, frame) for d in self.drives for frame in d.scan_frames], count)


@dataclass(frozen=True)
class DriveStatistics:
    """What was measured of one recording: see `MEANINGS`. numbers are means over the frames."""

    name: str
    numbers: dict[str, float]
    distributions: dict[str, Distribution]

    def summary(self) -> dict[str, float]:
        """All numbers by name, and means and quantiles of the distributions, in fixed order."""
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
        """Plain values for JSON; `from_dict` takes them back."""
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
    """How far two distributions are apart, see `wasserstein` and `jensen_shannon`."""

    wasserstein: float
    unit: str
    jensen_shannon_bits: float


@dataclass(frozen=True)
class Comparison:
    """Several recordings beside the first.

    focal_px: focal length that all images were reduced to, or None where they are as stored.
    halves: distances between the first and the second half of the first recording, as a measure
        of what is equal.
    to_first: distances of each further recording from the first.
    """

    config: StatisticsConfig
    focal_px: float | None
    recordings: tuple[DriveStatistics, ...]
    halves: dict[str, Distance]
    to_first: tuple[dict[str, Distance], ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        further = zip(self.recordings[1:], self.to_first, strict=True)
        return {
            "config": asdict(self.config),
            "focal_px": self.focal_px,
            "meanings": {name: f"{m} [{u}]" if u else m for name, (u, m) in MEANINGS.items()},
            "recordings": [r.to_dict() for r in self.recordings],
            "halves_of_first": _plain(self.halves),
            "distances_to_first": {r.name: _plain(distances) for r, distances in further},
        }


@dataclass(frozen=True)
class _Measured:
    """Measurements of a recording's frames, in the order of the drive."""

    images: Sequence[Measurement]
    masks: Sequence[Measurement]
    scans: Sequence[Measurement]

    def part(self, start: float, end: float) -> _Measured:
        """What lies between two shares of the drive."""
        parts = [p[round(start * len(p)) : round(end * len(p))] for p in self._kinds().values()]
        return _Measured(*parts)

    def statistics(self, name: str) -> DriveStatistics:
        """All frames as one."""
        kinds = self._kinds()
        pooled = Measurement.pool([m for measurements in kinds.values() for m in measurements])
        numbers = {kind: float(len(found)) for kind, found in kinds.items()} | {**pooled.numbers}
        if "spectrum" in pooled.distributions:
            numbers["spectrum slope"] = spectrum_slope(pooled.distributions["spectrum"])
        return DriveStatistics(name, numbers, dict(pooled.distributions))

    def _kinds(self) -> dict[str, Sequence[Measurement]]:
        return {"images": self.images, "masks": self.masks, "scans": self.scans}


def compare_recordings(recordings: Sequence[Recording], config: StatisticsConfig) -> Comparison:
    """Measure recordings; the first is what the others are held against.

    Raises ConfigError where two have the same name.
    """
    names = [r.name for r in recordings]
    if len(set(names)) < len(names):
        raise ConfigError(f"recordings need names of their own, but are called {', '.join(names)}")
    focal_px = common_focal_px(recordings, config.focal_px)
    measured = [_measure(recording, config, focal_px) for recording in recordings]
    first, *others = [m.statistics(name) for m, name in zip(measured, names, strict=True)]
    early, late = (measured[0].part(*p).statistics("half") for p in ((0, 0.5), (0.5, 1)))
    return Comparison(
        config, focal_px, (first, *others), distances(early, late),
        tuple(distances(first, other) for other in others),
    )  # fmt: skip


def common_focal_px(recordings: Sequence[Recording], reduced_px: float) -> float | None:
    """Focal length to compare images at: None, as they are, where all agree to 2 %.

    Otherwise `reduced_px`, or the smallest of all: no image is ever enlarged.
    """
    focal_px = [d.camera.fx for r in recordings for d in r.drives if d.image_frames]
    if not focal_px or max(focal_px) <= _EQUAL_FOCAL_LENGTHS * min(focal_px):
        return None
    return min(reduced_px, *focal_px)


def distances(first: DriveStatistics, other: DriveStatistics) -> dict[str, Distance]:
    """How far the other is from the first, in every distribution that both have."""
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
    """At most `count` of the frames, evenly spaced."""
    if len(frames) <= count:
        return frames
    at = (np.arange(count) + 0.5) * len(frames) / count
    return [frames[int(i)] for i in at]


def _plain(distances: dict[str, Distance]) -> dict[str, dict[str, Any]]:
    return {name: asdict(distance) for name, distance in distances.items()}
