"""What torch knows of this machine's processor."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch


def processor_capabilities() -> Mapping[str, Any]:
    """Names such as `amx_bf16` or `cpu_name` with their values; empty where torch is too old."""
    return torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
