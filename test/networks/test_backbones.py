"""Backbones other than VMamba also provide four maps, at strides 4, 8, 16 and 32."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import timm
import torch
from torch import Tensor, nn

from scmpr_ros.errors import CheckpointError, ConfigError
from scmpr_ros.geometry import AngularGrid
from scmpr_ros.methods.checkpoint import fingerprint, load_checkpoint, save_checkpoint
from scmpr_ros.methods.scmpr.network import ScmprConfig, ScmprNetwork
from scmpr_ros.methods.views import QueryView
from scmpr_ros.networks import backbones
from scmpr_ros.networks.backbones import (
    IMAGE_MEAN,
    IMAGE_STD,
    STRIDES,
    Backbone,
    build_backbone,
    register_backbone,
)
from scmpr_ros.semantics import STATIC_IDS

WIDTHS = {
    "timm/resnet18": (64, 128, 256, 512),
    "timm/convnext_atto": (40, 80, 160, 320),
    "timm/test_efficientnet.r160_in1k": (24, 32, 48, 64),
    "timm/swin_tiny_patch4_window7_224": (96, 192, 384, 768),
    "timm/vit_tiny_patch16_224": (48, 96, 192, 192),
    "timm/vit_small_patch14_dinov2.lvd142m": (96, 192, 384, 384),
    "timm/xcit_nano_12_p8_224": (32, 64, 128, 128),
}

CONFIG = ScmprConfig(
    backbone="timm/test_vit",
    view=AngularGrid(32, 64, 12.0, -15.0, 80.0),
    panorama=AngularGrid(8, 120, 16.0, -16.0),
)


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    """Operations are tiny: threads would mostly wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module", params=WIDTHS)
def backbone(request: pytest.FixtureRequest) -> Backbone:
    torch.manual_seed(0)
    built = build_backbone(request.param)
    assert built.widths == WIDTHS[request.param]
    return built


@pytest.fixture
def empty_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backbones, "_registered", {})


def shapes(maps: list[Tensor]) -> list[tuple[int, ...]]:
    return [tuple(x.shape) for x in maps]


def encode(network: ScmprNetwork, view: Tensor) -> Tensor:
    seen = torch.ones(8, 16, dtype=torch.bool)
    context = torch.zeros(len(STATIC_IDS), 64)
    return network.describe_query(QueryView(view, seen), context).descriptor


