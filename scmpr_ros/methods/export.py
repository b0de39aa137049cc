"""The query side of a network as one ONNX file, for runtimes without torch, checked against torch.

    inputs   view         (1, 3, H, W) float32 in [0, 1], the image on the network's view grid
             seen         (h, w) bool, cells of the mask grid inside the camera's image
             context      (S, C) float32, the map's semantic context: `context.npy` of a place map
    outputs  descriptor   (1, D) float32, D_RGB, unit length
             features     (1, C, H/8, W/8) float32, F_RGB
             mask_logits  (1, NUM_CLASSES, h, w) float32 of S_RGB; softmax gives probabilities
             range_logits (1, num_ranges + 1, h, w) float32 of the range head

A network without predictions has the descriptor alone, one without a range head no range_logits.
Together they are what `QueryEncoder` gives.

Runtimes can compute exported scans wrongly without an error. A file therefore gets its name only
after ONNX Runtime has reproduced torch's results from it.
"""

from __future__ import annotations

import copy
import importlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from scmpr_ros import __version__
from scmpr_ros.atomic_files import atomic_write
from scmpr_ros.config import to_dict
from scmpr_ros.errors import CheckpointError, ConfigError
from scmpr_ros.methods.checkpoint import fingerprint
from scmpr_ros.methods.network import PlaceNetwork, PlaceNetworkConfig, Query
from scmpr_ros.methods.views import QueryView
from scmpr_ros.networks.saff import ImagePrediction
from scmpr_ros.networks.selective_scan import forced_backend
from scmpr_ros.semantics import CLASSES

VERSION = 3
FORMAT = f"scmpr_ros query/{VERSION}"
INPUTS = ("view", "seen", "context")
OUTPUTS = ("descriptor", "features", "mask_logits", "range_logits")

_PACKAGES = ("onnx", "onnxscript", "onnxruntime")
_NUM_CHECKS = 4
_LARGEST_FOLDED = 4096  # elements; see `_fold`

Inputs = tuple[Tensor, Tensor, Tensor]


@dataclass(frozen=True)
class OnnxExport:
    """A written file, and how far ONNX Runtime is from torch with it.

    descriptor_error: largest absolute difference in an entry of a descriptor.
    mask_agreement: fraction of mask cells with the same most probable class; 1 without a mask.
    """

    path: Path
    size_bytes: int
    descriptor_error: float
    mask_agreement: float


def export_onnx(network: PlaceNetwork, path: Path, tolerance: float = 1e-5) -> OnnxExport:
    """Write the query side for views of `network.config.view`, one at a time, in float32.

    The file's metadata hold `format`, the network's `fingerprint` (which a place map's
    metadata.json must have too), its `config` as JSON, and the `classes` that the ids stand for.

    tolerance: how far an entry of a descriptor may be off, and, ten times that, a probability.
        Correct files stay below 1e-6; with trained weights, a broken scan is off by 1e-2.

    Raises ConfigError if a package is missing or the network has operations that ONNX lacks, and
    CheckpointError, leaving no file, if ONNX Runtime's results differ from torch's.
    """
    _require_packages()
    branch = QueryBranch(copy.deepcopy(network).cpu().float()).eval()
    with atomic_write(path) as temporary:
        _write(branch, _metadata(network), temporary)
        error, agreement = _compare(branch, temporary, tolerance)
    return OnnxExport(path, path.stat().st_size, error, agreement)


class QueryBranch(nn.Module):
    """What is exported: from `INPUTS` to those of `OUTPUTS` that the network has."""

    def __init__(self, network: PlaceNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, view: Tensor, seen: Tensor, context: Tensor) -> tuple[Tensor, ...]:
        """Describe one view; see the module."""
        query = self.network.describe_query(QueryView(view, seen), context)
        outputs = (query.descriptor, *(query.prediction or ()))
        return tuple(output for output in outputs if output is not None)


def query_of(outputs: Sequence[Tensor]) -> Query:
    """Put the outputs of a `QueryBranch`, or of a runtime, together again."""
    descriptor, *prediction = outputs
    if not prediction:
        return Query(descriptor)
    features, mask_logits, *ranges = prediction
    return Query(descriptor, ImagePrediction(features, mask_logits, ranges[0] if ranges else None))


def _require_packages() -> None:
    """Raise ConfigError unless all packages are there that write and check a file."""
    for name in _PACKAGES:
        try:
            importlib.import_module(name)
        except ImportError as error:
            raise ConfigError(
                f"the package {name} cannot be imported, and an export needs "
                f'{", ".join(_PACKAGES)}: pip install "scmpr_ros[export]" ({error})'
            ) from error


def _metadata(network: PlaceNetwork) -> dict[str, str]:
    return {
        "format": FORMAT,
        "fingerprint": fingerprint(network),
        "config": json.dumps(to_dict(network.config)),
        "classes": json.dumps([c.name for c in CLASSES]),
    }


