"""The hybrid backbone is its pyramid until its scans have learned; then it sees the view whole."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from scmpr_ros.networks.backbones import Backbone, build_backbone
from scmpr_ros.networks.hybrid import HybridBackbone


@pytest.fixture(scope="module")
def hybrid() -> HybridBackbone:
    torch.manual_seed(0)
    built = build_backbone("lite0_vmamba")
    assert isinstance(built, HybridBackbone) and isinstance(built, Backbone)
    return built.eval()


@torch.inference_mode()
def test_an_untrained_hybrid_equals_its_pyramid(hybrid: HybridBackbone) -> None:
    image = torch.randn(1, 3, 64, 96)
    maps, expected = hybrid.forward_features(image), hybrid.pyramid.forward_features(image)
    assert [x.shape[1] for x in maps] == list(hybrid.widths) == [24, 40, 112, 320]
    for own, other in zip(maps, expected, strict=True):
        torch.testing.assert_close(own, other)


def test_scans_carry_what_is_far_away(hybrid: HybridBackbone) -> None:
    """A cell of the coarsest map depends on the opposite corner, which the pyramid cannot see."""
    image = torch.randn(1, 3, 32, 1024, requires_grad=True)

    def reach(backbone: nn.Module) -> float:
        corner = backbone.forward_features(image)[-1][..., 0, 0].square().sum()
        (gradient,) = torch.autograd.grad(corner, image)
        return float(gradient[..., -32:].abs().amax())

    assert reach(hybrid.pyramid) == 0
    for scan in hybrid.scans:
        nn.init.normal_(scan.leave.weight)
    assert reach(hybrid) > 0
