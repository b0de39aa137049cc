"""The four orders in which VMamba scans an image.

Order 0 runs along the rows, 1 along the columns; 2 and 3 are their reverses.
"""

from __future__ import annotations

from torch import Tensor

FOUR_ORDERS = (0, 1, 2, 3)


def along_rows(image: Tensor, order: int) -> Tensor:
    """View (batch, H, W, channels) as a grid scanned along rows: transposed for odd orders."""
    return image if order % 2 == 0 else image.transpose(1, 2)


def is_reversed(order: int) -> bool:
    """Whether the scan begins at the image's last pixel."""
    return order >= 2


def to_sequence(image: Tensor, order: int) -> Tensor:
    """Copy (batch, H, W, channels) in scan order: (batch, H W, channels)."""
    sequence = along_rows(image, order).flatten(1, 2)
    return sequence.flip(1) if is_reversed(order) else sequence


def to_image(sequence: Tensor, order: int, height: int, width: int) -> Tensor:
    """Inverse of `to_sequence`."""
    sequence = sequence.flip(1) if is_reversed(order) else sequence
    rows, columns = (height, width) if order % 2 == 0 else (width, height)
    return along_rows(sequence.unflatten(1, (rows, columns)), order)
