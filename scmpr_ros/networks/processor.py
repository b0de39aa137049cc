"""Capabilities of this machine's processor, as torch reports them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch


def processor_capabilities() -> Mapping[str, Any]:
    """Values by name, such as `amx_bf16` or `cpu_name`; empty if this torch does not report any."""
    return torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
