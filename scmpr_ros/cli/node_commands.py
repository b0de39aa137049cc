"""Command lines of the package's nodes: the public interface that other commands start them by.

Commands and parameters are those that `ros2 run scmpr_ros NAME` takes; a test compares them with
`setup.py` and the nodes. Nothing of ROS is imported.
"""

from __future__ import annotations

import sys
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from scmpr_ros.config import flatten
from scmpr_ros.datasets.bags.options import BagReaderConfig, BagTopics
from scmpr_ros.errors import ConfigError
from scmpr_ros.evaluation.benchmark.soak import SoakConfig
from scmpr_ros.evaluation.node_processes import NodeCommand

_PACKAGE = "scmpr_ros"


def map_loader(
    source: Path, checkpoint: Path, directory: Path, bag: BagReaderConfig | None = None
) -> NodeCommand:
    """Build the place map of a point cloud source in a directory, and announce it.

    bag: options of a source that is a bag.
    """
    defaults = flatten(BagReaderConfig())
    given = {} if bag is None else flatten(bag)
    parameters = {
        f"map_source.bag.{key}": value for key, value in given.items() if value != defaults[key]
    } | {
        "source": str(source.resolve()),
        "checkpoint": str(checkpoint.resolve()),
        "directory": str(directory),
    }
    return NodeCommand("map_loader", command_line("map_loader"), parameters)


def localizer(
    checkpoint: Path,
    topics: BagTopics,
    queue_size: int,
    recording: Path | None = None,
    mount_rpy: tuple[float, float, float] = (0.0, 0.0, 0.0),
) -> NodeCommand:
    """Localise every image of a topic with odometry, once the map loader has announced a map.

    The odometry is that of the camera.

    queue_size: images that may wait. recording: .rrd file to record into, if any. mount_rpy: roll,
    pitch and yaw of the camera in radians.
    """
    parameters = {
        "checkpoint": str(checkpoint.resolve()),
        "image_transport": "raw",
        "reliable_images": True,
        "queue_size": queue_size,
        "rerun": "" if recording is None else str(recording.resolve()),
        "odometry.source": "topic",
        # not from TF, so that poses are of the camera, wherever tf2 is installed
        "mount.source": "parameters",
        "mount.rpy": list(mount_rpy),
    }
    remappings = {
        "image": topics.image, "camera_info": topics.camera_info, "odom": topics.odometry,
    }  # fmt: skip
    return NodeCommand("localizer", command_line("localizer"), parameters, remappings)


def record_answers(
    output: Path, topics: BagTopics, count: int, idle_timeout_s: float
) -> NodeCommand:
    """Write the localizer's answers to a file; end after `count` or when they cease."""
    parameters = {"output": str(output), "count": count, "idle_timeout_s": idle_timeout_s}
    command = command_line("record_answers")
    return NodeCommand("record_answers", command, parameters, {"image": topics.image}, True)


def play_bag(
    bag: Path, rate: float, topics: BagTopics, subscribers: int, wait_timeout_s: float
) -> NodeCommand:
    """Play a bag once its image topic has enough subscribers."""
    parameters = {
        "bag": str(bag),
        "rate": rate,
        "wait_topic": topics.image,
        "wait_subscribers": subscribers,
        "wait_timeout_s": wait_timeout_s,
    }
    return NodeCommand("play_bag", command_line("play_bag"), parameters, may_end=True)


def soaked_localizer(checkpoint: Path, place_map: Path) -> NodeCommand:
    """Localise the newest image of `image`, with every other parameter at its default."""
    parameters = {"checkpoint": str(checkpoint.resolve()), "map": str(place_map)}
    return NodeCommand("localizer", command_line("localizer"), parameters)


def soak_localizer(config: SoakConfig, pid: int, output: Path) -> NodeCommand:
    """Drive the localizer with this process id, and write measurements to a file."""
    height, width = config.image_size
    parameters = {
        "output": str(output),
        "pid": pid,
        "images": config.images,
        "rate_hz": config.rate_hz,
        "overload": config.overload,
        "overload_images": config.overload_images,
        "lifecycle": config.lifecycle,
        "height": height,
        "width": width,
    }
    return NodeCommand("soak_localizer", command_line("soak_localizer"), parameters, may_end=True)


def command_line(name: str) -> tuple[str, ...]:
    """Command line of an installed console command, run by this Python.

    The entry point is looked up, because the script itself lies in different folders after `pip`
    and `colcon build`. Raises ConfigError if the package does not have the command.
    """
    try:
        scripts = distribution(_PACKAGE).entry_points.select(group="console_scripts", name=name)
    except PackageNotFoundError as error:
        raise ConfigError(f"{_PACKAGE} is not installed: run `make` or `colcon build`") from error
    for script in scripts:
        run = f"import sys; from {script.module} import {script.attr} as run; sys.exit(run())"
        return sys.executable, "-c", run
    raise ConfigError(f"{_PACKAGE} is installed without the command {name}: install it again")
