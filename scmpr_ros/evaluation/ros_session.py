"""A drive localised by the real nodes: processes that exchange real messages over DDS.

Nothing of ROS is imported here: nodes are started by module, and talked to through parameters, a
bag and the files that they write.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

import numpy as np

from scmpr_ros.datasets.drive import Drive
from scmpr_ros.datasets.rosbag2.topics import BagTopics
from scmpr_ros.datasets.rosbag2.writer import BagWriterConfig, write_drive_bag
from scmpr_ros.errors import ConfigError, DatasetError
from scmpr_ros.evaluation.localized_drive import LocalizedDrive, read_answers
from scmpr_ros.evaluation.node_processes import NodeProcesses
from scmpr_ros.retrieval.place_map import PlaceMap

_NODES = "scmpr_ros.ros"


@dataclass(frozen=True)
class RosSessionConfig:
    """How a drive is played to the nodes, and how long they may take."""

    image_hz: float = 3.0
    """Images a second that are played, whatever the recording's own rate."""
    queue_size: int = 10
    """Images that may wait in the localizer: every image is to be answered."""
    map_timeout_s: float = 900.0
    """For loading and encoding the map."""
    start_timeout_s: float = 180.0
    """For recorder and player to start and to meet the localizer."""
    answer_timeout_s: float = 60.0
    """For the next answer."""
    topics: BagTopics = field(default_factory=BagTopics)

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if name != "topics" and not value > 0:
                raise ConfigError(f"{name} must be positive, got {value}")


class RosSession:
    """Map loader, localizer, recorder and player; leaving the context ends them all.

    folder: where bag, place map, answers and logs are written. fastdds_profile: large images need
    it (README). The nodes meet in a ROS domain of their own, on this machine only.
    """

    def __init__(
        self, folder: Path, fastdds_profile: Path, config: RosSessionConfig | None = None
    ) -> None:
        self.folder = folder.resolve()
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

    def start_nodes(self, source: Path, checkpoint: Path) -> None:
        """Start `map_loader` on a map source, and `localizer`, which waits for its map."""
        self._nodes.start_node(
            "map_loader",
            f"{_NODES}.map_loader_node",
            {
                "source": str(source.resolve()),
                "checkpoint": str(checkpoint.resolve()),
                "directory": str(self._map_folder),
            },
        )
        self._nodes.start_node(
            "localizer",
            f"{_NODES}.localizer_node",
            {
                "checkpoint": str(checkpoint.resolve()),
                "image_transport": "raw",
                "reliable_images": True,
                "queue_size": self.config.queue_size,
            },
            {"image": self.config.topics.image, "camera_info": self.config.topics.camera_info},
        )

    def wait_for_map(self) -> PlaceMap:
        """The place map, once the map loader has written it."""
        done = self._map_folder / "built_from.yaml"  # written last
        self._nodes.wait_until(done.is_file, self.config.map_timeout_s, "the place map")
        return PlaceMap.load(self._map_folder)

    def write_bag(self, drive: Drive, progress: bool = False) -> None:
        """Write the drive's images as the bag that `play` plays."""
        bag_config = BagWriterConfig(topics=self.config.topics, scans=False)
        write_drive_bag(drive, self._bag, bag_config, progress)

    def play(self, drive: Drive) -> LocalizedDrive:
        """Play the bag to the localizer and collect its answers."""
        frames, config = list(drive.image_frames), self.config
        gaps_s = np.diff([drive.stamp_s(frame) for frame in frames])
        if len(gaps_s) == 0 or not np.median(gaps_s) > 0:
            raise DatasetError(f"drive {drive.name} needs two images or more, with growing stamps")
        answers = self.folder / "answers.jsonl"
        self._nodes.start_node(
            "record_answers",
            f"{_NODES}.answer_recorder_node",
            {
                "output": str(answers),
                "count": len(frames),
                "idle_timeout_s": config.answer_timeout_s,
            },
            {"image": config.topics.image},
            may_end=True,
        )
        self._nodes.start_node(
            "play_bag",
            f"{_NODES}.bag_player_node",
            {
                "bag": str(self._bag),
                "rate": float(np.median(gaps_s) * config.image_hz),
                "wait_topic": config.topics.image,
                "wait_subscribers": 2,  # the localizer and the recorder
                "wait_timeout_s": config.start_timeout_s,
            },
            may_end=True,
        )
        most_s = (
            2 * len(frames) / config.image_hz + config.start_timeout_s + config.answer_timeout_s
        )
        self._nodes.wait_for_end("play_bag", most_s)
        self._nodes.wait_for_end("record_answers", most_s)
        return self._join(drive, answers)

    def _join(self, drive: Drive, answers: Path) -> LocalizedDrive:
        bag_config = BagWriterConfig()
        stamps_ns = {f: bag_config.stamp_ns(drive.stamp_s(f)) for f in drive.image_frames}
        truth = {frame: drive.T_world_camera(frame) for frame in drive.image_frames}
        return LocalizedDrive.join(truth, stamps_ns, read_answers(answers))

    @property
    def _map_folder(self) -> Path:
        return self.folder / "place_map"

    @property
    def _bag(self) -> Path:
        return self.folder / "bag"
