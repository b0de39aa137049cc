"""Play a bag: a rosbag2 directory or file, or a .bag of ROS 1.

Topics are renamed as for any node: --ros-args -r /from:=/to.
"""

from __future__ import annotations

import sys

from scmpr_ros.ros.commands.start import start


def main() -> int:
    """Console script `play_bag`."""
    return start("play_bag", "bag_player_node", "BagPlayerConfig", __doc__ or "")


if __name__ == "__main__":
    sys.exit(main())
