"""Choose the topics that a drive is read from; the only one of a type needs no name.

Nothing is guessed: of several topics that could be meant, none is taken.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from scmpr_ros.datasets.bags.options import BagReaderConfig, BagTopics
from scmpr_ros.datasets.bags.storage import Bag, Topic
from scmpr_ros.errors import DatasetError

_log = logging.getLogger(__name__)

RAW_IMAGES = ("sensor_msgs/msg/Image",)
IMAGES = (*RAW_IMAGES, "sensor_msgs/msg/CompressedImage")
CAMERA_INFOS = ("sensor_msgs/msg/CameraInfo",)
POINT_CLOUDS = ("sensor_msgs/msg/PointCloud2",)
TRANSFORMS = ("tf2_msgs/msg/TFMessage",)
PATHS = ("nav_msgs/msg/Path",)
STAMPED_POSES = (
    "nav_msgs/msg/Odometry", "geometry_msgs/msg/PoseStamped",
    "geometry_msgs/msg/PoseWithCovarianceStamped", "geometry_msgs/msg/TransformStamped",
)  # fmt: skip
POSES = (*STAMPED_POSES, *PATHS, *TRANSFORMS)

_COMPRESSED = "/compressed"
_DEPTH_ENCODINGS = ("16UC1", "32FC1")  # of depth images, by REP 118
_SCANS_OF_OTHERS = {
    "velodyne_msgs/msg/VelodyneScan", "ouster_msgs/msg/PacketMsg",
    "ouster_sensor_msgs/msg/PacketMsg", "hesai_ros_driver/msg/UdpFrame",
    "rslidar_msg/msg/RslidarPacket", "livox_ros_driver/msg/CustomMsg",
    "livox_ros_driver2/msg/CustomMsg", "livox_interfaces/msg/CustomMsg",
    "point_cloud_interfaces/msg/CompressedPointCloud2", "sensor_msgs/msg/PointCloud",
}  # fmt: skip
_VIDEOS = {
    "foxglove_msgs/msg/CompressedVideo", "ffmpeg_image_transport_msgs/msg/FFMPEGPacket",
    "theora_image_transport/msg/Packet",
}  # fmt: skip


@dataclass(frozen=True)
class SensorTopic:
    """The topic of a sensor, if the bag has one.

    name: of the topic; empty without one. problem: why none is chosen though the bag has some; it
    matters only to those who ask for the sensor.
    """

    name: str = ""
    problem: str = ""

    def __bool__(self) -> bool:
        return bool(self.name or self.problem)

    def required(self) -> str:
        """The name; DatasetError if none could be chosen, empty if the bag has none."""
        if self.problem:
            raise DatasetError(self.problem)
        return self.name


def choose_image(bag: Bag, config: BagReaderConfig) -> SensorTopic:
    """The topic of the camera's images: raw, or else compressed."""
    topics = config.topics
    if topics.image not in bag.topics and f"{topics.image}{_COMPRESSED}" in bag.topics:
        return SensorTopic(f"{topics.image}{_COMPRESSED}")
    candidates = [
        topic
        for topic in bag.of_kind(*IMAGES)
        if topic.name != topics.mask
        and not topic.name.endswith("/compressedDepth")
        and topic.name.removesuffix(_COMPRESSED) not in bag.topics.keys() - {topic.name}
    ]
    encodings = {t: next(bag.messages(t.name)).encoding for t in candidates if t.kind in RAW_IMAGES}
    pictures = [t for t in candidates if encodings.get(t) not in _DEPTH_ENCODINGS]
    if not pictures and config.images.white_level:  # then 16UC1 is no depth
        pictures = [t for t in candidates if encodings.get(t) == "16UC1"]
    return _choose(bag, topics.image, "image", IMAGES, pictures)


def choose_camera_info(bag: Bag, topics: BagTopics, image: str) -> SensorTopic:
    """The topic of the camera's intrinsics: that in the namespace of the images, or the only one.

    image: the chosen topic of images.
    """
    candidates = bag.of_kind(*CAMERA_INFOS)
    beside = f"{image.removesuffix(_COMPRESSED).rpartition('/')[0]}/camera_info"
    ours = [topic for topic in candidates if topic.name == beside]
    return _choose(bag, topics.camera_info, "camera_info", CAMERA_INFOS, ours or candidates)


def choose_points(bag: Bag, topics: BagTopics) -> SensorTopic:
    """The topic of the LiDAR's scans."""
    return _choose(bag, topics.points, "points", POINT_CLOUDS, bag.of_kind(*POINT_CLOUDS))


def choose_pose(bag: Bag, config: BagReaderConfig, find_in_tf: Callable[[], str]) -> str:
    """The topic of the poses.

    find_in_tf: returns the topic of TF, or '' if it has no poses that no other topic holds.
    Raises DatasetError if several topics could be meant, or none.
    """
    topics = config.topics
    candidates = []
    if topics.pose not in bag.topics:
        candidates = [t for t in bag.of_kind(*STAMPED_POSES, *PATHS) if t.name != topics.odometry]
        tf = find_in_tf()
        candidates += [bag.topics[tf]] if tf else []
    chosen = _choose(bag, topics.pose, "pose", POSES, candidates).required()
    if not chosen:
        raise DatasetError(
            f"{bag.path}: no messages of topic {topics.pose}, nor other poses "
            f"({', '.join(POSES)}); it has {bag.listing()}: name a topic with bag.topics.pose, or "
            "the world of TF with bag.world_frame"
        )
    return chosen


def no_sensors(bag: Bag) -> DatasetError:
    """The error for a bag with neither images nor scans."""
    advice = "".join(f"; {sentence}" for sentence in unreadable(bag, IMAGES + POINT_CLOUDS))
    return DatasetError(
        f"{bag.path}: no messages of type {' or '.join((*IMAGES, *POINT_CLOUDS))}; it has "
        f"{bag.listing()}{advice}"
    )


def unreadable(bag: Bag, wanted: Collection[str]) -> list[str]:
    """What to do with scans and images that a bag has in another form.

    wanted: message types that it lacks.
    """
    found = []
    for kinds, instead, sentence in (
        (_SCANS_OF_OTHERS, POINT_CLOUDS,
         "{} holds scans in another format: let the driver convert them to PointCloud2"),
        (_VIDEOS, IMAGES, "{} holds a video: decode it to Image or CompressedImage"),
    ):  # fmt: skip
        names = [str(topic) for topic in bag.topics.values() if topic.kind in kinds]
        if names and set(instead) <= set(wanted):
            found.append(sentence.format(", ".join(names)))
    return found


def _choose(
    bag: Bag, wanted: str, option: str, kinds: Collection[str], candidates: Sequence[Topic]
) -> SensorTopic:
    """The wanted topic, or the only candidate if the wanted name is the default."""
    if wanted in bag.topics:
        return SensorTopic(bag.topic(wanted, kinds).name)
    if wanted != getattr(BagTopics(), option):
        bag.topic(wanted)
    if len(candidates) > 1:
        names = ", ".join(map(str, candidates))
        return SensorTopic(
            problem=f"{bag.path}: {len(candidates)} topics could be the {option} topic ({names}): "
            f"name one with bag.topics.{option}"
        )
    if not candidates:
        return SensorTopic()
    _log.info("%s: took %s for the %s topic, the only one of its type", bag.path, candidates[0],
              option)  # fmt: skip
    return SensorTopic(candidates[0].name)