@pytest.mark.parametrize("size", [(96, 256), (64, 96)])
@torch.inference_mode()
def test_four_maps_at_the_four_strides(backbone: Backbone, size: tuple[int, int]) -> None:
    maps = backbone.forward_features(torch.randn(1, 3, *size))
    expected = [
        (1, channels, size[0] // stride, size[1] // stride)
        for channels, stride in zip(backbone.widths, STRIDES, strict=True)
    ]
    assert shapes(maps) == expected


def test_vmamba_is_a_backbone() -> None:
    with torch.device("meta"):
        vmamba = build_backbone("nano")
    assert isinstance(vmamba, Backbone) and vmamba.widths == (32, 64, 128, 256)


def test_gradients_reach_every_parameter(backbone: Backbone) -> None:
    assert isinstance(backbone, nn.Module)
    backbone.train()
    maps = backbone.forward_features(torch.randn(2, 3, 32, 64))
    sum((x * torch.randn_like(x)).sum() for x in maps).backward()
    untouched = [name for name, p in backbone.named_parameters() if p.grad is None]
    assert not untouched
    assert all(p.grad.isfinite().all() for p in backbone.parameters())
    backbone.zero_grad()


@pytest.mark.parametrize("model", ["resnet18", "convnext_atto", "mobilenetv3_small_050"])
@torch.inference_mode()
def test_a_pyramid_returns_the_same_maps_as_timm(model: str) -> None:
    ours = build_backbone(f"timm/{model}").eval()
    theirs = timm.create_model(model, features_only=True, feature_cls="getter").eval()
    theirs.model.load_state_dict(ours.trunk.state_dict(), strict=False)
    assert ours.trunk.pretrained_cfg["mean"] == IMAGE_MEAN
    image = torch.randn(1, 3, 64, 96)
    expected = theirs(image)[-4:]
    for own, other in zip(ours.forward_features(image), expected, strict=True):
        torch.testing.assert_close(own, other)


@torch.inference_mode()
def test_a_vit_gets_its_own_normalisation_and_evenly_spaced_layers() -> None:
    vit = build_backbone("timm/vit_tiny_patch16_224").eval()
    assert vit.trunk.pretrained_cfg["mean"] == (0.5, 0.5, 0.5)
    pixels = torch.rand(1, 3, 64, 96)
    mean, std = (torch.tensor(x).view(3, 1, 1) for x in (IMAGE_MEAN, IMAGE_STD))
    coarse = vit.forward_features((pixels - mean) / std)[2]
    expected = vit.trunk.forward_intermediates(
        (pixels - 0.5) / 0.5, indices=[2, 5, 8, 11], norm=True, intermediates_only=True
    )
    torch.testing.assert_close(coarse, expected[2], rtol=1e-4, atol=1e-4)


@torch.inference_mode()
def test_a_patch_of_14_covers_the_whole_image() -> None:
    """The image is resampled, not cropped: the corner pixel changes the last token."""
    vit = build_backbone("timm/vit_small_patch14_dinov2.lvd142m").eval()
    image = torch.zeros(1, 3, 64, 96)
    black = vit.trunk.patch_embed(image[..., :56, :84])
    tokens: list[Tensor] = []
    handle = vit.trunk.patch_embed.register_forward_hook(lambda *args: tokens.append(args[2]))
    image[..., -1, -1] = 5.0
    vit.forward_features(image)
    handle.remove()
    changed = (tokens[0] != black).any(-1)[0]
    assert changed.shape == (4, 6) and changed.nonzero().tolist() == [[3, 5]]


@pytest.mark.parametrize("name", ["timm/test_resnet", "timm/swin_tiny_patch4_window7_224"])
def test_stochastic_depth_is_off_by_default(name: str) -> None:
    with torch.device("meta"):
        rates = [
            {getattr(module, "drop_prob", 0.0) for module in build_backbone(name, on).modules()}
            for on in (False, True)
        ]
    assert rates[0] == {0.0} and max(rates[1]) == pytest.approx(0.1)


def test_a_network_with_a_timm_backbone_is_saved_and_loaded(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = ScmprNetwork(CONFIG).eval()
    view = torch.rand(2, 3, 32, 64)
    descriptor = encode(network, view)
    assert descriptor.shape == (2, 768)
    descriptor[:, 0].sum().backward()
    assert network.backbone.trunk.patch_embed.proj.weight.grad.abs().max() > 0
    save_checkpoint(network, tmp_path / "net.safetensors")
    loaded = load_checkpoint(tmp_path / "net.safetensors")
    assert loaded.config == CONFIG and fingerprint(loaded) == fingerprint(network)
    torch.testing.assert_close(encode(loaded, view), descriptor)


def test_loading_uses_the_weights_of_the_file(tmp_path: Path) -> None:
    """A network as built differs; so does a file in which one weight of the backbone changed."""
    torch.manual_seed(0)
    network, view = ScmprNetwork(CONFIG).eval(), torch.rand(1, 3, 32, 64)
    descriptor = encode(network, view)
    assert (encode(ScmprNetwork(CONFIG).eval(), view) - descriptor).abs().max() > 1e-2
    with torch.no_grad():
        network.backbone.trunk.patch_embed.proj.weight.mul_(2)
    expected = encode(network, view)
    assert (expected - descriptor).abs().max() > 1e-3
    save_checkpoint(network, tmp_path / "net.safetensors")
    torch.testing.assert_close(
        encode(load_checkpoint(tmp_path / "net.safetensors"), view), expected
    )


def test_timm_weights_load_by_their_own_names() -> None:
    weights = timm.create_model("test_vit").state_dict()
    trunk = build_backbone("timm/test_vit").trunk
    result = trunk.load_state_dict(weights, strict=False)
    assert not result.missing_keys
    assert {key.split(".")[0] for key in result.unexpected_keys} == {"head"}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("resnet18", r"unknown backbone 'resnet18'; known: nano, .*timm/<model>"),
        ("timm/resnet81", "has no model 'resnet81'; close names: .*resnet18"),
        ("timm/vit_small_patch14_dinov2.lvd143m", "names: vit_small_patch14_dinov2.lvd142m"),
        ("timm/dinov2", "close names: .*patch14_dinov2"),
        ("timm/", "list_models"),
        ("timm/hf-hub:timm/resnet18.a1_in1k", "has no model"),
        ("timm/levit_128s", r"levit_128s cannot .* strides \[16, 32, 64\], but \(4, 8, 16, 32\)"),
        ("timm/beit_base_patch16_224", r"of 64x96 timm says: .*doesn't match model \(224\)"),
        ("timm/halonet26t", "timm says: AssertionError"),
        ("timm/legacy_xception", r"its maps are \[\(128, 15, 23\), .* instead of \[\(128, 16, 24"),
    ],
)
def test_an_unknown_or_unfit_model_gives_a_clear_error(name: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build_backbone(name)


def test_a_checkpoint_with_an_unregistered_backbone_gives_a_clear_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, empty_registry: None
) -> None:
    register_backbone("theirs", lambda stochastic_depth: Strided())
    path = tmp_path / "net.safetensors"
    save_checkpoint(ScmprNetwork(replace(CONFIG, backbone="theirs")), path)
    monkeypatch.setattr(backbones, "_registered", {})
    with pytest.raises(CheckpointError, match=r"unknown backbone 'theirs'.*register_backbone"):
        load_checkpoint(path)


