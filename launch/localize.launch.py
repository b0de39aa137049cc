"""Localise camera images in a place map.

    ros2 launch scmpr_ros localize.launch.py map:=/maps/town \
        image:=/camera/image_rect camera_info:=/camera/camera_info
"""

from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction, SetEnvironmentVariable
from launch.substitutions import EnvironmentVariable, LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.substitutions import FindPackageShare

SHARE = FindPackageShare("scmpr_ros")
FASTDDS = "FASTDDS_DEFAULT_PROFILES_FILE"

ARGUMENTS = [
    DeclareLaunchArgument(
        "map", default_value="",
        description="Directory of the place map; empty: wait for the map loader to name it.",
    ),
    DeclareLaunchArgument(
        "checkpoint", default_value=PathJoinSubstitution([SHARE, "models", "nano.safetensors"]),
        description="Weight file of the network; the one that the map was built with.",
    ),
    DeclareLaunchArgument("image", default_value="image",
                          description="Topic of rectified images, or stem of <image>/compressed."),
    DeclareLaunchArgument("camera_info", default_value="camera_info",
                          description="Topic with the intrinsics (P) of the images."),
    DeclareLaunchArgument(
        "params_file", default_value=PathJoinSubstitution([SHARE, "config", "localizer.yaml"]),
        description="All parameters of the node; arguments that are given win over it.",
    ),
    DeclareLaunchArgument("use_sim_time", default_value="false", choices=["true", "false"],
                          description="Take the time from /clock."),
    DeclareLaunchArgument(
        "autostart", default_value="true", choices=["true", "false"],
        description="Configure and activate at start; false where a lifecycle manager does it.",
    ),
]  # fmt: skip


def localizer(context: LaunchContext) -> list[Node]:
    """The node, with those arguments as parameters that say something."""
    given = {name: LaunchConfiguration(name).perform(context) for name in ("map", "checkpoint")}
    parameters = {name: ParameterValue(v, value_type=str) for name, v in given.items() if v}
    for name in ("use_sim_time", "autostart"):
        parameters[name] = ParameterValue(LaunchConfiguration(name), value_type=bool)
    return [
        Node(
            package="scmpr_ros", executable="localizer", name="localizer", output="screen",
            parameters=[LaunchConfiguration("params_file"), parameters],
            remappings=[("image", LaunchConfiguration("image")),
                        ("camera_info", LaunchConfiguration("camera_info"))],
        )
    ]  # fmt: skip


def generate_launch_description() -> LaunchDescription:
    """Read by `ros2 launch`."""
    profile = PathJoinSubstitution([SHARE, "config", "fastdds.xml"])
    return LaunchDescription(
        [
            *ARGUMENTS,
            # Large images need it; a profile of the user's own is left alone.
            SetEnvironmentVariable(FASTDDS, EnvironmentVariable(FASTDDS, default_value=profile)),
            OpaqueFunction(function=localizer),
        ]
    )
