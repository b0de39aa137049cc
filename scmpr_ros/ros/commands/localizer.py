"""Localise camera images in a place map.

Subscribes to image, image/compressed and camera_info; publishes ~/pose, ~/state and more.
Remap image and camera_info to the topics of the rectified camera.
"""

from __future__ import annotations

import sys

from scmpr_ros.ros.commands.start import start


def main() -> int:
    """Console script `localizer`."""
    return start("localizer", "localizer_node", "LocalizerNodeConfig", __doc__ or "")


if __name__ == "__main__":
    sys.exit(main())