class Strided(nn.Module):
    """A custom backbone: four strided convolutions."""

    widths = (8, 8, 16, 16)

    def __init__(self) -> None:
        super().__init__()
        steps = zip((3, *self.widths), self.widths, (4, 2, 2, 2), strict=False)
        self.steps = nn.ModuleList(nn.Conv2d(a, b, stride, stride) for a, b, stride in steps)

    def forward_features(self, image: Tensor) -> list[Tensor]:
        maps = [image]
        for step in self.steps:
            maps.append(step(maps[-1]))
        return maps[1:]


def test_a_registered_backbone_works_in_the_network(empty_registry: None) -> None:
    with pytest.raises(ConfigError, match="unknown backbone 'mine'"):
        replace(CONFIG, backbone="mine")
    calls: list[bool] = []

    def factory(stochastic_depth: bool) -> Strided:
        calls.append(stochastic_depth)
        return Strided()

    register_backbone("mine", factory)
    register_backbone("mine", factory)  # as when a module is imported twice
    network = ScmprNetwork(replace(CONFIG, backbone="mine"), stochastic_depth=True).eval()
    assert calls == [True] and isinstance(network.backbone, Strided)
    assert encode(network, torch.rand(1, 3, 32, 64)).shape == (1, 768)


@pytest.mark.parametrize("name", ["nano", "timm/resnet18", "mine"])
def test_a_name_cannot_be_registered_twice(empty_registry: None, name: str) -> None:
    if name == "mine":
        register_backbone(name, lambda stochastic_depth: Strided())
    with pytest.raises(ConfigError, match="exists already"):
        register_backbone(name, lambda stochastic_depth: Strided())


def test_what_a_factory_returns_is_checked(empty_registry: None) -> None:
    class Three(Strided):
        widths = (8, 8, 16)

    register_backbone("linear", lambda stochastic_depth: nn.Linear(3, 3))
    register_backbone("three", lambda stochastic_depth: Three())
    with pytest.raises(ConfigError, match="returned a Linear: it must be"):
        build_backbone("linear")
    with pytest.raises(ConfigError, match="has 3 widths instead of 4"):
        build_backbone("three")
