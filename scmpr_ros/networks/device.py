"""The device that networks run on, and what its processor can do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from scmpr_ros.errors import ConfigError


def choose_device(name: str) -> torch.device:
    """Resolve `auto` to the GPU if there is one; ConfigError for a device that is missing."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ConfigError(f"no device {name!r}: use auto, cpu or cuda") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ConfigError(f"device {name!r} was asked for, but torch sees no GPU; use auto or cpu")
    return device


def processor_capabilities() -> Mapping[str, Any]:
    """The CPU's features by torch's names, such as `amx_bf16`; empty for older torch versions."""
    return torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
