"""Localises a drive by nodes: processes that exchange real messages over DDS.

Nothing of ROS is imported here, and no node is known by name: the caller says what to start. Nodes
take parameters, a bag and remapped topics, and leave files.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from scmpr_ros.datasets.bags.options import BagTopics
from scmpr_ros.datasets.bags.writer import BagWriterConfig, write_drive_bag
from scmpr_ros.datasets.drive import Drive
from scmpr_ros.datasets.simulated_odometry import OdometryNoise
from scmpr_ros.errors import ConfigError, DatasetError, MapFormatError
from scmpr_ros.evaluation.localized_drive import LocalizedDrive, read_answers
from scmpr_ros.evaluation.node_processes import NodeCommand, NodeProcesses
from scmpr_ros.evaluation.trajectory import TrackedDrive, read_tracked_drive
from scmpr_ros.retrieval.place_map import PlaceMap


@dataclass(frozen=True)
class RosSessionConfig:
    """How a drive is played to the nodes, and how long they may take."""

    image_hz: float = 3.0
    """Images played per second, whatever the rate of the recording."""
    queue_size: int = 10
    """Images that may wait in the localizer, so that every image is answered."""
    map_timeout_s: float = 900.0
    """For loading and encoding the map."""
    start_timeout_s: float = 180.0
    """For recorder and player to start and to find the localizer."""
    answer_timeout_s: float = 60.0
    """For the next answer."""
    topics: BagTopics = field(default_factory=BagTopics)
    odometry: OdometryNoise = field(default_factory=OdometryNoise)
    """Errors of the odometry that goes into the bag; it is made from the true poses."""

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if name not in ("topics", "odometry") and not value > 0:
                raise ConfigError(f"{name} must be positive, got {value}")


class RosSession:
    """Nodes that localise a drive; leaving the context ends them all.

    folder: receives the place map, the bag, the answers and the logs.
    fastdds_profile: Fast DDS needs it for large images (README).
    map_folder, bag, answers: files that nodes write and read.

    The nodes use a ROS domain of their own, on this machine only.
    """

    def __init__(
        self, folder: Path, fastdds_profile: Path, config: RosSessionConfig | None = None
    ) -> None:
        self.folder = folder.resolve()
        self.map_folder = self.folder / "place_map"
        self.bag = self.folder / "bag"
        self.answers = self.folder / "answers.jsonl"
        self.config = config or RosSessionConfig()
        self.domain_id = 1 + os.getpid() % 100  # up to 101 is safe on every platform
        self._nodes = NodeProcesses(
            self.folder / "logs",
            {
                "ROS_DOMAIN_ID": str(self.domain_id),
                "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST",
                "FASTDDS_DEFAULT_PROFILES_FILE": str(fastdds_profile),
            },
        )

    def __enter__(self) -> RosSession:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._nodes.stop()

    def start(self, *nodes: NodeCommand) -> None:
        """Start nodes that run until the end of the session."""
        for node in nodes:
            self._nodes.start_node(node)

    def wait_for_map(self) -> PlaceMap:
        """Wait until a node has written a place map to `map_folder`, and load it."""
        self._nodes.wait_until(self._has_map, self.config.map_timeout_s, "no place map yet")
        return PlaceMap.load(self.map_folder)

    def _has_map(self) -> bool:
        try:
            PlaceMap.load(self.map_folder)
        except MapFormatError:
            return False
        return True

    def write_bag(self, drive: Drive, progress: bool = False) -> None:
        """Write the drive's images to `bag`, and odometry that drifts.

        The odometry is made from the true poses, with the errors of `OdometryNoise`. The base is at
        the camera, so that it is the camera's.
        """
        x, y, z = (float(value) for value in -drive.T_lidar_camera[:3, 3])
        bag_config = BagWriterConfig(
            topics=self.config.topics, scans=False, odometry_noise=self.config.odometry,
            lidar_xyz=(x, y, z),
        )  # fmt: skip
        write_drive_bag(drive, self.bag, bag_config, progress)

    def play_rate(self, drive: Drive) -> float:
        """Speed at which the drive gives `image_hz`; 1 is that of the recording.

        Raises DatasetError if the drive has fewer than two images or its stamps do not grow.
        """
        gaps_s = np.diff([drive.stamp_s(frame) for frame in drive.image_frames])
        if len(gaps_s) == 0 or not np.median(gaps_s) > 0:
            raise DatasetError(f"drive {drive.name} needs two images or more, with growing stamps")
        return float(np.median(gaps_s) * self.config.image_hz)

    def play(self, drive: Drive, recorder: NodeCommand, player: NodeCommand) -> LocalizedDrive:
        """Play the bag to the localizer and collect its answers to the images alone.

        recorder: ends when it has written an answer for each image to `answers`.
        player: ends after the last message of `bag`.
        """
        config, frames = self.config, drive.image_frames
        self.start(recorder, player)
        playing_s = 2 * len(frames) / config.image_hz
        timeout_s = playing_s + config.start_timeout_s + config.answer_timeout_s
        for node in (player, recorder):
            self._nodes.wait_for_end(node.name, timeout_s)
        return LocalizedDrive.join(*_truth(drive), read_answers(self.answers))

    def tracked_drive(self, drive: Drive) -> TrackedDrive:
        """The tracked poses of the drive that was played; raises DatasetError without any."""
        return read_tracked_drive(self.answers, *_truth(drive))


def _truth(drive: Drive) -> tuple[dict[int, NDArray[np.float64]], dict[int, int]]:
    """True `T_map_camera` of each image, and its stamp in the bag in nanoseconds, by frame."""
    stamp_ns, frames = BagWriterConfig().stamp_ns, drive.image_frames
    return (
        {frame: drive.T_world_camera(frame) for frame in frames},
        {frame: stamp_ns(drive.stamp_s(frame)) for frame in frames},
    )
