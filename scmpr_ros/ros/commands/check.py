"""Look at a robot's images, camera_info, TF, odometry, nodes and map, and say what is wrong.

One line a finding: OK, WARN or ERROR, and what to do. The exit code is 1 if there is an ERROR.
Run it in the localizer's namespace (-r __ns:=/robot1). Topics are those that the localizer
subscribes to; if it is not running, remap image, camera_info and odom. Parameters may be given as
options: --seconds 10 --map /maps/site.
"""

from __future__ import annotations

import sys

from scmpr_ros.ros.commands.start import start


def main() -> int:
    """Console script `check`."""
    sys.argv[1:] = options_as_parameters(sys.argv[1:])
    return start("check", "bringup.check_node", "CheckConfig", __doc__ or "")


def options_as_parameters(arguments: list[str]) -> list[str]:
    """`--seconds 5 --ros-args -r a:=b` as `--ros-args -p seconds:=5 -r a:=b`."""
    given, parameters = arguments, []
    while len(given) > 1 and given[0].startswith("--") and given[0] not in ("--help", "--ros-args"):
        name, value, given = given[0][2:], given[1], given[2:]
        parameters += ["-p", f"{name}:={value}"]
    if not parameters:
        return arguments
    return ["--ros-args", *parameters, *(given[1:] if given[:1] == ["--ros-args"] else given)]


if __name__ == "__main__":
    sys.exit(main())
