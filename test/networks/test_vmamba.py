"""VMamba's variants have the official names, sizes and stage shapes."""

from __future__ import annotations

import pytest
import torch

from scmpr_ros.errors import ConfigError
from scmpr_ros.networks.vmamba import VARIANTS, build_vmamba

# Entries of the official releases, and their parameters in millions.
RELEASES = {
    "tiny_0230s": (276, 30.2), "small_0229s": (492, 49.0), "base_0229s": (492, 86.6),
    "tiny_0230": (222, 30.7), "small_0229": (402, 50.1), "base_0229": (402, 88.6),
}  # fmt: skip


@pytest.mark.parametrize("variant", RELEASES)
def test_variants_have_the_official_entries(variant: str) -> None:
    with torch.device("meta"):
        model = build_vmamba(variant)
    entries, millions = RELEASES[variant]
    assert len(model.state_dict()) == entries
    assert sum(p.numel() for p in model.parameters()) / 1e6 == pytest.approx(millions, abs=0.1)


def test_official_parameter_names_and_shapes() -> None:
    with torch.device("meta"):
        shapes = {k: tuple(v.shape) for k, v in build_vmamba("tiny_0230s").state_dict().items()}
    assert shapes["patch_embed.0.weight"] == (48, 3, 3, 3)
    assert shapes["patch_embed.5.bias"] == (96,) and shapes["patch_embed.7.weight"] == (96,)
    block = "layers.1.blocks.0."
    assert shapes[block + "op.x_proj_weight"] == (4, 12 + 2, 192)
    assert shapes[block + "op.dt_projs_weight"] == (4, 192, 12)
    assert shapes[block + "op.dt_projs_bias"] == (4, 192)
    assert shapes[block + "op.A_logs"] == (768, 1) and shapes[block + "op.Ds"] == (768,)
    assert shapes[block + "op.conv2d.weight"] == (192, 1, 3, 3)
    assert shapes[block + "op.in_proj.weight"] == (192, 192)
    assert shapes[block + "mlp.fc1.weight"] == (768, 192)
    assert shapes["layers.0.downsample.1.weight"] == (192, 96, 3, 3)
    assert shapes["layers.2.downsample.3.bias"] == (768,)
    assert shapes["classifier.head.weight"] == (1000, 768)
    assert block + "op.in_proj.bias" not in shapes and block + "op.conv2d.bias" not in shapes


def test_stages_and_logits() -> None:
    torch.manual_seed(0)
    model = build_vmamba("nano", num_classes=5).eval()
    image = torch.randn(2, 3, 64, 96)
    stages = model.forward_features(image)
    assert [tuple(s.shape) for s in stages] == [
        (2, 32, 16, 24), (2, 64, 8, 12), (2, 128, 4, 6), (2, 256, 2, 3),
    ]  # fmt: skip
    assert model(image).shape == (2, 5)
    torch.testing.assert_close(model(image)[:1], model(image[:1]), rtol=1e-4, atol=1e-5)


def test_every_parameter_gets_a_gradient() -> None:
    torch.manual_seed(0)
    model = build_vmamba("nano", num_classes=3)
    model(torch.randn(2, 3, 64, 64)).square().sum().backward()
    idle = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert idle == []


def test_an_unknown_variant_is_answered_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="'huge'; known: nano, tiny_0230, tiny_0230s"):
        build_vmamba("huge")
    with pytest.raises(ConfigError, match="num_classes=0"):
        build_vmamba("nano", num_classes=0)(torch.zeros(1, 3, 32, 32))
    assert set(RELEASES) | {"nano"} == set(VARIANTS)
