"""Build a place map from a point cloud, or reuse the one in `directory`, and publish it.

ros2 launch scmpr_ros build_map.launch.py source:=/maps/town.ply directory:=/maps/town
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
        "source", default_value="",
        description="Point cloud map: a file, a folder of tiles, or a recording. Empty: the cloud "
                    "that comes on the topic `points`.",
    ),
    DeclareLaunchArgument("directory", description="Directory of the place map."),
    DeclareLaunchArgument("points", default_value="points",
                          description="Topic of a point cloud map, without a source."),
    DeclareLaunchArgument(
        "trajectory", default_value="",
        description="File with the poses of the sensor that mapped. Empty: a drive's poses, or "
                    "places all over the open ground.",
    ),
    DeclareLaunchArgument(
        "sensor_height", default_value="",
        description="Height of the camera above the ground in metres, without a trajectory.",
    ),
    DeclareLaunchArgument(
        "checkpoint", default_value="",
        description="Weight file of the network; the localizer needs the same. Empty: the one in "
                    "params_file, else the one that comes with the package.",
    ),
    DeclareLaunchArgument(
        "namespace", default_value="",
        description="Namespace of the node, inside that of an enclosing PushRosNamespace.",
    ),
    DeclareLaunchArgument("node_name", default_value="map_loader",
                          description="Name of the node."),
    DeclareLaunchArgument(
        "params_file", default_value=PathJoinSubstitution([SHARE, "config", "map_loader.yaml"]),
        description="Parameter file of the node. Launch arguments that are set take precedence.",
    ),
    DeclareLaunchArgument("use_sim_time", default_value="false", choices=["true", "false"],
                          description="Take the time from /clock."),
    DeclareLaunchArgument(
        "autostart", default_value="true", choices=["true", "false"],
        description="Configure and activate at start. Set to false for a lifecycle manager.",
    ),
]  # fmt: skip


def map_loader(context: LaunchContext) -> list[Node]:
    """Return the node, with the launch arguments that are set as parameters."""
    namespace = absolute_namespace(context)
    params_file = LaunchConfiguration("params_file").perform(context)
    name = LaunchConfiguration("node_name").perform(context)
    warning = unmatched_warning(Path(params_file), f"{namespace.rstrip('/')}/{name}")
    if warning:
        get_logger("build_map.launch.py").warning(warning)
    return [
        Node(
            package="scmpr_ros", executable="map_loader", name=name, namespace=namespace,
            output="screen", parameters=[params_file, given_parameters(context)],
            remappings=[("points", LaunchConfiguration("points"))],
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
        for name in ("source", "directory", "checkpoint")
        if texts[name]
    }
    if texts["trajectory"]:
        parameters["map_source.trajectory"] = ParameterValue(texts["trajectory"], value_type=str)
    if texts["sensor_height"]:
        parameters["builder.places.sensor_height_m"] = float(texts["sensor_height"])
    for name in ("use_sim_time", "autostart"):
        parameters[name] = texts[name] == "true"
    return parameters


def generate_launch_description() -> LaunchDescription:
    """Entry point for `ros2 launch`."""
    profile = PathJoinSubstitution([SHARE, "config", "fastdds.xml"])
    return LaunchDescription(
        [
            *ARGUMENTS,
            # Large clouds need the profile. One that is already set is kept.
            SetEnvironmentVariable(PROFILE, EnvironmentVariable(PROFILE, default_value=profile)),
            OpaqueFunction(function=map_loader),
        ]
    )
