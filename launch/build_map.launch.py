"""Build a place map of a point cloud, or take the one that is there, and publish it.

ros2 launch scmpr_ros build_map.launch.py source:=/maps/town.ply directory:=/maps/town
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
        "source", description="Point cloud map: a PLY or PCD file, or a folder of KITTI layout."
    ),
    DeclareLaunchArgument("directory", description="Where the place map is, or will be."),
    DeclareLaunchArgument(
        "checkpoint", default_value=PathJoinSubstitution([SHARE, "models", "nano.safetensors"]),
        description="Weight file of the network; the localizer must have the same.",
    ),
    DeclareLaunchArgument(
        "params_file", default_value=PathJoinSubstitution([SHARE, "config", "map_loader.yaml"]),
        description="All parameters of the node; arguments that are given win over it.",
    ),
    DeclareLaunchArgument("use_sim_time", default_value="false", choices=["true", "false"],
                          description="Take the time from /clock."),
    DeclareLaunchArgument(
        "autostart", default_value="true", choices=["true", "false"],
        description="Configure and activate at start; false where a lifecycle manager does it.",
    ),
]  # fmt: skip


def map_loader(context: LaunchContext) -> list[Node]:
    """The node, with those arguments as parameters that say something."""
    names = ("source", "directory", "checkpoint")
    given = {name: LaunchConfiguration(name).perform(context) for name in names}
    parameters = {name: ParameterValue(v, value_type=str) for name, v in given.items() if v}
    for name in ("use_sim_time", "autostart"):
        parameters[name] = ParameterValue(LaunchConfiguration(name), value_type=bool)
    return [
        Node(
            package="scmpr_ros", executable="map_loader", name="map_loader", output="screen",
            parameters=[LaunchConfiguration("params_file"), parameters],
        )
    ]  # fmt: skip


def generate_launch_description() -> LaunchDescription:
    """Read by `ros2 launch`."""
    profile = PathJoinSubstitution([SHARE, "config", "fastdds.xml"])
    return LaunchDescription(
        [
            *ARGUMENTS,
            # Large clouds need it; a profile of the user's own is left alone.
            SetEnvironmentVariable(FASTDDS, EnvironmentVariable(FASTDDS, default_value=profile)),
            OpaqueFunction(function=map_loader),
        ]
    )
