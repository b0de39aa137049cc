"""The scan by mamba_ssm's CUDA extension, on a reordered copy for each direction."""

from __future__ import annotations

import importlib.util

import torch
from torch import Tensor

from scmpr_ros.errors import ConfigError
from scmpr_ros.networks.selective_scan.orders import to_image, to_sequence


def unavailable(device_type: str) -> str | None:
    """Reason why this backend cannot be used on a device type; None if it can."""
    if device_type != "cuda":
        return "needs a GPU"
    if importlib.util.find_spec("mamba_ssm") is None:
        return "mamba_ssm is not installed"
    try:
        from mamba_ssm.ops.selective_scan_interface import selective_scan_fn  # noqa: F401
    except ImportError as error:  # its extension is missing or was compiled for another torch
        return f"mamba_ssm does not import: {error}"
    return None


def scan_grid(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor,
    bias: Tensor,
    softplus: bool,
    orders: tuple[int, ...],
) -> Tensor:
    """See `backends.scan_grid`. One call, with one group per direction."""
    reason = unavailable(u.device.type)
    if reason is not None:
        raise ConfigError(f"scan backend mamba_ssm is not available: {reason}")
    from mamba_ssm.ops.selective_scan_interface import selective_scan_fn

    return scan_as_sequences(selective_scan_fn, u, delta, A, B, C, D, bias, softplus, orders)


def scan_as_sequences(  # type: ignore[no-untyped-def]
    selective_scan_fn, u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor,
    bias: Tensor, softplus: bool, orders: tuple[int, ...],
) -> Tensor:  # fmt: skip
    """Scan a grid with a function that has the signature of mamba_ssm's `selective_scan_fn`."""
    directions, batch, height, width, dim = delta.shape

    def channels_first(images: list[Tensor]) -> Tensor:  # -> (batch, K, channels, L)
        sequences = [to_sequence(x, order) for x, order in zip(images, orders, strict=True)]
        return torch.stack(sequences, dim=1).transpose(2, 3).contiguous()

    y = selective_scan_fn(
        channels_first([u[k if len(u) > 1 else 0] for k in range(directions)]).flatten(1, 2),
        channels_first(list(delta)).flatten(1, 2), A.flatten(0, 1),
        channels_first(list(B)), channels_first(list(C)),
        D=D.flatten(), delta_bias=bias.flatten(), delta_softplus=softplus,
    ).view(batch, directions, dim, height * width)  # fmt: skip
    images = torch.stack(
        [to_image(y[:, k].transpose(1, 2), order, height, width) for k, order in enumerate(orders)]
    )
    return images if len(u) > 1 else images.sum(0, keepdim=True)
