"""Generalised means by hand."""

from __future__ import annotations

import pytest
import torch

from scmpr_ros.networks.gem import Gem

FEATURES = torch.tensor([[[1.0, 2.0, 3.0], [4.0, 0.5, 3.0]]])


@torch.no_grad()
def test_between_the_mean_and_the_maximum() -> None:
    torch.testing.assert_close(Gem(1.0)(FEATURES), FEATURES.mean(-1))
    torch.testing.assert_close(Gem(80.0)(FEATURES / 4) * 4, FEATURES.amax(-1), rtol=0.02, atol=0)
    assert Gem()(FEATURES)[0, 0] == pytest.approx(((1 + 8 + 27) / 3) ** (1 / 3))


@torch.no_grad()
def test_weights_are_those_of_a_mean() -> None:
    features = torch.cat([FEATURES, FEATURES + 1])
    weight = torch.tensor([[2.0, 0.0, 6.0], [1.0, 1.0, 1.0]])
    found = Gem()(features, weight)
    assert found[0].tolist() == pytest.approx([(0.25 + 0.75 * 27) ** (1 / 3),
                                               (0.25 * 64 + 0.75 * 27) ** (1 / 3)])  # fmt: skip
    torch.testing.assert_close(found[1], Gem()(features)[1])


def test_what_is_negative_counts_as_nothing() -> None:
    layer = Gem()
    features = torch.tensor([[[-3.0, 2.0]]], requires_grad=True)
    pooled = layer(features)
    assert float(pooled.detach()) == pytest.approx((8 / 2) ** (1 / 3))
    pooled.sum().backward()
    assert features.grad is not None and features.grad[0, 0, 0] == 0
    assert layer.p.grad is not None and float(layer.p.grad) > 0  # towards the maximum


def test_nothing_is_pooled_without_a_fault() -> None:
    layer = Gem()
    features = torch.zeros(1, 2, 3, requires_grad=True)
    pooled = layer(features, torch.zeros(1, 3))
    assert pooled.tolist() == [pytest.approx([1e-6, 1e-6])]
    pooled.sum().backward()
    assert features.grad is not None and features.grad.isfinite().all()
    assert layer.p.grad is not None and layer.p.grad.isfinite()


def test_mixed_precision_pools_in_full() -> None:
    assert Gem()(FEATURES.bfloat16()).dtype == torch.float32
