"""A network made ready for one image after another: device, precision, memory layout."""

from __future__ import annotations

import copy

import torch
from torch import Tensor

from scmpr_ros.methods.network import PerceivingNetwork, PlaceNetwork, Query
from scmpr_ros.methods.views import QueryView
from scmpr_ros.networks.precision import choose_precision, lower_weights
from scmpr_ros.networks.saff import GivenReading, ImagePrediction
from scmpr_ros.stages import stage


class QueryEncoder:
    """Describes the view of one image as fast as the device can.

    The network's perception modules run in the chosen precision; the scan's states and everything
    from the attention on stay in float32. The network that is passed in is not changed.
    """

    def __init__(
        self,
        network: PlaceNetwork,
        context: Tensor,
        device: torch.device,
        precision: str = "auto",
    ) -> None:
        """context: (S, C) semantic context of the map. precision: see `choose_precision`; `auto` is
        float32 for networks that predict nothing, as all of them, up to the descriptor, would run
        in it, and two digits do not tell places apart."""
        if precision == "auto" and not isinstance(network, PerceivingNetwork):
            precision = "float32"
        self.dtype = choose_precision(precision, device)
        self._device = device
        self._network = copy.deepcopy(network).eval().to(device)
        self._context = context.to(device)
        if self.dtype != torch.float32:
            for part in self._network.perception_modules:
                lower_weights(part, self.dtype)

    @torch.inference_mode()
    def __call__(self, view: QueryView, given: GivenReading | None = None) -> Query:
        """Describe one view, batch size 1, on the device; the result is float32 throughout.

        given: see `PerceivingNetwork.predict`; for such networks only.
        """
        if not isinstance(self._network, PerceivingNetwork):
            return self._describe_without_prediction(view)
        prediction = self._predict(self._network, view.pixels, given)
        descriptor = self._network.describe_image(prediction, view.seen, self._context)
        return Query(descriptor, prediction)

    def _predict(
        self, network: PerceivingNetwork, pixels: Tensor, given: GivenReading | None
    ) -> ImagePrediction:
        if self.dtype == torch.float32:
            return network.predict(pixels, given)
        with torch.autocast(self._device.type, self.dtype):
            return _in_float32(network.predict(pixels, given))

    def _describe_without_prediction(self, view: QueryView) -> Query:
        with stage("RGB branch"):
            if self.dtype == torch.float32:
                return self._network.describe_query(view, self._context)
            with torch.autocast(self._device.type, self.dtype):
                query = self._network.describe_query(view, self._context)
            return Query(query.descriptor.float(), query.prediction)


def _in_float32(prediction: ImagePrediction) -> ImagePrediction:
    features, mask_logits, range_logits = prediction
    ranges = None if range_logits is None else range_logits.float()
    return ImagePrediction(features.float(), mask_logits.float(), ranges)
