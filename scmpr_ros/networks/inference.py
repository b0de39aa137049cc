"""The RGB branch made ready for one image after another: device, precision, memory layout."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from scmpr_ros.errors import ConfigError
from scmpr_ros.networks.place_network import PlaceNetwork
from scmpr_ros.networks.processor import processor_capabilities
from scmpr_ros.networks.saff import ImagePrediction
from scmpr_ros.networks.vmamba import SS2D

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}


class QueryEncoder:
    """Turns the view of one image into its descriptor and its classes, as fast as the device can.

    Backbone and SAFF run in the chosen precision, the scan's states and everything from the
    attention on in float32. The network itself is left as it is.
    """

    def __init__(
        self,
        network: PlaceNetwork,
        context: Tensor,
        device: torch.device,
        precision: str = "auto",
    ) -> None:
        """context: (S, C) semantic context of the map. precision: see `choose_precision`."""
        self.dtype = choose_precision(precision, device)
        self._device = device
        self._network = copy.deepcopy(network).eval().to(device)
        self._context = context.to(device)
        if self.dtype != torch.float32:
            for part in self._network.perception_modules:
                lower_weights(part, self.dtype)

    @torch.inference_mode()
    def __call__(self, view: Tensor, seen: Tensor) -> tuple[Tensor, Tensor]:
        """Encode a view.

        Args:
            view: (1, 3, H, W) in [0, 1] on the network's grid, on the device.
            seen: (h, w) bool, cells of the mask's grid inside the camera's image.

        Returns:
            D_RGB (D,) float32, unit length, and S_RGB (NUM_CLASSES, h, w) float32, the probability
            of each class in each cell, on the device.
        """
        lower = self.dtype != torch.float32
        with torch.autocast(self._device.type, self.dtype, enabled=lower):
            prediction = self._network.predict(view)
        features, mask_logits, range_logits = prediction
        if range_logits is not None:
            range_logits = range_logits.float()
        prediction = ImagePrediction(features.float(), mask_logits.float(), range_logits)
        descriptor = self._network.describe_image(prediction, seen, self._context)
        return descriptor[0], prediction.mask_logits[0].softmax(0)


def choose_precision(name: str, device: torch.device) -> torch.dtype:
    """Resolve `auto` to bfloat16 where the hardware multiplies it faster, else to float32.

    Those are GPUs since Ampere, and CPUs with AMX or AVX-512 BF16. ConfigError for other names.
    """
    if name != "auto":
        if name not in PRECISIONS:
            raise ConfigError(f"no precision {name!r}; there are auto, {', '.join(PRECISIONS)}")
        return PRECISIONS[name]
    if device.type == "cuda":
        fast = torch.cuda.get_device_capability(device) >= (8, 0)
    else:
        able = processor_capabilities()
        fast = device.type == "cpu" and bool(able.get("amx_bf16") or able.get("avx512_bf16"))
    return torch.bfloat16 if fast else torch.float32


def lower_weights(module: nn.Module, dtype: torch.dtype) -> nn.Module:
    """Cast, once and in place, what autocast would cast at every call.

    Norms and the scan's own parameters stay as they are. Returns the module.
    """
    for part in module.modules():
        if isinstance(part, (nn.Linear, nn.Conv2d)):
            part.to(dtype)
        elif isinstance(part, SS2D):
            part.x_proj_weight.data = part.x_proj_weight.data.to(dtype)
            part.dt_projs_weight.data = part.dt_projs_weight.data.to(dtype)
    return module
