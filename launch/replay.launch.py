"""Play a recording to the localizer.

    ros2 launch scmpr_ros replay.launch.py bag:=/bags/drive map:=/maps/town \
        image:=/kitti/camera_color_left/image_raw \
        camera_info:=/kitti/camera_color_left/camera_info

The player waits until the localizer takes images, then plays the bag like `ros2 bag play`. It ends
by itself; the localizer stays.
"""

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.substitutions import FindPackageShare

SHARE = FindPackageShare("scmpr_ros")
CAMERA = "/kitti/camera_color_left"

ARGUMENTS = [
    DeclareLaunchArgument("bag", description="Directory of the bag, with its metadata.yaml."),
    DeclareLaunchArgument("rate", default_value="1.0", description="Speed of the player."),
    DeclareLaunchArgument("loop", default_value="false", choices=["true", "false"],
                          description="Play again and again."),
    DeclareLaunchArgument("clock_hz", default_value="50.0",
                          description="How often /clock is published; 0: never."),
    # before wait_topic, whose default it is
    DeclareLaunchArgument("image", default_value=f"{CAMERA}/image_raw",
                          description="Topic of the bag's rectified images."),
    DeclareLaunchArgument(
        "wait_topic", default_value=LaunchConfiguration("image"),
        description="Topic of the bag that is waited on for subscribers; give "
                    "<image>/compressed for a bag of compressed images.",
    ),
    DeclareLaunchArgument("map", default_value="", description="Directory of the place map; empty: "
                          "wait for the map loader to name it."),
    DeclareLaunchArgument(
        "checkpoint", default_value=PathJoinSubstitution([SHARE, "models", "nano.safetensors"]),
        description="Weight file of the network; the one that the map was built with.",
    ),
    DeclareLaunchArgument("camera_info", default_value=f"{CAMERA}/camera_info",
                          description="Topic of the bag's camera_info."),
    DeclareLaunchArgument(
        "params_file", default_value=PathJoinSubstitution([SHARE, "config", "localizer.yaml"]),
        description="All parameters of the localizer; arguments that are given win over it.",
    ),
    DeclareLaunchArgument("use_sim_time", default_value="true", choices=["true", "false"],
                          description="Take the time from the recording."),
]  # fmt: skip


def generate_launch_description() -> LaunchDescription:
    """Read by `ros2 launch`."""
    passed_on = ("map", "checkpoint", "image", "camera_info", "params_file", "use_sim_time")
    localize = IncludeLaunchDescription(
        PathJoinSubstitution([SHARE, "launch", "localize.launch.py"]),
        launch_arguments=[(name, LaunchConfiguration(name)) for name in passed_on],
    )
    player = Node(
        package="scmpr_ros", executable="play_bag", name="play_bag", output="screen",
        parameters=[{
            "bag": ParameterValue(LaunchConfiguration("bag"), value_type=str),
            "rate": ParameterValue(LaunchConfiguration("rate"), value_type=float),
            "loop": ParameterValue(LaunchConfiguration("loop"), value_type=bool),
            "clock_hz": ParameterValue(LaunchConfiguration("clock_hz"), value_type=float),
            "wait_topic": ParameterValue(LaunchConfiguration("wait_topic"), value_type=str),
            "wait_timeout_s": 600.0,
        }],
    )  # fmt: skip
    return LaunchDescription([*ARGUMENTS, localize, player])
