"""An image made what a reader wants: its size, its colours, its channels."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor
from torch.nn import functional

from scmpr_ros.networks.readers.description import ReaderDescription
from scmpr_ros.networks.view import in_unit_range

_PADDING = (0.485, 0.456, 0.406)  # ImageNet's mean colour, of white 1


class Placement(NamedTuple):
    """Where the image lies in the input, in fractions of the input's width and height."""

    left: float = 0.0
    top: float = 0.0
    width: float = 1.0
    height: float = 1.0


def input_size(
    description: ReaderDescription, fixed: tuple[int | None, int | None], image: tuple[int, int]
) -> tuple[int, int]:
    """Height and width of the input.

    fixed: those that the model fixes. image: height and width of the image, or of the view.
    """
    if description.size is not None:
        return description.size
    if fixed[0] is not None and fixed[1] is not None:
        return fixed[0], fixed[1]
    scale = (description.short_side_px or min(image)) / min(image)
    step = description.multiple_of
    height, width = (max(step, round(side * scale / step) * step) for side in image)
    return height, width


def prepare(
    description: ReaderDescription, image: Tensor, size: tuple[int, int]
) -> tuple[Tensor, Placement]:
    """Scale and normalise an image (1, 3, h, w), uint8 or in [0, 1], to (1, 3, *size) float32."""
    pixels, placement = _scale(image, size, description.fit == "pad")
    mean, std = (pixels.new_tensor(x).view(3, 1, 1) for x in (description.mean, description.std))
    pixels = (pixels * description.white - mean) / std
    return pixels.flip(1) if description.channel_order == "bgr" else pixels, placement


def _scale(image: Tensor, size: tuple[int, int], pad: bool) -> tuple[Tensor, Placement]:
    """Stretch to the size, or scale to fit into it and centre on the padding colour."""
    height, width = image.shape[-2:]
    inner, top, left = size, 0, 0
    if pad:
        scale = min(size[0] / height, size[1] / width)
        inner = (max(1, round(height * scale)), max(1, round(width * scale)))
        top, left = (size[0] - inner[0]) // 2, (size[1] - inner[1]) // 2
    pixels = in_unit_range(image)
    if inner != (height, width):
        pixels = functional.interpolate(pixels, inner, mode="bilinear", antialias=True)
    if inner == size:
        return pixels, Placement()
    padded = pixels.new_tensor(_PADDING).view(1, 3, 1, 1).repeat(1, 1, *size)
    padded[..., top : top + inner[0], left : left + inner[1]] = pixels
    fractions = left / size[1], top / size[0], inner[1] / size[1], inner[0] / size[0]
    return padded, Placement(*fractions)