@torch.no_grad()
def _write(branch: QueryBranch, metadata: dict[str, str], path: Path) -> None:
    """Trace, translate and write."""
    example = next(example_inputs(branch.network.config))
    names = OUTPUTS[: len(branch(*example))]
    try:
        with forced_backend("doubling"):  # whatever the environment prefers: the others are kernels
            program = torch.onnx.export(
                branch, example, dynamo=True, input_names=INPUTS, output_names=names,
                optimize=False, verbose=False,
            )  # fmt: skip
    except torch.onnx.OnnxExporterError as error:
        raise ConfigError(
            f"this network of method {branch.network.method!r} cannot be written as ONNX: "
            f"{_root_cause(error)}"
        ) from error
    assert program is not None  # as ever with dynamo
    model: Any = program.model
    _fold(model)
    model.producer_name, model.producer_version = "scmpr_ros", __version__
    model.doc_string = __doc__
    model.metadata_props.update(metadata)
    program.save(path, external_data=False)


def _root_cause(error: BaseException) -> str:
    """First line of what torch's pages of advice come from."""
    while error.__cause__ is not None:
        error = error.__cause__
    return str(error).partition("\n")[0]


def _fold(model: Any) -> None:
    """Compute what is constant, drop what is unused or twice there, and the tracer's notes.

    torch's own `optimize=True` also searches for patterns, which takes minutes for the thousands of
    nodes of the scans and makes no runtime measurably faster. Large constants are left to the
    runtime to expand, or a third of the file would be zeros and ones.
    """
    from onnxscript import ir, optimizer

    optimizer.inline(model)
    optimizer.fold_constants(model, output_size_limit=_LARGEST_FOLDED)
    ir.passes.Sequential(
        ir.passes.common.RemoveUnusedNodesPass(),
        ir.passes.common.CommonSubexpressionEliminationPass(),
        ir.passes.common.DeduplicateInitializersPass(),
        ir.passes.common.RemoveUnusedNodesPass(),
        ir.passes.common.ClearMetadataAndDocStringPass(),
    )(model)


@torch.no_grad()
def _compare(branch: QueryBranch, path: Path, tolerance: float) -> tuple[float, float]:
    """Largest error of a descriptor, and share of equal mask cells; CheckpointError if too far."""
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    errors, equal = (0.0, 0.0), []
    for inputs in example_inputs(branch.network.config):
        expected = branch(*inputs)
        fed = {name: x.numpy() for name, x in zip(INPUTS, inputs, strict=True)}
        names = OUTPUTS[: len(expected)]
        found = query_of([torch.from_numpy(x) for x in session.run(names, fed)])
        here = largest_errors(found, query_of(expected))
        errors = max(errors[0], here[0]), max(errors[1], here[1])
        equal.append(_mask_agreement(found, query_of(expected)))
    if are_too_large(errors, tolerance):
        raise CheckpointError(
            "ONNX Runtime does not compute what torch does: descriptors differ by up to "
            f"{errors[0]:.1e}, probabilities by {errors[1]:.1e}; "
            f"{tolerance:.1e} and ten times that are let pass. No file was written; please report "
            "it, with the versions of torch, onnxscript and onnxruntime"
        )
    return errors[0], sum(equal) / len(equal)


def largest_errors(found: Query, expected: Query) -> tuple[float, float]:
    """Largest difference in an entry of a descriptor, and in a probability of class or range."""
    of_probs = [
        _largest_difference(a.softmax(1), b.softmax(1))
        for a, b in zip(_logits(found), _logits(expected), strict=True)
    ]
    return _largest_difference(found.descriptor, expected.descriptor), max(of_probs, default=0.0)


def _largest_difference(a: Tensor, b: Tensor) -> float:
    return float((a - b).abs().nan_to_num(torch.inf).max())  # max() alone would skip NaN


def _logits(query: Query) -> list[Tensor]:
    """Of mask and ranges, as far as there are some."""
    if query.prediction is None:
        return []
    logits = (query.prediction.mask_logits, query.prediction.range_logits)
    return [x for x in logits if x is not None]


def _mask_agreement(found: Query, expected: Query) -> float:
    if found.prediction is None or expected.prediction is None:
        return 1.0
    mask, other = (q.prediction.mask_logits.argmax(1) for q in (found, expected) if q.prediction)
    return float((mask == other).float().mean())


def are_too_large(errors: tuple[float, float], tolerance: float) -> bool:
    """Whether a descriptor's entry is off by more than the tolerance, or a probability by more
    than ten times that; errors: from `largest_errors`."""
    return max(errors[0], errors[1] / 10) > tolerance


def example_inputs(config: PlaceNetworkConfig) -> Iterator[Inputs]:
    """Random inputs that exercise every path: coarse shapes with noise, half-seen views, a map
    that lacks a class. All zeros would hide most mistakes."""
    random = torch.Generator().manual_seed(0)
    height, width = config.mask_grid.height, config.mask_grid.width
    for _ in range(_NUM_CHECKS):
        shapes = torch.rand(1, 3, 4, 8, generator=random)
        shapes = functional.interpolate(shapes, (config.view.height, config.view.width))
        view = 0.7 * shapes + 0.3 * torch.rand(shapes.shape, generator=random)
        seen = torch.rand(height, width, generator=random) < 0.7
        context = functional.normalize(torch.randn(config.context_shape, generator=random), dim=1)
        if len(context):
            context[torch.randint(len(context), (1,), generator=random)] = 0
        yield view, seen, context
