"""Weights on disk: one safetensors file, whose header carries the network's config as JSON.

Nothing is unpickled, and nothing is loaded by half: a file that does not fit its own config says
which tensors are missing, unexpected or of another shape.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from scmpr_ros.atomic_files import atomic_write
from scmpr_ros.errors import CheckpointError, ConfigError
from scmpr_ros.geometry import AngularGrid
from scmpr_ros.networks.depth import DepthConfig
from scmpr_ros.networks.layout import LayoutConfig
from scmpr_ros.networks.lip_loc import LipLocConfig, LipLocNetwork
from scmpr_ros.networks.netvlad import NetVladConfig
from scmpr_ros.networks.panorama_encoder import PanoramaEncoderConfig
from scmpr_ros.networks.place_network import PlaceNetwork
from scmpr_ros.networks.saff import SaffConfig
from scmpr_ros.networks.scmpr import ScmprConfig, ScmprNetwork

FORMAT = "scmpr_ros/1"

_RENAMED = {
    ".centring.": ".batch_norm.",
    "saff.segment.": "saff.mask_head.",
    "saff.measure.": "saff.range_head.",
    "saff.describe.": "saff.place_head.",
}
"""Parts of tensor names that older checkpoints have, and what they are called today."""


def save_checkpoint(network: PlaceNetwork, path: Path, dtype: torch.dtype | None = None) -> None:
    """Write a network; `dtype=torch.float16` halves the file, at no cost that was measured."""
    tensors = {
        name: (value.to(dtype) if dtype and value.is_floating_point() else value).contiguous()
        for name, value in network.state_dict().items()
    }
    kind = next(name for name, made in _KINDS.items() if type(network) is made.network)
    metadata = {"format": FORMAT, "kind": kind, "config": json.dumps(asdict(network.config))}
    with atomic_write(path) as temporary:
        save_file(tensors, temporary, metadata)


def load_checkpoint(path: Path, device: str | torch.device = "cpu") -> PlaceNetwork:
    """Rebuild a network in eval mode and float32; raises CheckpointError if anything is off."""
    tensors, metadata = _read(path)
    if metadata.get("format") != FORMAT:
        raise CheckpointError(
            f"{path}: format {metadata.get('format')!r} in its header, expected {FORMAT!r}; "
            "was it written by `train` of another version, or not by scmpr_ros at all?"
        )
    try:
        kind = _KINDS[metadata.get("kind", "scmpr")]
        config = kind.config(json.loads(metadata["config"]))
    except (KeyError, TypeError, ValueError, ConfigError) as error:
        raise CheckpointError(f"{path}: its config cannot be read: {error}") from error
    network = kind.network(config)
    load_strictly(network, _with_current_names(tensors), str(path))
    return network.eval().to(device)


def _with_current_names(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    renamed = {}
    for name, value in tensors.items():
        for old, new in _RENAMED.items():
            name = name.replace(old, new)
        renamed[name] = value
    return renamed


def load_strictly(network: nn.Module, tensors: dict[str, Tensor], source: str) -> None:
    """Copy tensors into a network, all of them or none; none that are not finite."""
    own = network.state_dict()
    missing = sorted(own.keys() - tensors.keys())
    unexpected = sorted(tensors.keys() - own.keys())
    misshaped = [
        f"{name} {tuple(tensors[name].shape)} instead of {tuple(own[name].shape)}"
        for name in sorted(own.keys() & tensors.keys())
        if own[name].shape != tensors[name].shape
    ]
    broken = [name for name in sorted(tensors) if not tensors[name].isfinite().all()]
    complaints = [
        f"{len(names)} {kind}: {', '.join(names[:5])}{' ...' if len(names) > 5 else ''}"
        for kind, names in (
            ("missing", missing), ("unexpected", unexpected), ("mis-shaped", misshaped),
            ("not finite", broken),
        )
        if names
    ]  # fmt: skip
    if complaints:
        raise CheckpointError(f"{source} does not fit the network: {'; '.join(complaints)}")
    network.load_state_dict({k: v.to(own[k].dtype) for k, v in tensors.items()}, strict=True)


def fingerprint(network: PlaceNetwork) -> str:
    """Hash of config and weights: descriptors can be compared only if this is the same."""
    digest = hashlib.sha256(json.dumps(asdict(network.config), sort_keys=True).encode())
    for name, value in sorted(network.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def config_from_dict(values: dict[str, Any]) -> ScmprConfig:
    """Rebuild a network's config from `dataclasses.asdict`; unknown keys raise TypeError."""
    values = dict(values)
    encoder = dict(values.pop("encoder"))
    encoder["widths"] = tuple(encoder["widths"])
    layout = dict(values.pop("layout"))
    layout["band_edges_deg"] = tuple(layout["band_edges_deg"])
    depth = dict(values.pop("depth"))
    depth["edges_m"] = tuple(depth["edges_m"])
    return ScmprConfig(
        view=AngularGrid(**values.pop("view")),
        panorama=AngularGrid(**values.pop("panorama")),
        saff=SaffConfig(**values.pop("saff")),
        encoder=PanoramaEncoderConfig(**encoder),
        netvlad=NetVladConfig(**values.pop("netvlad")),
        layout=LayoutConfig(**layout),
        depth=DepthConfig(**depth),
        **values,
    )


def _lip_loc_config(values: dict[str, Any]) -> LipLocConfig:
    view, panorama = (AngularGrid(**values.pop(name)) for name in ("view", "panorama"))
    return LipLocConfig(view=view, panorama=panorama, **values)


class _Kind(NamedTuple):
    """A network that a file may hold, and how its config is read."""

    network: Callable[[Any], PlaceNetwork]
    config: Callable[[dict[str, Any]], Any]


_KINDS = {
    "scmpr": _Kind(ScmprNetwork, config_from_dict),
    "lip_loc": _Kind(LipLocNetwork, _lip_loc_config),
}


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    if not path.is_file():
        raise CheckpointError(f"{path}: no such checkpoint; `models/` holds the shipped ones")
    try:
        with safe_open(path, framework="pt") as file:
            return {key: file.get_tensor(key) for key in file.keys()}, file.metadata() or {}
    except SafetensorError as error:
        raise CheckpointError(f"{path}: not a whole safetensors file: {error}") from error
