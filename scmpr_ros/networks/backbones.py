"""Backbones of the RGB branch: VMamba as in the paper, hybrids, models of timm, or your own.

`ScmprConfig.backbone` names one of:

- a VMamba variant of `vmamba.VARIANTS`, such as `nano`;
- a hybrid of `hybrid.HYBRIDS`, such as `lite0_vmamba`;
- `timm/<model>`, such as `timm/resnet18`, `timm/convnext_tiny`, `timm/vit_small_patch16_224` or
  `timm/vit_small_patch14_dinov2.lvd142m`. Only the architecture is used; nothing is downloaded.
  Parameters below `trunk.` keep timm's names. To start from pretrained weights, use
  `train --pretrained`, see `pretrained`;
- a name registered with `register_backbone`.
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Mapping
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.nn import functional

from scmpr_ros.errors import ConfigError
from scmpr_ros.networks.hybrid import HYBRIDS, HybridBackbone
from scmpr_ros.networks.vmamba import VARIANTS, build_vmamba

STRIDES = (4, 8, 16, 32)
"""Image pixels per cell of each stage map."""

IMAGE_MEAN = (0.485, 0.456, 0.406)
IMAGE_STD = (0.229, 0.224, 0.225)
"""ImageNet statistics that normalise the input of every backbone."""

_TIMM = "timm/"
_TIMM_DROP_PATH = 0.1  # within a factor of 2 of what DeiT, ConvNeXt-T and Swin are trained with
_TOKEN_STRIDE = 16  # of a plain ViT's token grid


@runtime_checkable
class Backbone(Protocol):
    """Interface of an `nn.Module` that can serve as the backbone of the RGB branch.

    widths: channels of the four stages.
    """

    widths: tuple[int, ...]

    def forward_features(self, image: Tensor) -> list[Tensor]:
        """Compute stage maps (B, widths[s], H / 2^(s+2), W / 2^(s+2)) at strides 4, 8, 16 and 32.

        image: (B, 3, H, W) RGB, normalised as (rgb - `IMAGE_MEAN`) / `IMAGE_STD`; H and W are
            multiples of 32.
        """
        ...


BackboneFactory = Callable[[bool], nn.Module]
"""Builds a `Backbone`; argument `stochastic_depth`: drop blocks at random in training."""

_registered: dict[str, BackboneFactory] = {}


def register_backbone(name: str, factory: BackboneFactory) -> None:
    """Make a custom backbone available to `ScmprConfig.backbone`.

    Checkpoints store the name but not the code: every process that builds the network must
    register the backbone first. To train with it, run a script such as

        register_backbone("mine", lambda stochastic_depth: MyBackbone())
        sys.exit(scmpr_ros.cli.train.main(["--module.network.backbone", "mine"]))

    Raises ConfigError if the name is taken by another backbone.
    """
    taken = name in VARIANTS or name in HYBRIDS or name.startswith(_TIMM)
    if taken or _registered.get(name, factory) != factory:
        raise ConfigError(f"a backbone {name!r} exists already; choose another name")
    _registered[name] = factory


def check_backbone(name: str) -> None:
    """Raise ConfigError for an unknown backbone; names of timm models are not looked up."""
    if name in {*VARIANTS, *HYBRIDS, *_registered} or name.startswith(_TIMM):
        return
    known = ", ".join([*VARIANTS, *HYBRIDS, *_registered])
    raise ConfigError(
        f"unknown backbone {name!r}; known: {known}, timm/<model> for models of timm, and names "
        "registered in this process with register_backbone"
    )


def build_backbone(name: str, stochastic_depth: bool = False) -> nn.Module:
    """Build a `Backbone` with random weights.

    stochastic_depth: drop blocks at random in training: at the variant's rate in VMamba, at up to
        0.1 in timm models that support it.

    Raises ConfigError for unknown names and for models that do not fit `Backbone`.
    """
    check_backbone(name)
    if name in VARIANTS:
        return build_vmamba(name, 0, stochastic_depth)
    if name in HYBRIDS:
        variant = HYBRIDS[name]
        return HybridBackbone(_build_timm(variant.pyramid, stochastic_depth), variant)
    if name.startswith(_TIMM):
        return _build_timm(name.removeprefix(_TIMM), stochastic_depth)
    backbone = _registered[name](stochastic_depth)
    if not (isinstance(backbone, nn.Module) and isinstance(backbone, Backbone)):
        raise ConfigError(
            f"the factory of backbone {name!r} returned a {type(backbone).__name__}: "
            "it must be an nn.Module with `widths` and `forward_features`"
        )
    if len(backbone.widths) != len(STRIDES):
        raise ConfigError(f"backbone {name!r} has {len(backbone.widths)} widths instead of 4")
    return backbone


class TimmBackbone(nn.Module):
    """A timm model as a backbone.

    Pyramids (ResNet, ConvNeXt, Swin, EfficientNet ...) have maps at all four strides. A plain ViT
    has a single stride: four layers, evenly spaced in depth and passed through its final norm, are
    resampled to the four strides by the simple feature pyramid of ViTDet (Li et al. 2022). The
    image is resampled so that there are H/16 x W/16 tokens for any patch size, and timm resamples
    the position embeddings to that grid.
    """

    def __init__(self, trunk: Any) -> None:
        """trunk: from `timm.create_model`. Raises ConfigError if it lacks a stride."""
        super().__init__()
        strides = [info["reduction"] for info in trunk.feature_info]
        self.patch: int | None = strides[0] if len(set(strides)) == 1 else None
        if self.patch is None and not set(STRIDES) <= set(strides):
            raise ConfigError(
                f"timm/{trunk.pretrained_cfg['architecture']} cannot be a backbone: its maps have "
                f"strides {strides}, but {STRIDES} are needed"
            )
        layers = _pyramid_layers(strides) if self.patch is None else _spaced_layers(len(strides))
        channels = [_channels(trunk.feature_info[layer], bool(self.patch)) for layer in layers]
        self.layers = trunk.prune_intermediate_layers(layers, prune_norm=self.patch is None)
        self.trunk = trunk.to(memory_format=torch.channels_last)
        if self.patch is None:
            self.widths = tuple(channels)
            self.rescale = nn.ModuleList(nn.Identity() for _ in STRIDES)
        else:
            width = channels[0]
            self.widths = (width // 4, width // 2, width, width)
            self.rescale = _simple_feature_pyramid(width)
        self.renormalise = _Renormalise(trunk.pretrained_cfg)

    def forward_features(self, image: Tensor) -> list[Tensor]:
        """Compute the stage maps of an image (B, 3, H, W), see `Backbone`."""
        # Depthwise convolutions are a third to a half faster on channels that lie side by side.
        image = image.contiguous(memory_format=torch.channels_last)
        image = self.renormalise(image)
        if self.patch not in (None, _TOKEN_STRIDE):
            size = [side // _TOKEN_STRIDE * self.patch for side in image.shape[-2:]]
            image = functional.interpolate(image, size, mode="bilinear", antialias=True)
        maps = self.trunk.forward_intermediates(
            image, indices=self.layers, norm=self.patch is not None, intermediates_only=True
        )
        return [rescale(x) for rescale, x in zip(self.rescale, maps, strict=True)]

    def freeze(self, stages: int) -> None:
        """Let the finest stages, and all that comes before them, keep their weights."""
        if not 0 <= stages <= len(STRIDES) or self.patch is not None:
            raise ConfigError(
                f"cannot freeze {stages} stages: a pyramid has {len(STRIDES)}, a plain ViT none"
            )
        if stages == 0:
            return
        last = self.trunk.feature_info[self.layers[stages - 1]]["module"]
        names = [name for name, _ in self.trunk.named_parameters()]
        end = max(i for i, name in enumerate(names) if name.startswith(f"{last}."))
        for name in names[: end + 1]:
            self.trunk.get_parameter(name).requires_grad_(False)


class VitTokens(nn.Module):
    """The tokens of a plain ViT's last block, after its norm: a single map.

    stride: pixels per token along both axes. widths: channels of the map.
    """

    def __init__(self, trunk: Any) -> None:
        """trunk: of `build_tower`."""
        super().__init__()
        self.stride: int = trunk.feature_info[-1]["reduction"]
        self.widths: tuple[int, ...] = (trunk.num_features,)
        self.trunk = trunk
        self.renormalise = _Renormalise(trunk.pretrained_cfg)

    def forward_features(self, image: Tensor) -> list[Tensor]:
        """Compute the map (B, C, H / stride, W / stride) of an image, see `Backbone`."""
        maps: list[Tensor] = self.trunk.forward_intermediates(
            self.renormalise(image), indices=1, norm=True, intermediates_only=True
        )
        return maps


class _Renormalise(nn.Module):
    """From ImageNet's normalisation to a model's: (x std + mean - own_mean) / own_std."""

    def __init__(self, pretrained_cfg: Mapping[str, Any]) -> None:
        super().__init__()
        mean, std = (torch.tensor(x).view(3, 1, 1) for x in (IMAGE_MEAN, IMAGE_STD))
        own_mean, own_std = (
            torch.tensor(pretrained_cfg[key]).view(3, 1, 1) for key in ("mean", "std")
        )
        self.gain: Tensor
        self.offset: Tensor
        self.register_buffer("gain", std / own_std, persistent=False)
        self.register_buffer("offset", (mean - own_mean) / own_std, persistent=False)

    def forward(self, image: Tensor) -> Tensor:
        return image * self.gain + self.offset


def timm_models(network: nn.Module) -> list[Any]:
    """The models of timm that are parts of a network, whole or pruned to a pyramid."""
    return [part for part in network.modules() if hasattr(part, "pretrained_cfg")]


def full_timm_state(model: Any) -> dict[str, Tensor]:
    """Names and shapes (on the meta device) of a timm model before it was pruned."""
    import timm

    with torch.device("meta"):
        whole = timm.create_model(model.pretrained_cfg["architecture"], pretrained=False)
    state: dict[str, Tensor] = whole.state_dict()
    return state


def build_tower(model: str) -> Any:
    """Build a timm model that encodes an image of any size as one vector (B, num_features).

    Raises ConfigError if timm has no such model.
    """
    timm = _import_timm_with(model)
    with torch.device("meta"):
        options = _options(timm.create_model(model, pretrained=False), stochastic_depth=False)
    return timm.create_model(model, pretrained=False, num_classes=0, **options)


def build_vit_tokens(name: str) -> VitTokens | None:
    """Build `timm/<model>` for its tokens; None for backbones that are no plain ViT.

    Raises ConfigError if timm has no such model.
    """
    if not name.startswith(_TIMM):
        return None
    model = name.removeprefix(_TIMM)
    timm = _import_timm_with(model)
    with torch.device("meta"):
        info = timm.create_model(model, pretrained=False).feature_info
    if len({layer["reduction"] for layer in info}) > 1:
        return None
    return VitTokens(build_tower(model))


def _build_timm(model: str, stochastic_depth: bool) -> TimmBackbone:
    """Build `timm/<model>`, checking it on the meta device first, at no cost in memory or time."""
    timm = _import_timm_with(model)
    with torch.device("meta"):
        options = _options(timm.create_model(model, pretrained=False), stochastic_depth)
        _check_maps(TimmBackbone(timm.create_model(model, pretrained=False, **options)), model)
    return TimmBackbone(timm.create_model(model, pretrained=False, **options))


def _options(trunk: nn.Module, stochastic_depth: bool) -> dict[str, Any]:
    """Options for `timm.create_model`, limited to those that the model's class accepts."""
    options = {
        "dynamic_img_size": True,  # ViT, EVA, Swin: images of any size
        "drop_path_rate": _TIMM_DROP_PATH if stochastic_depth else 0.0,
    }
    accepted = inspect.signature(type(trunk)).parameters
    return {key: value for key, value in options.items() if key in accepted}


