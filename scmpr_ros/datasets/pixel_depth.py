"""Make 8-bit images of 16-bit ones.

16 bits hold anything from 10-bit to full-range pictures and depths. Taken for the wrong one, an
image is black or white, and nothing says so; so the value of white must be stated.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from scmpr_ros.errors import ShapeError

_log = logging.getLogger(__name__)
FULL_RANGE = 65535
_NEEDS_16_BITS = 32767
_LOOKED_AT = 8


def to_8_bit(pixels: NDArray[np.uint16], white_level: int) -> NDArray[np.uint8]:
    """Scale pixels so that `white_level`, and what is above it, becomes 255."""
    return np.asarray(cv2.convertScaleAbs(pixels, alpha=255 / white_level), np.uint8)


def some_frames(frames: Sequence[int]) -> Sequence[int]:
    """Frames of all of a drive that are looked at to find out what is white.

    Always the same ones, so that it does not depend on the image that happens to be read first.
    """
    return frames[:: max(1, len(frames) // _LOOKED_AT)]


def find_white_level(images: Iterable[NDArray[np.uint16]], source: str) -> int:
    """Find the value of white in 16-bit images: 65535 if one of them needs all bits.

    source: topic or folder of the images, for the warning.
    Raises ShapeError if none does: then white may be 1023, 4095, 16383 or 65535.
    """
    largest = 0
    for pixels in images:
        largest = max(largest, int(pixels.max(initial=0)))
        if largest > _NEEDS_16_BITS:
            _log.warning("%s: 16-bit images, in which %d is taken for white; set white_level if it "
                         "is another value", source, FULL_RANGE)  # fmt: skip
            return FULL_RANGE
    bits = max(8, largest.bit_length())
    raise ShapeError(
        f"the images are 16-bit with values up to {largest}, which does not say what is white: set "
        f"white_level, such as {2**bits - 1} for {bits}-bit sensors"
    )
