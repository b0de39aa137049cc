"""What maps, localizer, trainer and evaluator ask of a place recognition network, whichever it is.

A method of place recognition needs two things: `describe_query` of an image and `describe_place` of
a place, giving unit descriptors whose cosine says how alike the two are. A network that also
predicts classes and ranges of an image is a `PerceivingNetwork`: it is matched by semantic overlap
(eq. 10) and diagnosed as well.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from scmpr_ros.errors import ConfigError
from scmpr_ros.geometry import AngularGrid
from scmpr_ros.methods.views import PlaceView, QueryView
from scmpr_ros.networks.attention import mean_tokens
from scmpr_ros.networks.depth import DepthConfig
from scmpr_ros.networks.saff import MASK_STRIDE, GivenReading, ImagePrediction
from scmpr_ros.retrieval.evidence import CellStatistics


@dataclass(frozen=True)
class PlaceNetworkConfig:
    """How images and places are shown to a network, and in how many headings it describes them."""

    view: AngularGrid = field(default_factory=lambda: AngularGrid(96, 256, 12.0, -15.0, 80.0))
    panorama: AngularGrid = field(default_factory=lambda: AngularGrid(24, 360, 16.0, -16.0))
    max_range_m: float = 50.0
    num_headings: int = 30

    def __post_init__(self) -> None:
        if self.view.height % 32 or self.view.width % 32:
            raise ConfigError(
                f"the view of {self.view.height}x{self.view.width} must be a multiple of 32: "
                "a backbone's last stage has stride 32"
            )
        if self.num_headings < 1:
            raise ConfigError(f"num_headings is {self.num_headings}; at least one is needed")

    @property
    def mask_grid(self) -> AngularGrid:
        """The grid of S_RGB: the view's, at the stride of SAFF's mask head."""
        return self.view.resized(self.view.height // MASK_STRIDE, self.view.width // MASK_STRIDE)

    @property
    def context_shape(self) -> tuple[int, int]:
        """(S, C) of the map's semantic context; (0, 0) for methods that use none."""
        return 0, 0


class Query(NamedTuple):
    """B images described.

    descriptor: (B, D), unit length. prediction: features, mask and ranges; None for methods that
    predict none.
    """

    descriptor: Tensor
    prediction: ImagePrediction | None = None


class PlaceDescription(NamedTuple):
    """B places described.

    descriptors: (B, V, D), unit length, of all V headings. tokens: what the places add to the
    map's semantic context, see `attention.class_tokens`; None for methods that use none.
    """

    descriptors: Tensor
    tokens: tuple[Tensor, Tensor] | None = None


class PlaceNetwork(nn.Module):
    """Describes images, and places in all headings, by descriptors that can be compared."""

    method: ClassVar[str]
    """Name of the method in the registry, in commands and in checkpoints."""
    uses_overlap: ClassVar[bool] = False
    """Whether answers are scored by semantic overlap as well (psi of eq. 10)."""
    learns_perception: ClassVar[bool] = True
    """Whether its own losses teach it to predict masks and ranges, if it predicts any."""
    config: PlaceNetworkConfig

    def __init__(self, config: PlaceNetworkConfig) -> None:
        super().__init__()
        self.config = config

    @classmethod
    def for_training(cls, config: Any, stochastic_depth: bool) -> PlaceNetwork:
        """Build a network to train. stochastic_depth: drop blocks at random, if it can."""
        del stochastic_depth
        return cls(config)

    @property
    def headings_rad(self) -> Tensor:
        """Yaw of the N_V heading windows, (V,), counter-clockwise from the map's x axis."""
        step = 2 * math.pi / self.config.num_headings
        return torch.arange(self.config.num_headings) * step

    @property
    def perception_modules(self) -> Sequence[nn.Module]:
        """Parts that may run in lower precision."""
        return ()

    def describe_query(self, view: QueryView, context: Tensor) -> Query:
        """Describe images.

        context: (S, C) semantic context of the map, `PlaceNetworkConfig.context_shape`.
        """
        raise NotImplementedError

    def describe_place(self, place: PlaceView) -> PlaceDescription:
        """Describe places in all headings."""
        raise NotImplementedError


class PerceivingNetwork(PlaceNetwork):
    """A network that predicts classes and ranges of an image before it describes it."""

    uses_overlap: ClassVar[bool] = True
    part_sizes: dict[str, int]
    """Dimensions of each part of a descriptor, by name, in order."""

    @property
    def ranges(self) -> DepthConfig:
        """The ranges that the range head distinguishes."""
        raise NotImplementedError

    @property
    def statistics(self) -> CellStatistics:
        """Frequencies of classes and ranges in its training images, for psi."""
        raise NotImplementedError

    def predict(self, pixels: Tensor, given: GivenReading | None = None) -> ImagePrediction:
        """Predict features, mask and ranges of views (B, 3, H, W) in [0, 1], map-independent.

        given: masks and ranges that others read, to be used in place of its own.
        """
        raise NotImplementedError

    def describe_image(self, prediction: ImagePrediction, seen: Tensor, context: Tensor) -> Tensor:
        """D_RGB (B, D), unit length, from predictions; seen and context as in `describe_query`."""
        raise NotImplementedError

    def describe_query(self, view: QueryView, context: Tensor) -> Query:
        """Predict, then describe."""
        prediction = self.predict(view.pixels)
        return Query(self.describe_image(prediction, view.seen, context), prediction)

    @staticmethod
    def is_perception_weight(name: str) -> bool:
        """Whether the weight of that name decides masks and ranges, and not the descriptor."""
        raise NotImplementedError


def map_context(tokens: Sequence[tuple[Tensor, Tensor]]) -> Tensor:
    """SemanticContext(P_LiDAR), (S, C), from the tokens of all places; (0, 0) if there are none."""
    if not tokens:
        return torch.zeros(0, 0)
    sums, weights = (torch.cat(parts) for parts in zip(*tokens, strict=True))
    return mean_tokens(sums, weights)
