"""Build a map, localise a recording in it, and optionally view it in RViz.

    ros2 launch scmpr_ros demo.launch.py source:=/towns/7 directory:=/maps/7 bag:=/bags/7 rviz:=true

`make demo` works without launch: it also makes the town and the bag, and scores the poses.
"""

import os

from ament_index_python.packages import PackageNotFoundError, get_package_prefix
from launch import LaunchContext, LaunchDescription
from launch.actions import (
    DeclareLaunchArgument,
    GroupAction,
    IncludeLaunchDescription,
    OpaqueFunction,
    SetEnvironmentVariable,
)
from launch.logging import get_logger
from launch.substitutions import EnvironmentVariable, LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.substitutions import FindPackageShare

SHARE = FindPackageShare("scmpr_ros")
CAMERA = "/kitti/camera_color_left"
FAST_DDS_2 = os.environ.get("ROS_DISTRO") in ("humble", "iron", "jazzy")
PROFILE = "FASTRTPS_DEFAULT_PROFILES_FILE" if FAST_DDS_2 else "FASTDDS_DEFAULT_PROFILES_FILE"

ARGUMENTS = [
    DeclareLaunchArgument(
        "source", description="Point cloud map: a PLY or PCD file, or a folder in KITTI layout."
    ),
    DeclareLaunchArgument("directory", description="Directory of the place map."),
    DeclareLaunchArgument("bag", description="Directory of the bag, with its metadata.yaml."),
    DeclareLaunchArgument(
        "checkpoint", default_value="",
        description="Weight file of the network, for map and images. Empty: the one that comes "
                    "with the package.",
    ),
    DeclareLaunchArgument("image", default_value=f"{CAMERA}/image_raw",
                          description="Topic of the rectified images in the bag."),
    DeclareLaunchArgument("camera_info", default_value=f"{CAMERA}/camera_info",
                          description="Topic of the camera_info in the bag."),
    DeclareLaunchArgument("rate", default_value="1.0", description="Playback speed."),
    DeclareLaunchArgument("loop", default_value="true", choices=["true", "false"],
                          description="Play the bag again and again."),
    DeclareLaunchArgument("use_sim_time", default_value="true", choices=["true", "false"],
                          description="All nodes take the time from the recording."),
    DeclareLaunchArgument("rviz", default_value="false", choices=["true", "false"],
                          description="Open RViz with the package's layout."),
]  # fmt: skip


def include(name: str, *arguments: str) -> GroupAction:
    """Include a launch file of the package and pass arguments on.

    The group keeps the default params_file of one node from becoming that of the other.
    """
    path = PathJoinSubstitution([SHARE, "launch", f"{name}.launch.py"])
    passed_on = [(argument, LaunchConfiguration(argument)) for argument in arguments]
    return GroupAction([IncludeLaunchDescription(path, launch_arguments=passed_on)])


def viewer(context: LaunchContext) -> list[Node]:
    """Return RViz if it is wanted and installed."""
    if LaunchConfiguration("rviz").perform(context) == "false":
        return []
    try:
        get_package_prefix("rviz2")
    except PackageNotFoundError:
        get_logger("demo.launch.py").warning("rviz2 is not installed; continuing without a viewer")
        return []
    return [
        Node(
            package="rviz2", executable="rviz2", name="rviz2", output="screen",
            arguments=["-d", PathJoinSubstitution([SHARE, "config", "scmpr.rviz"])],
            parameters=[{
                "use_sim_time": ParameterValue(LaunchConfiguration("use_sim_time"),
                                               value_type=bool),
            }],
        )
    ]  # fmt: skip


def generate_launch_description() -> LaunchDescription:
    """Entry point for `ros2 launch`."""
    profile = PathJoinSubstitution([SHARE, "config", "fastdds.xml"])
    nodes = ("checkpoint", "use_sim_time")
    return LaunchDescription(
        [
            *ARGUMENTS,
            SetEnvironmentVariable(PROFILE, EnvironmentVariable(PROFILE, default_value=profile)),
            OpaqueFunction(function=viewer),
            # first, because its arguments are checked: an error after a node has started would
            # leave that node running
            include("replay", "bag", "image", "camera_info", "rate", "loop", *nodes),
            include("build_map", "source", "directory", *nodes),
        ]
    )
