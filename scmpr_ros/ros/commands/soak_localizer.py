"""Drive a localizer with images at a rate, and measure its answers and its process.

Publishes image and camera_info; subscribes to localizer/pose and /diagnostics. `benchmark soak`
starts it together with a localizer.
"""

from __future__ import annotations

import sys

from scmpr_ros.ros.commands.start import start


def main() -> int:
    """Console script `soak_localizer`."""
    return start("soak_localizer", "soak_node", "SoakNodeConfig", __doc__ or "")


if __name__ == "__main__":
    sys.exit(main())
