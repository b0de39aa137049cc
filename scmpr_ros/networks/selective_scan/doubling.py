"""The scan in few, plain operations on whole images: fit for export.

All directions are scanned at once, as sequences cut into short runs. Within the runs the recurrence
is written out step by step, over all runs together; from run to run it takes log2(runs) steps, of
which step i brings to every run what the last 2^i runs add to its state (Hillis and Steele 1986).
There is no loop that a runtime could get wrong and nothing is written in place.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from scmpr_ros.networks.selective_scan.orders import to_image, to_sequence

_RUNS = (8, 4, 2, 1)
"""Lengths of a run; the first is taken that divides the sequence. Longer ones are no faster."""


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
    """(K, batch, H, W, dim), each in its walking order: (K batch, H W, dim)."""
    return torch.cat([to_sequence(images[k], order) for k, order in enumerate(orders)])


def _states(decay: Tensor, entry: Tensor) -> Tensor:
    """h[t] = decay[t] * h[t-1] + entry[t], from h[-1] = 0, for sequences (n, length, dim)."""
    run = next(run for run in _RUNS if entry.shape[1] % run == 0)
    decays, entries = (x.unflatten(1, (-1, run)).unbind(2) for x in (decay, entry))
    through, h = decays[0], entries[0]
    for d, e in zip(decays[1:], entries[1:], strict=True):
        through, h = through * d, d * h + e
    h = _moved(_states_by_doubling(through, h), 1, 0.0)  # the state before each run
    states = []
    for d, e in zip(decays, entries, strict=True):
        h = d * h + e
        states.append(h)
    return torch.stack(states, dim=2).flatten(1, 2)


def _states_by_doubling(decay: Tensor, h: Tensor) -> Tensor:
    """As `_states`, where `h` comes as the entries."""
    reach = 1
    while reach < h.shape[1]:
        h = h + decay * _moved(h, reach, 0.0)
        decay = decay * _moved(decay, reach, 1.0)
        reach *= 2
    return h


def _moved(x: Tensor, reach: int, fill: float) -> Tensor:
    """Move sequences (n, length, dim) towards their end by `reach`; `fill` comes in."""
    length = x.shape[1]
    if reach == length:  # runtimes need not bear tensors without elements
        return torch.full_like(x, fill)
    return functional.pad(x.narrow(1, 0, length - reach), (0, 0, reach, 0), value=fill)
