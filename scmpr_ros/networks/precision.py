"""The precision that networks run in."""

from __future__ import annotations

import torch
from torch import nn

from scmpr_ros.errors import ConfigError
from scmpr_ros.networks.device import processor_capabilities
from scmpr_ros.networks.vmamba import SS2D

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def choose_precision(name: str, device: torch.device) -> torch.dtype:
    """Resolve `auto` to bfloat16 where the hardware multiplies it faster, else to float32.

    Those are GPUs since Ampere, and CPUs with AMX or AVX-512 BF16. ConfigError for other names.
    """
    if name != "auto":
        if name not in PRECISIONS:
            raise ConfigError(f"no precision {name!r}; there are auto, {', '.join(PRECISIONS)}")
        return PRECISIONS[name]
    if device.type == "cuda":
        fast = torch.cuda.get_device_capability(device) >= (8, 0)
    else:
        capabilities = processor_capabilities()
        fast = device.type == "cpu" and bool(
            capabilities.get("amx_bf16") or capabilities.get("avx512_bf16")
        )
    return torch.bfloat16 if fast else torch.float32


def lower_weights(module: nn.Module, dtype: torch.dtype) -> nn.Module:
    """Cast weights once, in place, that autocast would cast at every call; return the module.

    Norms and the scan's own parameters keep their precision.
    """
    for part in module.modules():
        if isinstance(part, (nn.Linear, nn.Conv2d)):
            part.to(dtype)
        elif isinstance(part, SS2D):
            part.x_proj_weight.data = part.x_proj_weight.data.to(dtype)
            part.dt_projs_weight.data = part.dt_projs_weight.data.to(dtype)
    return module
