"""Load official VMamba weights into `vmamba.VMamba`.

Supported are the files of https://github.com/MzeroMiko/VMamba: releases, with the tensors under
`model`; training checkpoints, which also hold an optimizer, averaged weights `model_ema` and a
config; and plain state dicts. Names and shapes of all versions of that code are converted. Only
tensors and plain containers are unpickled, and weights load completely or not at all.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from functools import cache
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from scmpr_ros.errors import CheckpointError
from scmpr_ros.networks.vmamba import NUM_ORDERS, VARIANTS, VMamba, build_vmamba
from scmpr_ros.networks.weights import load_strictly

RELEASES_URL = "https://github.com/MzeroMiko/VMamba/releases"

_HEAD = "classifier.head."
_RENAMES = tuple(
    (re.compile(old), new)
    for old, new in (
        # Until 28 January 2024; the official code renames them in the same way.
        (r"^patch_embed\.proj\.", "patch_embed.0."),
        (r"^patch_embed\.norm\.", "patch_embed.2."),
        (r"^(layers\.\d+\.blocks\.\d+)\.ln_1\.", r"\1.norm."),
        (r"^(layers\.\d+\.blocks\.\d+)\.self_attention\.", r"\1.op."),
        (r"^(norm|head)\.", r"classifier.\1."),
        # Single-file version of March 2025: grouped linear layers instead of bare parameters.
        (r"\.op\.(x_proj|dt_projs)\.weight$", r".op.\1_weight"),
    )
)


def load_official(path: Path, variant: str | None = None, source: str = "model") -> VMamba:
    """Build the VMamba stored in a file, in eval mode and float32 on the CPU.

    Args:
        path: .pth or .safetensors, see above.
        variant: a name of `vmamba.VARIANTS`; None detects it from the tensors. The number of
            classes always comes from the file.
        source: `model`, or `model_ema` for the averaged weights of a training checkpoint.

    Raises:
        CheckpointError: the file is damaged, lacks the source, or does not fit the variant; the
            message lists missing, unexpected and mis-shaped entries.
        ConfigError: the variant is unknown.
    """
    tensors = _read_tensors(path, source)
    variant = variant or _closest_variant(tensors)
    with torch.device("meta"):  # skips the random initialisation, which takes a second
        network = build_vmamba(variant, _num_classes(tensors))
    network.to_empty(device="cpu")
    _load(network, tensors, path, source)
    return network.eval()


def load_official_into(network: VMamba, path: Path, source: str = "model") -> None:
    """Copy a file's weights into an existing network, for example to fine-tune it.

    A network without a classifier ignores the file's. Arguments and errors are those of
    `load_official`; after an error the network is unchanged.
    """
    tensors = _read_tensors(path, source)
    if network.classifier is None:
        tensors = {k: v for k, v in tensors.items() if not k.startswith("classifier.")}
    _load(network, tensors, path, source)


def _load(network: VMamba, tensors: dict[str, Tensor], path: Path, source: str) -> None:
    try:
        load_strictly(network, tensors, f"{path} ({source!r})")
    except CheckpointError as error:
        raise CheckpointError(
            f"{error}. Of the variants {', '.join(VARIANTS)} it is closest to "
            f"{_closest_variant(tensors)!r}"
        ) from None


def _num_classes(tensors: dict[str, Tensor]) -> int:
    head = tensors.get(_HEAD + "weight")
    return 1000 if head is None or not head.ndim else len(head)


def _closest_variant(tensors: dict[str, Tensor]) -> str:
    """The variant whose names and shapes differ least, ignoring the head."""
    entries = {(k, tuple(v.shape)) for k, v in tensors.items() if not k.startswith(_HEAD)}
    return min(VARIANTS, key=lambda variant: len(entries ^ _entries(variant)))


@cache
def _entries(variant: str) -> frozenset[tuple[str, tuple[int, ...]]]:
    """Names and shapes of a variant's tensors, without the head."""
    with torch.device("meta"):
        state = build_vmamba(variant).state_dict()
    return frozenset((k, tuple(v.shape)) for k, v in state.items() if not k.startswith(_HEAD))


def _read_tensors(path: Path, source: str) -> dict[str, Tensor]:
    """Read a file's tensors, converted to the names and shapes of `VMamba`."""
    stored = read_state_dict(path, source)
    tensors: dict[str, Tensor] = {}
    for old_name, value in stored.items():
        name = old_name
        for old, new in _RENAMES:
            name = old.sub(new, name)
        if name in tensors:
            raise CheckpointError(
                f"{path}: {old_name!r} is an old name of {name!r}, which the file also holds; "
                "delete one of the two"
            )
        tensors[name] = _reshaped(name, value)
    return tensors


def read_state_dict(path: Path, source: str) -> dict[str, Tensor]:
    """Read the tensors under `source`, or all of a plain state dict; CheckpointError if damaged."""
    return _pick(_read_file(path), source, path)


def _reshaped(name: str, value: Tensor) -> Tensor:
    if value.ndim == 4 and value.shape[2:] == (1, 1):
        return value.flatten(1)  # a linear layer stored as a 1x1 convolution
    if name.endswith(("x_proj_weight", "dt_projs_weight")) and value.ndim == 2:
        rows = len(value)
        return value if rows % NUM_ORDERS else value.unflatten(0, (NUM_ORDERS, rows // NUM_ORDERS))
    return value


def _pick(content: Any, source: str, path: Path) -> dict[str, Tensor]:
    """The tensors under `source`, or the whole content if it is a plain state dict."""
    if isinstance(content, dict) and source in content:
        tensors = content[source]
    elif source == "model" and _is_state_dict(content):
        tensors = content
    else:
        raise CheckpointError(
            f"{path}: no entry {source!r}, only {_summary(content)}; pass the entry to load as "
            f"`source`, or download an official file from {RELEASES_URL}"
        )
    if not _is_state_dict(tensors):
        raise CheckpointError(
            f"{path}: {source!r} should map names to tensors, not {_summary(tensors)}"
        )
    return tensors


def _is_state_dict(content: Any) -> bool:
    return (
        isinstance(content, dict)
        and len(content) > 0
        and all(isinstance(k, str) and isinstance(v, Tensor) for k, v in content.items())
    )


def _summary(content: Any) -> str:
    if not isinstance(content, dict):
        return f"a {type(content).__name__}"
    names = [repr(name) for name in content]
    kind = "tensors" if _is_state_dict(content) else "entries"
    return f"{len(names)} {kind}: {', '.join(names[:8])}{' ...' if len(names) > 8 else ''}"


def _read_file(path: Path) -> Any:
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file; official releases: {RELEASES_URL}")
    # Training checkpoints contain their config, a yacs CfgNode; yacs need not be installed.
    config_as_dict = torch.serialization.safe_globals([(OrderedDict, "yacs.config.CfgNode")])
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        with config_as_dict:
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # invalid files raise many types of exception
        raise CheckpointError(f"{path}: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    """The reason of `torch.load`'s error, without its advice to trust the file."""
    unsafe = re.search(r"GLOBAL (\S+)", str(error))
    if unsafe:
        return (
            f"it contains {unsafe[1]}, which cannot be loaded without running code from the file; "
            "nothing was run or loaded. Save its 'model' alone with the code that wrote it"
        )
    reason = str(error).rpartition("WeightsUnpickler error:")[2].strip().partition("\n")[0]
    return (
        f"not a complete weight file ({reason or type(error).__name__}); download it again, "
        f"official releases: {RELEASES_URL}"
    )
