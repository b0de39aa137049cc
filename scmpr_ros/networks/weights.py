"""Weights of a network: read from safetensors, loaded all or none, identified by a fingerprint."""

from __future__ import annotations

import hashlib
from pathlib import Path

from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from scmpr_ros.errors import CheckpointError


def read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read a file's tensors and metadata; CheckpointError where it is missing or truncated."""
    if not path.is_file():
        raise CheckpointError(f"{path}: no such checkpoint; `models/` holds the shipped ones")
    try:
        with safe_open(path, framework="pt") as file:
            return {key: file.get_tensor(key) for key in file.keys()}, file.metadata() or {}
    except SafetensorError as error:
        raise CheckpointError(f"{path}: not a whole safetensors file: {error}") from error


def load_strictly(network: nn.Module, tensors: dict[str, Tensor], source: str) -> None:
    """Copy tensors into a network, all of them or none.

    Raises CheckpointError that lists missing, unexpected, mis-shaped and non-finite tensors.
    """
    own = network.state_dict()
    problems = {
        "missing": sorted(own.keys() - tensors.keys()),
        "unexpected": sorted(tensors.keys() - own.keys()),
        "mis-shaped": [
            f"{name} {tuple(tensors[name].shape)} instead of {tuple(own[name].shape)}"
            for name in sorted(own.keys() & tensors.keys())
            if own[name].shape != tensors[name].shape
        ],
        "not finite": [name for name in sorted(tensors) if not tensors[name].isfinite().all()],
    }
    complaints = [
        f"{len(names)} {kind}: {', '.join(names[:5])}{' ...' if len(names) > 5 else ''}"
        for kind, names in problems.items()
        if names
    ]
    if complaints:
        raise CheckpointError(f"{source} does not fit the network: {'; '.join(complaints)}")
    network.load_state_dict({k: v.to(own[k].dtype) for k, v in tensors.items()}, strict=True)


def digest_of_weights(network: nn.Module, salt: str) -> str:
    """SHA-256 of `salt` and of the name and bytes of every tensor of a network."""
    digest = hashlib.sha256(salt.encode())
    for name, value in sorted(network.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
