"""Localise camera images in a place map.

    ros2 launch scmpr_ros localize.launch.py map:=/maps/town \
        image:=/camera/image_rect camera_info:=/camera/camera_info
"""

import os
from pathlib import Path
from typing import Any

from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction, SetEnvironmentVariable
from launch.logging import get_logger
from launch.substitutions import EnvironmentVariable, LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.substitutions import FindPackageShare

from scmpr_ros.ros.parameter_matching import unmatched_warning

SHARE = FindPackageShare("scmpr_ros")
FAST_DDS_2 = os.environ.get("ROS_DISTRO") in ("humble", "iron", "jazzy")
PROFILE = "FASTRTPS_DEFAULT_PROFILES_FILE" if FAST_DDS_2 else "FASTDDS_DEFAULT_PROFILES_FILE"

ARGUMENTS = [
    DeclareLaunchArgument(
        "map", default_value="",
        description="Directory of the place map. Empty: use the one the map loader announces.",
    ),
    DeclareLaunchArgument(
        "checkpoint", default_value="",
        description="Weight file of the network the map was built with. Empty: the one in "
                    "params_file, else the one that comes with the package.",
    ),
    DeclareLaunchArgument(
        "image", default_value="image",
        description="Topic of rectified images; <image>/compressed is subscribed to as well.",
    ),
    DeclareLaunchArgument("camera_info", default_value="camera_info",
                          description="Topic with the intrinsics (P) of the images."),
    DeclareLaunchArgument(
        "odom", default_value="odom",
        description="Topic of the odometry (nav_msgs/Odometry), if it is not taken from TF.",
    ),
    DeclareLaunchArgument(
        "namespace", default_value="",
        description="Namespace of the node, inside that of an enclosing PushRosNamespace.",
    ),
    DeclareLaunchArgument(
        "node_name", default_value="localizer",
        description="Name of the node: several cameras of a robot need one each.",
    ),
    DeclareLaunchArgument(
        "place_map", default_value="map_loader/place_map",
        description="Topic on which a map loader announces the map. /map_loader/place_map: one "
                    "map loader for several robots.",
    ),
    DeclareLaunchArgument(
        "mount_xyz", default_value="",
        description="Position of the camera in the base frame in metres, such as '0.3 0.0 1.2'. "
                    "Empty: as in params_file.",
    ),
    DeclareLaunchArgument(
        "mount_rpy", default_value="",
        description="Roll, pitch and yaw of the camera's body axes in radians. Empty: as in "
                    "params_file.",
    ),
    DeclareLaunchArgument(
        "broadcast_tf", default_value="", choices=["", "true", "false"],
        description="Broadcast map -> odom. Empty: as in params_file.",
    ),
    DeclareLaunchArgument(
        "params_file", default_value=PathJoinSubstitution([SHARE, "config", "localizer.yaml"]),
        description="Parameter file of the node. Launch arguments that are set take precedence.",
    ),
    DeclareLaunchArgument("use_sim_time", default_value="false", choices=["true", "false"],
                          description="Take the time from /clock."),
    DeclareLaunchArgument(
        "autostart", default_value="true", choices=["true", "false"],
        description="Configure and activate at start. Set to false for a lifecycle manager.",
    ),
]  # fmt: skip


def localizer(context: LaunchContext) -> list[Node]:
    """Return the node, with the launch arguments that are set as parameters."""
    namespace = absolute_namespace(context)
    params_file = LaunchConfiguration("params_file").perform(context)
    name = LaunchConfiguration("node_name").perform(context)
    warning = unmatched_warning(Path(params_file), f"{namespace.rstrip('/')}/{name}")
    if warning:
        get_logger("localize.launch.py").warning(warning)
    return [
        Node(
            package="scmpr_ros", executable="localizer", name=name, namespace=namespace,
            output="screen", parameters=[params_file, given_parameters(context)],
            remappings=[("image", LaunchConfiguration("image")),
                        ("camera_info", LaunchConfiguration("camera_info")),
                        ("odom", LaunchConfiguration("odom")),
                        ("map_loader/place_map", LaunchConfiguration("place_map"))],
        )
    ]  # fmt: skip


def absolute_namespace(context: LaunchContext) -> str:
    """Return the namespace with a leading slash.

    With a fully qualified name, launch's parameters override those of a parameter file.
    """
    pushed = context.launch_configurations.get("ros_namespace", "")
    namespace = LaunchConfiguration("namespace").perform(context)
    return "/" + (namespace if namespace.startswith("/") else f"{pushed}/{namespace}").strip("/")


def given_parameters(context: LaunchContext) -> dict[str, Any]:
    """Return the parameters for which launch arguments are set."""
    texts = {argument.name: LaunchConfiguration(argument.name).perform(context)
             for argument in ARGUMENTS}  # fmt: skip
    parameters: dict[str, Any] = {
        name: ParameterValue(texts[name], value_type=str)
        for name in ("map", "checkpoint")
        if texts[name]
    }
    for name in ("broadcast_tf", "use_sim_time", "autostart"):
        if texts[name]:
            parameters[name] = texts[name] == "true"
    for name in ("xyz", "rpy"):
        if texts[f"mount_{name}"]:
            parameters[f"mount.{name}"] = three_numbers(f"mount_{name}", texts[f"mount_{name}"])
    return parameters


def three_numbers(name: str, text: str) -> list[float]:
    """Parse the value of the launch argument `name`."""
    try:
        x, y, z = (float(part) for part in text.replace(",", " ").split())
    except ValueError:
        raise ValueError(f"{name}:='{text}' must be three numbers, such as '0.3 0.0 1.2'") from None
    return [x, y, z]


def generate_launch_description() -> LaunchDescription:
    """Entry point for `ros2 launch`."""
    profile = PathJoinSubstitution([SHARE, "config", "fastdds.xml"])
    return LaunchDescription(
        [
            *ARGUMENTS,
            # Large images need the profile. One that is already set is kept.
            SetEnvironmentVariable(PROFILE, EnvironmentVariable(PROFILE, default_value=profile)),
            OpaqueFunction(function=localizer),
        ]
    )
