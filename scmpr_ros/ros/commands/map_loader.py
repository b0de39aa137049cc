"""Build a place map of a point cloud, or reuse the one on disk, and publish it.

Publishes ~/points, ~/viewpoints and ~/place_map; the service ~/build builds the map again.
"""

from __future__ import annotations

import sys

from scmpr_ros.ros.commands.start import start


def main() -> int:
    """Console script `map_loader`."""
    return start("map_loader", "map_loader_node", "MapLoaderConfig", __doc__ or "")


if __name__ == "__main__":
    sys.exit(main())
