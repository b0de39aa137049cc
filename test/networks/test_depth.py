"""Ranges of the depth head."""

from __future__ import annotations

import math

import pytest
import torch

from scmpr_ros.errors import ConfigError
from scmpr_ros.networks.depth import (
    DepthConfig,
    expected_ranges,
    one_hot_ranges,
    range_ids,
    range_probs,
)

CONFIG = DepthConfig((1.0, 5.0, 20.0))


def test_ranges_by_hand() -> None:
    """0 is a cell without a return; 0.5 m and 20 m lie outside the edges."""
    range_m = torch.tensor([[[0.0, 0.5, 1.0, 4.9, 5.0, 20.0]]])
    assert range_ids(range_m, CONFIG).tolist() == [[[2, 2, 0, 0, 1, 2]]]
    assert one_hot_ranges(range_m, CONFIG)[0, :, 0].tolist() == [
        [0, 0, 1, 1, 0, 0], [0, 0, 0, 0, 1, 0],
    ]  # fmt: skip


def test_probabilities_leave_out_no_return() -> None:
    logits = torch.tensor([2.0, 1.0, 1.0]).log().view(1, 3, 1, 1)
    assert range_probs(logits).flatten().tolist() == pytest.approx([0.5, 0.25])


def test_expected_range_by_hand() -> None:
    """Geometric middles are sqrt(5) and 10; a quarter and three quarters of what returns."""
    cells = torch.tensor([[1.0, 0.0, 0.0], [0.15, 0.45, 0.4], [0.2, 0.2, 0.6], [0.0, 0.6, 0.4]])
    logits = cells.clamp_min(1e-9).log().T.view(1, 3, 1, 4)
    between = math.exp(0.25 * math.log(math.sqrt(5)) + 0.75 * math.log(10))
    found = expected_ranges(logits, CONFIG)
    assert found.flatten().tolist() == pytest.approx([math.sqrt(5), between, 0.0, 10.0])


def test_expected_range_of_what_begins_at_the_camera_is_finite() -> None:
    found = expected_ranges(torch.tensor([9.0, 0.0]).view(1, 2, 1, 1), DepthConfig((0.0, 2.0)))
    assert found.item() == pytest.approx(1.0)  # from half a metre on


@pytest.mark.parametrize("edges", [(5.0, 1.0), (1.0, math.nan), (1.0,), (-1.0, 2.0)])
def test_invalid_edges_are_refused(edges: tuple[float, ...]) -> None:
    with pytest.raises(ConfigError, match="edges_m"):
        DepthConfig(edges)
