"""Notice intrinsics that cannot be right: of another resolution, in other units, swapped.

Intrinsics of images twice as large are the most common mistake and stay silent otherwise: nothing
is found in the map.
"""

from __future__ import annotations

import numpy as np

from scmpr_ros.records import CameraModel

_FOV_DEG = (20.0, 160.0)  # of lenses that a pinhole model suits
_CENTRE_X, _CENTRE_Y = (0.25, 0.75), (0.1, 0.9)  # images are cut at top and bottom, not at a side
_USUAL_CENTRE = (0.4, 0.6)
_MAX_FOCAL_RATIO = 1.2
# The principal point is the image's middle times the scale between the two sizes. Cameras are
# a few percent off; a cut image is off in one direction.
_RESIZED, _SAME_SCALE = 1.2, 1.15


def find_implausible(camera: CameraModel) -> str:
    """Say why intrinsics cannot be of images of the camera's size; empty if they can."""
    x, y = (camera.cx + 0.5) / camera.width, (camera.cy + 0.5) / camera.height
    fov_deg = np.degrees(camera.horizontal_fov_rad)
    size = f"images of {camera.width}x{camera.height}"
    if not _FOV_DEG[0] <= fov_deg <= _FOV_DEG[1]:
        return (f"fx {camera.fx:g} would make {size} {fov_deg:.0f} deg wide, so it is not in "
                "pixels, or for another size")  # fmt: skip
    point = f"the principal point ({camera.cx:.0f}, {camera.cy:.0f})"
    if _is_resized(2 * x, 2 * y):
        width, height = round(2 * camera.cx + 1), round(2 * camera.cy + 1)
        return f"{point} is far from the middle of {size}, as if it were for {width}x{height}"
    if not (_CENTRE_X[0] < x < _CENTRE_X[1] and _CENTRE_Y[0] < y < _CENTRE_Y[1]):
        return f"{point} is far from the middle of {size}"
    return ""


def find_unusual(camera: CameraModel) -> str:
    """Say what is rare about intrinsics and may be a mistake; empty if nothing is."""
    ratio = camera.fx / camera.fy
    if not 1 / _MAX_FOCAL_RATIO < ratio < _MAX_FOCAL_RATIO:
        return (f"fx {camera.fx:.1f} and fy {camera.fy:.1f} differ, as if images were stretched, "
                "or width and height swapped")  # fmt: skip
    if not _USUAL_CENTRE[0] < camera.cx / camera.width < _USUAL_CENTRE[1]:
        return (f"the principal point ({camera.cx:.0f}, {camera.cy:.0f}) is far from the middle of "
                f"images of {camera.width}x{camera.height}, as if it were for others")  # fmt: skip
    return ""


def _is_resized(scale_x: float, scale_y: float) -> bool:
    """Whether both axes are off by one scale; each is 1 for a principal point in the middle."""
    both = min(scale_x, scale_y) > _RESIZED or max(scale_x, scale_y) < 1 / _RESIZED
    return both and 1 / _SAME_SCALE < scale_x / scale_y < _SAME_SCALE
