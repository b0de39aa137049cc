"""Play a recording to the localizer.

    ros2 launch scmpr_ros replay.launch.py bag:=/bags/drive map:=/maps/town \
        image:=/kitti/camera_color_left/image_raw \
        camera_info:=/kitti/camera_color_left/camera_info

The player waits until the localizer subscribes to the images, then plays the bag like
`ros2 bag play` and exits. The localizer keeps running.
"""

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.substitutions import FindPackageShare

SHARE = FindPackageShare("scmpr_ros")
CAMERA = "/kitti/camera_color_left"

PLAYER_ARGUMENTS = [
    DeclareLaunchArgument("bag", description="Directory of the bag, with its metadata.yaml."),
    DeclareLaunchArgument("rate", default_value="1.0", description="Playback speed."),
    DeclareLaunchArgument("loop", default_value="false", choices=["true", "false"],
                          description="Play again and again."),
    DeclareLaunchArgument("clock_hz", default_value="50.0",
                          description="Rate at which /clock is published; 0: never."),
    # before wait_topic, which takes it as its default
    DeclareLaunchArgument("image", default_value=f"{CAMERA}/image_raw",
                          description="Topic of the rectified images in the bag."),
    DeclareLaunchArgument(
        "wait_topic", default_value=LaunchConfiguration("image"),
        description="Topic of the bag that needs a subscriber before playback starts; "
                    "<image>/compressed for a bag of compressed images.",
    ),
    DeclareLaunchArgument(
        "wait_subscribers", default_value="1",
        description="How many subscribers it needs: 2 if a recorder of the answers runs beside.",
    ),
]  # fmt: skip

LOCALIZER_ARGUMENTS = [
    DeclareLaunchArgument("camera_info", default_value=f"{CAMERA}/camera_info",
                          description="Topic of the camera_info in the bag."),
    DeclareLaunchArgument(
        "odom", default_value="/kitti/odometry",
        description="Topic of the odometry in the bag, if it is not taken from TF.",
    ),
    DeclareLaunchArgument(
        "map", default_value="",
        description="Directory of the place map. Empty: use the one the map loader announces.",
    ),
    DeclareLaunchArgument(
        "checkpoint", default_value="",
        description="Weight file of the network the map was built with. Empty: the one in "
                    "params_file, else the one that comes with the package.",
    ),
    DeclareLaunchArgument("namespace", default_value="",
                          description="Namespace of the localizer."),
    DeclareLaunchArgument("mount_xyz", default_value="",
                          description="Position of the camera in the base frame in metres."),
    DeclareLaunchArgument(
        "mount_rpy", default_value="",
        description="Roll, pitch and yaw of the camera's body axes in radians.",
    ),
    DeclareLaunchArgument("broadcast_tf", default_value="", choices=["", "true", "false"],
                          description="Broadcast map -> odom."),
    DeclareLaunchArgument(
        "params_file", default_value=PathJoinSubstitution([SHARE, "config", "localizer.yaml"]),
        description="Parameter file of the localizer. Launch arguments that are set take "
                    "precedence.",
    ),
    DeclareLaunchArgument("use_sim_time", default_value="true", choices=["true", "false"],
                          description="Take the time from the recording."),
]  # fmt: skip


def generate_launch_description() -> LaunchDescription:
    """Entry point for `ros2 launch`."""
    passed_on = ["image", *(argument.name for argument in LOCALIZER_ARGUMENTS)]
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
            "wait_subscribers": ParameterValue(
                LaunchConfiguration("wait_subscribers"), value_type=int
            ),
            "wait_timeout_s": 600.0,
        }],
    )  # fmt: skip
    return LaunchDescription([*PLAYER_ARGUMENTS, *LOCALIZER_ARGUMENTS, localize, player])
