"""Timing of functions that take turns, so that a drifting machine slows all of them alike."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from tqdm import tqdm

K = TypeVar("K")


@dataclass(frozen=True)
class Timing:
    """Milliseconds of repeated runs."""

    median_ms: float
    p95_ms: float
    min_ms: float
    runs: int

    @classmethod
    def of(cls, seconds: Iterable[float]) -> Timing:
        """Summarise the times of runs."""
        ms = np.asarray(list(seconds)) * 1e3
        return cls(
            float(np.median(ms)), float(np.percentile(ms, 95)), float(ms.min()), runs=len(ms)
        )


def time_in_turn(
    functions: Mapping[K, Callable[[], object]],
    runs: int,
    device: torch.device,
    warm_ups: int = 3,
    label: str = "timing",
) -> dict[K, Timing]:
    """Time functions in turns: A B C A B C ...

    runs: rounds that count, after `warm_ups` that do not. label: of the progress bar.
    """
    wait = synchroniser(device)
    seconds: dict[K, list[float]] = {key: [] for key in functions}
    for turn in tqdm(range(-warm_ups, runs), desc=label, unit="round", leave=False):
        for key, function in functions.items():
            wait()
            began_s = time.perf_counter()
            function()
            wait()
            if turn >= 0:
                seconds[key].append(time.perf_counter() - began_s)
    return {key: Timing.of(values) for key, values in seconds.items()}


def synchroniser(device: torch.device) -> Callable[[], None]:
    """Return a function that waits until the device is idle."""
    if device.type == "cuda":
        return lambda: torch.cuda.synchronize(device)
    return lambda: None
