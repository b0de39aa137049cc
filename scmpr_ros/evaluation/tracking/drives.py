"""Drives whose images are encoded once, to be run through a tracker many times."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from scmpr_ros.datasets.drive import Drive, FrameReader
from scmpr_ros.datasets.simulated_odometry import OdometryNoise, drifting_odometry
from scmpr_ros.methods.network import Query
from scmpr_ros.pipeline.localizer import EncodedImage, Localizer
from scmpr_ros.pipeline.tracking_localizer import TrackedAnswer, TrackingLocalizer

Array = NDArray[np.float64]


@dataclass(frozen=True)
class EncodedDrive:
    """N images of a drive as the network sees them, with the truth.

    stamps_s: (N,) rising. T_true: (N, 4, 4) `T_map_camera`. frames: of the drive, for those who
    want the images again.
    """

    name: str
    images: tuple[EncodedImage, ...]
    stamps_s: Array
    T_true: Array
    frames: tuple[int, ...] = ()

    def __len__(self) -> int:
        return len(self.images)

    @classmethod
    def encode(
        cls, drive: Drive, localizer: Localizer, skip_bad: bool = False, progress: bool = True
    ) -> EncodedDrive:
        """Read and encode all images. skip_bad: leave out those that cannot be read."""
        images, frames = [], []
        reader = FrameReader(drive.image_frames, drive.image, skip_bad)
        bar = tqdm(reader, f"encoding {drive.name}", unit="image", disable=not progress or None)
        for frame, image in bar:
            images.append(_without_features(localizer.encode(image, drive.camera)))
            frames.append(frame)
        stamps_s = np.array([drive.stamp_s(frame) for frame in frames])
        T_true = np.stack([drive.T_world_camera(frame) for frame in frames])
        return cls(drive.name, tuple(images), stamps_s, T_true, tuple(frames))

    def run(
        self, tracking: TrackingLocalizer, rows: Sequence[int], odometry: Array | None,
        stamps_s: Array | None = None,
    ) -> Iterator[tuple[int, TrackedAnswer]]:  # fmt: skip
        """Yield row and answer of each image, in order.

        odometry: (M, 4, 4) `T_odom_camera` of the M rows; None without. stamps_s: (M,), instead of
        the drive's.
        """
        for number, row in enumerate(rows):
            T_odom_camera = None if odometry is None else odometry[number]
            stamp_s = self.stamps_s[row] if stamps_s is None else stamps_s[number]
            yield row, tracking.locate_encoded(self.images[row], float(stamp_s), T_odom_camera)

    def odometry(self, rows: Sequence[int], noise: OdometryNoise | None, seed: int) -> Array | None:
        """Drifting odometry (M, 4, 4) of the M rows; None without noise, that is without any."""
        return None if noise is None else drifting_odometry(self.T_true[list(rows)], noise, seed)

    def distance_m(self, first: int, last: int) -> float:
        """Metres travelled from one image to a later one."""
        return float(travelled_m(self.T_true[first : last + 1])[-1])


def travelled_m(T_map_camera: Array) -> Array:
    """Metres travelled since the first of N poses (N, 4, 4), horizontally: (N,)."""
    steps_m = np.linalg.norm(np.diff(T_map_camera[:, :2, 3], axis=0), axis=1)
    return np.concatenate([[0.0], np.cumsum(steps_m)])


def _without_features(image: EncodedImage) -> EncodedImage:
    """The features are large, and only the encoder needs them."""
    prediction = image.query.prediction
    if prediction is not None:
        prediction = prediction._replace(features=prediction.features[..., :0])
    return EncodedImage(Query(image.query.descriptor, prediction), image.seen)
