"""The query side in OpenVINO: an engine for CPUs, in place of torch.

The network is written as ONNX once, checked, and kept in the user's cache folder under its
fingerprint. OpenVINO's results are compared with torch's before the first query, because it can
compute exported scans wrongly without an error.
"""

from __future__ import annotations

import importlib.util
import logging
from typing import Any

import torch
from torch import Tensor

from scmpr_ros.atomic_files import cache_folder
from scmpr_ros.errors import CheckpointError, ConfigError
from scmpr_ros.methods.checkpoint import fingerprint
from scmpr_ros.methods.export import (
    INPUTS,
    OUTPUTS,
    VERSION,
    QueryBranch,
    are_too_large,
    example_inputs,
    export_onnx,
    largest_errors,
    query_of,
)
from scmpr_ros.methods.network import PlaceNetwork, Query
from scmpr_ros.methods.views import QueryView
from scmpr_ros.networks.precision import choose_precision
from scmpr_ros.stages import stage

_LARGEST_ERROR = {torch.float32: 1e-4, torch.bfloat16: 3e-2}
"""As the tolerance of `export_onnx`. bfloat16 here means the states of the scan, too: 0.006 was
measured, of a descriptor's entry."""

_log = logging.getLogger(__name__)


class OpenVinoEncoder:
    """Does what `query_encoder.QueryEncoder` does, on a CPU."""

    def __init__(self, network: PlaceNetwork, context: Tensor, precision: str = "auto") -> None:
        """Export the network unless the cache has it, and compile it.

        context: (S, C) semantic context of the map.
        precision: `auto` is float32, which is exact and on small networks the faster by far.

        Raises ConfigError if a package is missing, CheckpointError if OpenVINO's results are wrong.
        """
        if importlib.util.find_spec("openvino") is None:
            raise ConfigError(
                "the engine openvino was asked for, but the package openvino is not installed: "
                'pip install "scmpr_ros[openvino]", or use the engine torch'
            )
        on_cpu = torch.device("cpu")
        self.dtype = choose_precision("float32" if precision == "auto" else precision, on_cpu)
        self._context = context.cpu().float()
        self._compiled = _compile(network, self.dtype)
        self._request = self._compiled.create_infer_request()
        names = {output.any_name for output in self._compiled.outputs}
        self._outputs = [name for name in OUTPUTS if name in names]
        self._check(network)

    def __call__(self, view: QueryView) -> Query:
        """Describe one view, batch size 1."""
        with stage("RGB branch"):
            return self._infer(view, self._context)

    def _infer(self, view: QueryView, context: Tensor) -> Query:
        arrays = (x.numpy() for x in (view.pixels, view.seen, context))
        found = self._request.infer(dict(zip(INPUTS, arrays, strict=True)))
        return query_of([torch.from_numpy(found[name].copy()) for name in self._outputs])

    @torch.inference_mode()
    def _check(self, network: PlaceNetwork) -> None:
        """Raise CheckpointError unless random views give what torch makes of them."""
        branch = QueryBranch(network).eval()
        device = next(network.parameters()).device
        for inputs in example_inputs(network.config):
            expected = query_of([x.cpu() for x in branch(*(x.to(device) for x in inputs))])
            view, seen, context = inputs
            errors = largest_errors(self._infer(QueryView(view, seen), context), expected)
            if are_too_large(errors, _LARGEST_ERROR[self.dtype]):
                raise CheckpointError(
                    "OpenVINO does not compute what torch does: descriptors differ by "
                    f"{errors[0]:.1e}, probabilities by {errors[1]:.1e}; use the engine "
                    "torch, and please report the versions of both"
                )


def _compile(network: PlaceNetwork, dtype: torch.dtype) -> Any:
    """The network compiled for one view at a time on torch's number of threads."""
    import openvino

    path = cache_folder() / f"query-{VERSION}-{fingerprint(network)}.onnx"
    if not path.is_file():
        _log.info("writing %s for OpenVINO, once; half a minute", path)
        export_onnx(network, path)
    settings = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        "INFERENCE_PRECISION_HINT": "bf16" if dtype == torch.bfloat16 else "f32",
    }
    return openvino.Core().compile_model(path, "CPU", settings)
