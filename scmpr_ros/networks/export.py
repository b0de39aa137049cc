"""The RGB branch as one ONNX file, for runtimes that have no torch, checked against torch.

    inputs   view        (1, 3, H, W) float32 in [0, 1], the image on the network's view grid
             seen        (h, w) bool, cells of the mask's grid inside the camera's image
             context     (S, C) float32, the map's semantic context: `context.npy` of a place map
    outputs  descriptor  (1, D) float32, D_RGB, unit length
             class_probs (NUM_CLASSES, h, w) float32, S_RGB, the probability of each joint class

These are what `QueryEncoder` takes and gives, and what the index and eq. 10 ask for.

Runtimes have been seen to compute exported scans wrongly without a word. So a file gets its name
only after ONNX Runtime has computed from it what torch computes from the network.
"""

from __future__ import annotations

import copy
import importlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from scmpr_ros import __version__
from scmpr_ros.atomic_files import atomic_write
from scmpr_ros.errors import CheckpointError, ConfigError
from scmpr_ros.networks.checkpoint import fingerprint
from scmpr_ros.networks.place_network import PlaceNetwork
from scmpr_ros.networks.scmpr import ScmprConfig, ScmprNetwork
from scmpr_ros.networks.selective_scan import forced_backend
from scmpr_ros.semantics import CLASSES, STATIC_IDS

VERSION = 2
FORMAT = f"scmpr_ros RGB branch/{VERSION}"
INPUTS = ("view", "seen", "context")
OUTPUTS = ("descriptor", "class_probs")

_PACKAGES = ("onnx", "onnxscript", "onnxruntime")
_NUM_CHECKS = 4
_LARGEST_FOLDED = 4096  # elements; see `_fold`

Inputs = tuple[Tensor, Tensor, Tensor]


@dataclass(frozen=True)
class OnnxExport:
    """A written file, and how far ONNX Runtime is from torch with it.

    descriptor_error: largest absolute difference in an entry of a descriptor.
    mask_agreement: share of mask cells whose most probable class is the same.
    """

    path: Path
    size_bytes: int
    descriptor_error: float
    mask_agreement: float


def export_onnx(network: PlaceNetwork, path: Path, tolerance: float = 1e-5) -> OnnxExport:
    """Write the RGB branch for views of `network.config.view`, one at a time, in float32.

    The file's metadata hold `format`, the network's `fingerprint` (which a place map's
    metadata.json must have too), its `config` as JSON, and the `classes` that the ids stand for.

    tolerance: how far an entry of a descriptor may be off, and, ten times that, a probability.
        Right files stay below 1e-6; with trained weights, a scan gone wrong is off by 1e-2.

    Raises ConfigError if a package is missing, the network is not SCM-PR's or has operations that
    ONNX has not, and
    CheckpointError, leaving no file, if ONNX Runtime computes something else than torch.
    """
    _require_packages()
    if not isinstance(network, ScmprNetwork):
        raise ConfigError(f"only SCM-PR is exported, and this is a {type(network).__name__}")
    branch = RgbBranch(copy.deepcopy(network).cpu().float()).eval()
    with atomic_write(path) as temporary:
        _write(branch, _metadata(network), temporary)
        error, agreement = _compare(branch, temporary, tolerance)
    return OnnxExport(path, path.stat().st_size, error, agreement)


class RgbBranch(nn.Module):
    """What is exported: from `INPUTS` to `OUTPUTS`."""

    def __init__(self, network: ScmprNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, view: Tensor, seen: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        """Descriptor (1, D) and probabilities (NUM_CLASSES, h, w); see the module."""
        prediction = self.network.predict(view)
        descriptor = self.network.describe_image(prediction, seen, context)
        return descriptor, prediction.mask_logits[0].softmax(0)


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


def _metadata(network: ScmprNetwork) -> dict[str, str]:
    return {
        "format": FORMAT,
        "fingerprint": fingerprint(network),
        "config": json.dumps(asdict(network.config)),
        "classes": json.dumps([c.name for c in CLASSES]),
    }


@torch.no_grad()
def _write(branch: RgbBranch, metadata: dict[str, str], path: Path) -> None:
    """Trace, translate and write."""
    example = next(example_inputs(branch.network.config))
    try:
        with forced_backend("doubling"):  # whatever the environment prefers: the others are kernels
            program = torch.onnx.export(
                branch, example, dynamo=True, input_names=INPUTS, output_names=OUTPUTS,
                optimize=False, verbose=False,
            )  # fmt: skip
    except torch.onnx.OnnxExporterError as error:
        raise ConfigError(
            f"a network with backbone {branch.network.config.backbone!r} cannot be written as "
            f"ONNX: {_root_cause(error)}"
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
def _compare(branch: RgbBranch, path: Path, tolerance: float) -> tuple[float, float]:
    """Largest error of a descriptor, and share of equal mask cells; CheckpointError if too far."""
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    errors, equal = (0.0, 0.0), []
    for inputs in example_inputs(branch.network.config):
        expected = branch(*inputs)
        fed = {name: x.numpy() for name, x in zip(INPUTS, inputs, strict=True)}
        found = [torch.from_numpy(x) for x in session.run(OUTPUTS, fed)]
        here = largest_errors(found, expected)
        errors = max(errors[0], here[0]), max(errors[1], here[1])
        equal.append(float((found[1].argmax(0) == expected[1].argmax(0)).float().mean()))
    if are_too_large(errors, tolerance):
        raise CheckpointError(
            "ONNX Runtime does not compute what torch does: descriptors differ by up to "
            f"{errors[0]:.1e}, probabilities of classes by {errors[1]:.1e}; "
            f"{tolerance:.1e} and ten times that are let pass. No file was written; please report "
            "it, with the versions of torch, onnxscript and onnxruntime"
        )
    return errors[0], sum(equal) / len(equal)


def largest_errors(found: Iterable[Tensor], expected: Iterable[Tensor]) -> tuple[float, float]:
    """Largest difference in an entry of a descriptor and in a probability: of both `OUTPUTS`."""
    # A maximum that ignores NaN would let it pass.
    descriptor, class_probs = (
        float((a - b).abs().nan_to_num(torch.inf).max())
        for a, b in zip(found, expected, strict=True)
    )
    return descriptor, class_probs


def are_too_large(errors: tuple[float, float], tolerance: float) -> bool:
    """Whether a descriptor's entry is off by more than the tolerance, or a probability by more
    than ten times that; errors: from `largest_errors`."""
    return max(errors[0], errors[1] / 10) > tolerance


def example_inputs(config: ScmprConfig) -> Iterator[Inputs]:
    """Random inputs that leave nothing out: coarse shapes with noise, half-seen views, a map that
    lacks a class. All zeros would hide most mistakes."""
    random = torch.Generator().manual_seed(0)
    height, width = config.mask_grid.height, config.mask_grid.width
    for _ in range(_NUM_CHECKS):
        shapes = torch.rand(1, 3, 4, 8, generator=random)
        shapes = functional.interpolate(shapes, (config.view.height, config.view.width))
        view = 0.7 * shapes + 0.3 * torch.rand(shapes.shape, generator=random)
        seen = torch.rand(height, width, generator=random) < 0.7
        size = (len(STATIC_IDS), config.encoder.place_channels)
        context = functional.normalize(torch.randn(size, generator=random), dim=1)
        context[torch.randint(len(context), (1,), generator=random)] = 0
        yield view, seen, context
