"""Everything at once: build the map, localise a recording in it, and look at it in RViz.

    ros2 launch scmpr_ros demo.launch.py source:=/towns/7 directory:=/maps/7 bag:=/bags/7 rviz:=true

`make demo` needs no launch: it makes the town and the bag first, and scores the answers.
"""

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, GroupAction, IncludeLaunchDescription
from launch.conditions import IfCondition
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.substitutions import FindPackageShare

SHARE = FindPackageShare("scmpr_ros")
CAMERA = "/kitti/camera_color_left"

ARGUMENTS = [
    DeclareLaunchArgument(
        "source", description="Point cloud map: a PLY or PCD file, or a folder of KITTI layout."
    ),
    DeclareLaunchArgument("directory", description="Where the place map is, or will be."),
    DeclareLaunchArgument("bag", description="Directory of the bag, with its metadata.yaml."),
    DeclareLaunchArgument(
        "checkpoint", default_value=PathJoinSubstitution([SHARE, "models", "nano.safetensors"]),
        description="Weight file of the network, for the map and for the images.",
    ),
    DeclareLaunchArgument("image", default_value=f"{CAMERA}/image_raw",
                          description="Topic of the bag's rectified images."),
    DeclareLaunchArgument("camera_info", default_value=f"{CAMERA}/camera_info",
                          description="Topic of the bag's camera_info."),
    DeclareLaunchArgument("rate", default_value="1.0", description="Speed of the player."),
    DeclareLaunchArgument("loop", default_value="true", choices=["true", "false"],
                          description="Play the bag again and again."),
    DeclareLaunchArgument("rviz", default_value="false", choices=["true", "false"],
                          description="Open RViz with the package's layout."),
]  # fmt: skip


def generate_launch_description() -> LaunchDescription:
    """Read by `ros2 launch`."""

    def include(name: str, *arguments: str) -> GroupAction:
        # a group of its own: or the params_file of the first would be that of the second
        return GroupAction(
            [
                IncludeLaunchDescription(
                    PathJoinSubstitution([SHARE, "launch", f"{name}.launch.py"]),
                    launch_arguments=[
                        (a, LaunchConfiguration(a)) for a in ("checkpoint", *arguments)
                    ],
                )
            ]
        )

    viewer = Node(
        package="rviz2", executable="rviz2", name="rviz2", output="screen",
        arguments=["-d", PathJoinSubstitution([SHARE, "config", "scmpr.rviz"])],
        parameters=[{"use_sim_time": True}], condition=IfCondition(LaunchConfiguration("rviz")),
    )  # fmt: skip
    return LaunchDescription(
        [
            *ARGUMENTS,
            include("build_map", "source", "directory"),
            include("replay", "bag", "image", "camera_info", "rate", "loop"),
            viewer,
        ]
    )
