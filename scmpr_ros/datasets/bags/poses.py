"""Find the poses of a drive in a bag: on a topic, or as transforms over time."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scmpr_ros.datasets.bags.options import BagReaderConfig
from scmpr_ros.datasets.bags.pose_track import Track
from scmpr_ros.datasets.bags.storage import Bag
from scmpr_ros.datasets.bags.topics import (
    PATHS,
    POSES,
    STAMPED_POSES,
    TRANSFORMS,
    choose_image,
    choose_points,
    choose_pose,
)
from scmpr_ros.datasets.bags.transforms import TransformTree, make_track, usable_pose
from scmpr_ros.datasets.ros_headers import stamp_ns
from scmpr_ros.errors import DatasetError

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class BagPoses:
    """Poses of a bag.

    topic: they are from. world: frame that they are in. frame: frame that they are of; empty if
    the messages do not say. log_ns: log time of their messages by stamp, where each has one pose.
    """

    topic: str
    world: str
    frame: str
    track: Track
    log_ns: Mapping[int, int] = field(default_factory=dict)


def find_poses(bag: Bag, config: BagReaderConfig, tree: TransformTree, sensor: str) -> BagPoses:
    """Read the poses of the configured topic, or of the only one that can be meant.

    sensor: frame whose pose is looked up in TF, if `config.pose_frame` names no other.
    Raises DatasetError if there are none, or several that could be meant.
    """
    sensor = config.pose_frame or sensor
    topic = choose_pose(bag, config, lambda: _find_in_tf(bag, config, tree, sensor))
    kind = bag.topic(topic, POSES).kind
    if kind in TRANSFORMS:
        return _poses_of_tf(bag, topic, config, tree, sensor)
    log_ns: dict[int, int] = {}
    if kind in PATHS:
        world, frame, by_stamp = _read_path(bag, topic)
    else:
        world, frame, by_stamp = _read_stamped(bag, topic, log_ns)
    track = make_track(topic, by_stamp)
    if track is None:
        raise DatasetError(
            f"{bag.path}: none of the {len(by_stamp)} poses of {topic} is finite and has a rotation"
        )
    if len(track.unusable):
        _log.warning(
            "%s: left out %d of %d poses of %s: not finite, or without a rotation",
            bag.path, len(track.unusable), len(by_stamp), topic,
        )  # fmt: skip
    return BagPoses(topic, world, config.pose_frame or frame, track, log_ns)


def _poses_of_tf(
    bag: Bag, topic: str, config: BagReaderConfig, tree: TransformTree, sensor: str
) -> BagPoses:
    if topic != config.topics.tf:
        tree = TransformTree(bag, config.topics.tf_static, topic)
    if not sensor:
        raise DatasetError(
            f"{bag.path}: the messages name no frame whose pose {topic} has: set bag.pose_frame"
        )
    world = config.world_frame or tree.root(sensor)
    _log.info("%s: poses of %s in %s are from %s", bag.path, sensor, world, topic)
    return BagPoses(topic, world, sensor, tree.track(world, sensor))


def _find_in_tf(bag: Bag, config: BagReaderConfig, tree: TransformTree, sensor: str) -> str:
    """The topic of TF, if it has poses of the sensor in a world that no other topic has; or ''."""
    topic = config.topics.tf
    if topic not in bag.topics or not sensor:
        return ""
    try:
        world = config.world_frame or tree.root(sensor)
        tree.track(world, sensor)
    except DatasetError as error:
        _log.info("no poses from %s: %s", topic, error)
        return ""
    others = bag.of_kind(*STAMPED_POSES, *PATHS)
    worlds = {
        next(bag.messages(other.name)).header.frame_id.lstrip("/")
        for other in others
        if other.name != config.topics.odometry
    }
    return "" if world in worlds else topic


_ByStamp = dict[int, NDArray[np.float64] | None]


def _read_stamped(bag: Bag, topic: str, log_ns: dict[int, int]) -> tuple[str, str, _ByStamp]:
    """World, posed frame, and poses by stamp in ns of messages with a pose each.

    log_ns: takes the log time of each stamp.
    """
    by_stamp: _ByStamp = {}
    frames: set[tuple[str, str]] = set()
    for logged_ns, message in bag.timed_messages(topic):
        log_ns[stamp_ns(message.header)] = logged_ns
        frames.add((message.header.frame_id, getattr(message, "child_frame_id", "")))
        by_stamp[stamp_ns(message.header)] = usable_pose(_pose_of(message))
    check_stamps(bag, topic, len(by_stamp), bag.topics[topic].count)
    if len(frames) > 1:
        found = ", ".join(f"{frame!r} in {world!r}" for world, frame in sorted(frames))
        raise DatasetError(
            f"{bag.path}: {topic} has poses of several frames ({found}): name another topic with "
            "bag.topics.pose"
        )
    ((world, frame),) = frames
    return world.lstrip("/"), frame.lstrip("/"), by_stamp


def _pose_of(message: Any) -> Any:
    """The Pose or Transform in a message of `STAMPED_POSES`."""
    if hasattr(message, "transform"):
        return message.transform
    return message.pose.pose if hasattr(message.pose, "pose") else message.pose


def _read_path(bag: Bag, topic: str) -> tuple[str, str, _ByStamp]:
    """The same of the longest path of a topic, the last of equally long ones.

    A SLAM sends its path again with every pose, each time corrected.
    """
    longest = None
    for message in bag.messages(topic):
        if longest is None or len(message.poses) >= len(longest.poses):
            longest = message
    assert longest is not None
    by_stamp = {stamp_ns(each.header): usable_pose(each.pose) for each in longest.poses}
    if not by_stamp:
        raise DatasetError(f"{bag.path}: all paths of {topic} are empty")
    check_stamps(bag, topic, len(by_stamp), len(longest.poses))
    return longest.header.frame_id.lstrip("/"), "", by_stamp


def check_stamps(bag: Bag, topic: str, distinct: int, count: int) -> None:
    """Raise DatasetError if messages share stamps: a driver that sets none gives all the same."""
    if distinct < max(count / 2, min(count, 2)):
        raise DatasetError(
            f"{bag.path}: the {count} messages of {topic} have only {distinct} distinct stamps: "
            "their headers must hold the time of measurement"
        )


def read_bag_poses(
    path: Path, config: BagReaderConfig
) -> tuple[NDArray[np.float64], NDArray[np.float64], str]:
    """Stamps (N,) in seconds and poses (N, 4, 4) of a bag, as measured, and their topic.

    Raises DatasetError as `find_poses` does. They are poses of `config.pose_frame` if the topic is
    TF, else of what the topic has poses of.
    """
    bag = Bag(path)
    tree = TransformTree(bag, config.topics.tf_static, config.topics.tf)
    found = find_poses(bag, config, tree, _first_frame(bag, config))
    stamps = found.track.stamps
    poses = found.track.at(stamps, config.max_pose_gap_s).poses
    return stamps[list(poses)] / 1e9, np.stack(list(poses.values())), found.topic


def _first_frame(bag: Bag, config: BagReaderConfig) -> str:
    """Frame of the LiDAR, or of the camera; empty without both."""
    for topic in (choose_points(bag, config.topics), choose_image(bag, config)):
        if topic.name:
            return str(next(bag.messages(topic.name)).header.frame_id).lstrip("/")
    return ""