def _import_timm_with(model: str) -> Any:
    """Import timm and check that it has the model."""
    import timm  # slow to import, and the shipped weights do not need it

    names = timm.list_models() + timm.list_models(include_tags=True)
    if model not in names:  # also refuses hf-hub:<model>, which timm would download
        close = difflib.get_close_matches(model, names, n=5)
        close = close or [name for name in names if model and model in name][:5]
        hint = f"close names: {', '.join(close)}" if close else "see timm.list_models()"
        raise ConfigError(f"timm {timm.__version__} has no model {model!r}; {hint}")
    return timm


@torch.no_grad()
def _check_maps(backbone: TimmBackbone, model: str, size: tuple[int, int] = (64, 96)) -> None:
    """Raise ConfigError unless the maps of an image of this size have the shapes of `Backbone`."""
    height, width = size
    refusal = f"timm/{model} cannot be a backbone: for an image of {height}x{width}"
    try:
        maps = backbone.eval().forward_features(torch.zeros(1, 3, height, width))
    except (AssertionError, RuntimeError, ValueError) as error:
        raise ConfigError(f"{refusal} timm says: {str(error) or type(error).__name__}") from error
    found = [tuple(x.shape[1:]) for x in maps]
    expected = [
        (channels, height // stride, width // stride)
        for channels, stride in zip(backbone.widths, STRIDES, strict=True)
    ]
    if found != expected:
        raise ConfigError(f"{refusal} its maps are {found} instead of {expected}")


def _pyramid_layers(strides: list[int]) -> list[int]:
    """The last layer at each of `STRIDES`."""
    return [max(i for i, own in enumerate(strides) if own == stride) for stride in STRIDES]


def _spaced_layers(depth: int) -> list[int]:
    """The last layer of each quarter of the depth: 2, 5, 8 and 11 of 12."""
    return [depth * (quarter + 1) // len(STRIDES) - 1 for quarter in range(len(STRIDES))]


def _channels(layer: dict[str, Any], normalised: bool) -> int:
    """Channels of a layer, before or after the final norm; SAM's norm changes their number."""
    own: int = layer["num_chs"]
    return layer.get("num_chs_norm", own) if normalised else own


def _simple_feature_pyramid(width: int) -> nn.ModuleList:
    """Deconvolutions or pooling that bring four maps at stride 16 to `STRIDES`."""
    to_4 = nn.Sequential(
        nn.ConvTranspose2d(width, width // 2, 2, 2),
        nn.GroupNorm(1, width // 2),
        nn.GELU(),
        nn.ConvTranspose2d(width // 2, width // 4, 2, 2),
    )
    to_8 = nn.ConvTranspose2d(width, width // 2, 2, 2)
    return nn.ModuleList([to_4, to_8, nn.Identity(), nn.MaxPool2d(2)])
