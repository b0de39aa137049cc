"""The scan in few, plain operations on whole images, for export.

All directions are scanned at once, as sequences cut into short runs. Within runs the recurrence is
unrolled, for all runs in parallel. Across runs it takes log2(runs) steps: step i adds to every run
the contribution of the 2^i runs before it (Hillis and Steele 1986). The exported graph has no loops
and no in-place operations.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from scmpr_ros.networks.selective_scan.orders import to_image, to_sequence

_RUNS = (8, 4, 2, 1)
"""Candidate lengths of a run; the first that divides the sequence is used. Longer is no faster."""


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
    """See `backends.scan_grid`."""
    height, width = u.shape[2:4]
    slices = [u[s] * D[s] if len(u) > 1 else u[s] * D.sum(0) for s in range(len(u))]
    step = delta + bias[:, None, None, None]
    step = functional.softplus(step) if softplus else step
    for n in range(A.shape[2]):
        decay = torch.exp(step * A[:, None, None, None, :, n])
        entry = step * u * B[..., n : n + 1]
        h = _states(_sequences(decay, orders), _sequences(entry, orders)).chunk(len(orders))
        for k, order in enumerate(orders):
            s = k if len(u) > 1 else 0
            slices[s] = slices[s] + to_image(h[k], order, height, width) * C[k, ..., n : n + 1]
    return torch.stack(slices)


def _sequences(images: Tensor, orders: tuple[int, ...]) -> Tensor:
    """Reorder images (K, batch, H, W, dim) to sequences in scan order (K batch, H W, dim)."""
    return torch.cat([to_sequence(images[k], order) for k, order in enumerate(orders)])


def _states(decay: Tensor, entry: Tensor) -> Tensor:
    """Compute h[t] = decay[t] * h[t-1] + entry[t], h[-1] = 0, of sequences (n, length, dim)."""
    run = next(run for run in _RUNS if entry.shape[1] % run == 0)
    decays, entries = (x.unflatten(1, (-1, run)).unbind(2) for x in (decay, entry))
    run_decay, h = decays[0], entries[0]
    for d, e in zip(decays[1:], entries[1:], strict=True):
        run_decay, h = run_decay * d, d * h + e
    h = _shifted(_states_by_doubling(run_decay, h), 1, 0.0)  # the state before each run
    states = []
    for d, e in zip(decays, entries, strict=True):
        h = d * h + e
        states.append(h)
    return torch.stack(states, dim=2).flatten(1, 2)


def _states_by_doubling(decay: Tensor, entry: Tensor) -> Tensor:
    """Compute what `_states` does, in log2(length) steps."""
    h, distance = entry, 1
    while distance < h.shape[1]:
        h = h + decay * _shifted(h, distance, 0.0)
        decay = decay * _shifted(decay, distance, 1.0)
        distance *= 2
    return h


def _shifted(x: Tensor, distance: int, fill: float) -> Tensor:
    """Shift sequences (n, length, dim) towards their end, filling the start with `fill`."""
    length = x.shape[1]
    if distance == length:  # avoid empty tensors, which some runtimes do not support
        return torch.full_like(x, fill)
    return functional.pad(x.narrow(1, 0, length - distance), (0, 0, distance, 0), value=fill)
