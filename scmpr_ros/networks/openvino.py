"""The RGB branch in OpenVINO: an engine for CPUs, in the place of torch.

The network is written as ONNX once, checked, and kept in the user's cache folder under its
fingerprint. What OpenVINO then computes is held against torch before the first query: exported
scans have been seen to go wrong in it without a word.
"""

from __future__ import annotations

import importlib.util
import logging
from typing import Any

import torch
from torch import Tensor

from scmpr_ros.atomic_files import cache_folder
from scmpr_ros.errors import CheckpointError, ConfigError
from scmpr_ros.networks.checkpoint import fingerprint
from scmpr_ros.networks.export import (
    INPUTS,
    OUTPUTS,
    VERSION,
    RgbBranch,
    are_too_large,
    example_inputs,
    export_onnx,
    largest_errors,
)
from scmpr_ros.networks.inference import choose_precision
from scmpr_ros.networks.scmpr import ScmprNetwork
from scmpr_ros.stages import stage

_LARGEST_ERROR = {torch.float32: 1e-4, torch.bfloat16: 3e-2}
"""As the tolerance of `export_onnx`. bfloat16 here means the states of the scan, too: 0.006 was
measured, of a descriptor's entry."""

_log = logging.getLogger(__name__)


class OpenVinoEncoder:
    """Does what `inference.QueryEncoder` does, on a CPU."""

    def __init__(self, network: ScmprNetwork, context: Tensor, precision: str = "auto") -> None:
        """Export the network if that was not done before, and compile it.

        context: (S, C) semantic context of the map.
        precision: `auto` is float32, which is exact and on small networks the faster by far.

        Raises ConfigError if a package is missing, CheckpointError if OpenVINO is wrong.
        """
        if importlib.util.find_spec("openvino") is None:
            raise ConfigError(
                "the engine openvino was asked for, but the package openvino is not installed: "
                'pip install "scmpr_ros[openvino]", or use the engine torch'
            )
        on_cpu = torch.device("cpu")
        self.dtype = choose_precision("float32" if precision == "auto" else precision, on_cpu)
        self._context = context.cpu().float().numpy()
        self._compiled = _compile(network, self.dtype)
        self._request = self._compiled.create_infer_request()
        self._check(network)

    def __call__(self, view: Tensor, seen: Tensor) -> tuple[Tensor, Tensor]:
        """Encode a view (1, 3, H, W) with seen (h, w): D_RGB (D,) and S_RGB (NUM_CLASSES, h, w)."""
        with stage("RGB branch"):
            return self._infer(view, seen, self._context)

    def _infer(self, view: Tensor, seen: Tensor, context: Any) -> tuple[Tensor, Tensor]:
        inputs = dict(zip(INPUTS, (view.numpy(), seen.numpy(), context), strict=True))
        found = self._request.infer(inputs)
        descriptor, class_probs = (torch.from_numpy(found[name].copy()) for name in OUTPUTS)
        return descriptor[0], class_probs

    @torch.inference_mode()
    def _check(self, network: ScmprNetwork) -> None:
        """Raise CheckpointError unless random views give what torch makes of them."""
        branch = RgbBranch(network).eval()
        device = next(network.parameters()).device
        for inputs in example_inputs(network.config):
            descriptor, class_probs = (x.cpu() for x in branch(*(x.to(device) for x in inputs)))
            found = self._infer(*inputs[:2], inputs[2].numpy())
            errors = largest_errors(found, (descriptor[0], class_probs))
            if are_too_large(errors, _LARGEST_ERROR[self.dtype]):
                raise CheckpointError(
                    "OpenVINO does not compute what torch does: descriptors differ by "
                    f"{errors[0]:.1e}, probabilities of classes by {errors[1]:.1e}; use the engine "
                    "torch, and please report the versions of both"
                )


def _compile(network: ScmprNetwork, dtype: torch.dtype) -> Any:
    """The network compiled for one view at a time on torch's number of threads."""
    import openvino

    path = cache_folder() / f"rgb-branch-{VERSION}-{fingerprint(network)}.onnx"
    if not path.is_file():
        _log.info("writing %s for OpenVINO, once; half a minute", path)
        export_onnx(network, path)
    settings = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        "INFERENCE_PRECISION_HINT": "bf16" if dtype == torch.bfloat16 else "f32",
    }
    return openvino.Core().compile_model(path, "CPU", settings)
