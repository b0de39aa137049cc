"""Checkpoints: one safetensors file, whose header names the method and holds its config as JSON.

Nothing is unpickled, and nothing is loaded by half: a file that does not fit its own config says
which tensors are missing, unexpected or of another shape.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from scmpr_ros.atomic_files import atomic_write
from scmpr_ros.config import from_dict, to_dict
from scmpr_ros.errors import CheckpointError, ConfigError
from scmpr_ros.methods.network import PlaceNetwork
from scmpr_ros.methods.registry import find_method
from scmpr_ros.networks.weights import digest_of_weights, load_strictly, read_safetensors

FORMAT = "scmpr_ros/1"

_RENAMED = {
    r"\.centring\.": ".batch_norm.",
    r"^saff\.segment\.": "saff.mask_head.",
    r"^saff\.measure\.": "saff.range_head.",
    r"^saff\.describe\.": "saff.place_head.",
    r"^shares$": "part_logits",
}
"""Patterns of tensor names in older checkpoints, and their replacements."""

_ADDED = re.compile(r"^cell_statistics\.")
"""Tensors that older checkpoints lack; they keep their initial values, which serve as well."""


def save_checkpoint(network: PlaceNetwork, path: Path, dtype: torch.dtype | None = None) -> None:
    """Write a network; `dtype=torch.float16` halves the file, at no measurable cost in recall."""
    tensors = {
        name: (value.to(dtype) if dtype and value.is_floating_point() else value).contiguous()
        for name, value in network.state_dict().items()
    }
    metadata = {
        "format": FORMAT, "kind": network.method, "config": json.dumps(to_dict(network.config)),
    }  # fmt: skip
    with atomic_write(path) as temporary:
        save_file(tensors, temporary, metadata)


def load_checkpoint(path: Path, device: str | torch.device = "cpu") -> PlaceNetwork:
    """Rebuild a network in eval mode and float32; raises CheckpointError if anything is off."""
    tensors, metadata = read_safetensors(path)
    if metadata.get("format") != FORMAT:
        raise CheckpointError(
            f"{path}: format {metadata.get('format')!r} in its header, expected {FORMAT!r}; "
            "was it written by `train` of another version, or not by scmpr_ros at all?"
        )
    try:
        method = find_method(metadata.get("kind", "scmpr"))
        config = from_dict(method.config, json.loads(metadata["config"]), source="its config")
    except (KeyError, ValueError, ConfigError) as error:
        raise CheckpointError(f"{path}: its config cannot be read: {error}") from error
    network = method.network(config)
    own = network.state_dict()
    later = {name: own[name] for name in own.keys() - tensors.keys() if _ADDED.match(name)}
    load_strictly(network, _with_current_names(tensors) | later, str(path))
    return network.eval().to(device)


def fingerprint(network: PlaceNetwork) -> str:
    """Hash of config and weights: descriptors are comparable only where it is equal."""
    # As read back from a file, so that 12 and 12.0 are the same setting.
    config = from_dict(type(network.config), to_dict(network.config))
    return digest_of_weights(network, json.dumps(to_dict(config), sort_keys=True))


def _with_current_names(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    renamed = {}
    for name, value in tensors.items():
        for old, new in _RENAMED.items():
            name = re.sub(old, new, name)
        renamed[name] = value
    return renamed
