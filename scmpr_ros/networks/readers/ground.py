"""Scale and shift of relative depth, from the camera's height above flat ground."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import least_squares
from torch import Tensor

from scmpr_ros.networks.readers.cells import Cells
from scmpr_ros.semantics import class_id

_GROUND = [class_id(name) for name in ("road", "sidewalk")]
_HIGHEST_DEG = -3.0  # ground seen flatter than this is far, and rarely as flat as assumed
_WIDTH_DEG = 20.0  # to either side, where no mask says what is ground
_STEP = 4  # of the samples; neighbours say the same
_LEAST_SAMPLES = 50
_NUM_PAIRS = 200  # the best of which is surely ground where a third of the samples are
_TYPICAL_ERROR = 0.05  # relative; cars and slopes err by far more
_LARGEST_ERROR = 0.2
_LEAST_INLIERS = 0.5  # share of the ground within the largest error


def metric_depth(
    relative: Tensor, inverse: bool, cells: Cells, height_m: float, class_probs: Tensor | None
) -> Tensor | None:
    """Depth in metres (8h, 8w) along the optical axis, or None if no ground fits.

    relative: (8h, 8w), depth or, if `inverse`, inverse depth, but for scale and shift.
    height_m: of the camera above the ground, which is flat and level.
    class_probs: (1, NUM_CLASSES, h, w), whose road and sidewalk are the ground; without them it is
        the lower middle of the image.
    """
    ground = _ground(cells, class_probs)
    depth_m = height_m / -cells.directions[..., 2] * cells.axial
    known = depth_m[ground].double().cpu().numpy()
    fitted = fit_scale_and_shift(
        relative[ground].double().cpu().numpy(), 1 / known if inverse else known
    )
    if fitted is None:
        return None
    values = fitted[0] * relative + fitted[1]
    if not inverse:
        return values
    return torch.where(values > 0, 1 / values.clamp_min(1e-9), torch.inf)


def fit_scale_and_shift(
    relative: NDArray[np.float64], known: NDArray[np.float64]
) -> tuple[float, float] | None:
    """Scale (positive) and shift that map `relative` (N,) to `known` (N,) > 0, by relative errors.

    Up to half may be outliers (RANSAC, then Cauchy's loss). None if there is too little, or no such
    line fits half of it.
    """
    if len(relative) < _LEAST_SAMPLES or np.ptp(relative) < 1e-9:
        return None
    centre, spread = np.median(relative), relative.std()
    columns = np.stack([(relative - centre) / spread, np.ones_like(relative)], 1) / known[:, None]
    start = _line_of_most(columns)
    if start is None:
        return None
    fit = least_squares(lambda x: columns @ x - 1, start, loss="cauchy", f_scale=_TYPICAL_ERROR)
    scale, shift = float(fit.x[0] / spread), float(fit.x[1] - fit.x[0] * centre / spread)
    inliers = np.abs(columns @ fit.x - 1) < _LARGEST_ERROR
    return (scale, shift) if scale > 0 and inliers.mean() >= _LEAST_INLIERS else None


def _line_of_most(columns: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """The x (2,) through two of the rows (N, 2) for which `columns @ x` is near 1 most often.

    None if no two of the rows differ.
    """
    pairs = columns[np.random.default_rng(0).integers(0, len(columns), (_NUM_PAIRS, 2))]
    pairs = pairs[np.abs(np.linalg.det(pairs)) > 1e-9]
    if not len(pairs):
        return None
    lines = np.linalg.solve(pairs, np.ones((len(pairs), 2, 1)))[..., 0]
    votes = (np.abs(columns @ lines.T - 1) < 2 * _TYPICAL_ERROR).sum(0)
    best: NDArray[np.float64] = lines[votes.argmax()]
    return best


def _ground(cells: Cells, class_probs: Tensor | None) -> Tensor:
    """Samples (8h, 8w) bool of the ground, thinned out."""
    x, y, z = cells.directions.unbind(-1)
    ground = cells.seen_samples & (z < math.sin(math.radians(_HIGHEST_DEG))) & (cells.axial > 0)
    if class_probs is None:
        ground = ground & (y.abs() < x * math.tan(math.radians(_WIDTH_DEG)))
    else:
        likely = class_probs[:, _GROUND].sum(1, keepdim=True) > 0.5
        ground = ground & (cells.to_samples(likely.float())[0, 0] > 0)
    thin = torch.zeros_like(ground)
    thin[::_STEP, ::_STEP] = True
    return ground & thin
