"""Backbones of the RGB branch: VMamba as in the paper, any pyramid or plain ViT of timm, your own.

`ScmprConfig.backbone` names one of three things:

- a VMamba variant of `vmamba.VARIANTS`, such as `nano`;
- `timm/<model>`, such as `timm/resnet18`, `timm/convnext_tiny`, `timm/vit_small_patch16_224` or
  `timm/vit_small_patch14_dinov2.lvd142m`: the architecture only, nothing is ever downloaded.
  Below `trunk.` parameters keep timm's names, so that weights at hand load with
  `network.backbone.trunk.load_state_dict(weights, strict=False)`, not strictly because the
  classifier is left out here; then `save_checkpoint`, and `train --initial`;
- a name given to `register_backbone`.
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.nn import functional

from scmpr_ros.errors import ConfigError
from scmpr_ros.networks.vmamba import VARIANTS, build_vmamba

STRIDES = (4, 8, 16, 32)
"""Image pixels to a cell of each stage map."""

IMAGE_MEAN = (0.485, 0.456, 0.406)
IMAGE_STD = (0.229, 0.224, 0.225)
"""ImageNet's, by which every backbone's input is normalised."""

_TIMM = "timm/"
_TIMM_DROP_PATH = 0.1  # what DeiT, ConvNeXt-T and Swin are trained with, within a factor of 2
_TOKEN_STRIDE = 16  # of a plain ViT's token grid


@runtime_checkable
class Backbone(Protocol):
    """What the RGB branch needs of an `nn.Module` to take it as its backbone.

    widths: channels of the four stages.
    """

    widths: tuple[int, ...]

    def forward_features(self, image: Tensor) -> list[Tensor]:
        """Stage maps (B, widths[s], H / 2^(s+2), W / 2^(s+2)), at strides 4, 8, 16 and 32.

        image: (B, 3, H, W), RGB less `IMAGE_MEAN` over `IMAGE_STD`; H and W multiples of 32.
        """
        ...


BackboneFactory = Callable[[bool], nn.Module]
"""Makes a `Backbone`; takes `stochastic_depth`, whether blocks may be dropped in training."""

_registered: dict[str, BackboneFactory] = {}


def register_backbone(name: str, factory: BackboneFactory) -> None:
    """Let `ScmprConfig.backbone` name a backbone of your own.

    The name goes into checkpoints, but the code does not: register in every process that builds
    the network, before it does. A script of your own that trains with it is

        register_backbone("mine", lambda stochastic_depth: MyBackbone())
        sys.exit(scmpr_ros.cli.train.main(["--module.network.backbone", "mine"]))

    Raises ConfigError if the name already stands for another backbone.
    """
    if name in VARIANTS or name.startswith(_TIMM) or _registered.get(name, factory) != factory:
        raise ConfigError(f"the backbone {name!r} is there already; register under another name")
    _registered[name] = factory


def check_backbone(name: str) -> None:
    """Raise ConfigError unless there may be such a backbone; what timm has is not looked up."""
    if name in VARIANTS or name in _registered or name.startswith(_TIMM):
        return
    known = ", ".join([*VARIANTS, *_registered])
    raise ConfigError(
        f"no backbone {name!r}; there are {known}, the models of timm as timm/<model>, "
        "and what this process has given to register_backbone"
    )


def build_backbone(name: str, stochastic_depth: bool = False) -> nn.Module:
    """Build a `Backbone` with random weights.

    stochastic_depth: drop blocks at random in training: at the variant's rate in VMamba, up to 0.1
        in the models of timm that know it.

    Raises ConfigError for unknown names and for models that cannot serve as a backbone.
    """
    check_backbone(name)
    if name in VARIANTS:
        return build_vmamba(name, 0, stochastic_depth)
    if name.startswith(_TIMM):
        return _build_timm(name.removeprefix(_TIMM), stochastic_depth)
    backbone = _registered[name](stochastic_depth)
    if not (isinstance(backbone, nn.Module) and isinstance(backbone, Backbone)):
        raise ConfigError(
            f"the factory of backbone {name!r} made a {type(backbone).__name__}: "
            "it must be an nn.Module with `widths` and `forward_features`"
        )
    if len(backbone.widths) != len(STRIDES):
        raise ConfigError(f"backbone {name!r} has {len(backbone.widths)} widths instead of 4")
    return backbone


class TimmBackbone(nn.Module):
    """A model of timm as a backbone.

    A pyramid (ResNet, ConvNeXt, Swin, EfficientNet ...) gives its maps at the four strides as they
    are. A plain ViT has one stride only: four layers, evenly spread over its depth and normalised
    by its last norm, are brought to the four strides as in the simple feature pyramid of ViTDet
    (Li et al. 2022). Its image is resampled such that the tokens are H/16 x W/16, whatever its
    patch, and timm resamples the position embeddings to that grid.
    """

    def __init__(self, trunk: Any) -> None:
        """trunk: of `timm.create_model`. Raises ConfigError if it lacks the strides."""
        super().__init__()
        strides = [info["reduction"] for info in trunk.feature_info]
        self.patch: int | None = strides[0] if len(set(strides)) == 1 else None
        if self.patch is None and not set(STRIDES) <= set(strides):
            raise ConfigError(
                f"timm's {trunk.pretrained_cfg['architecture']} cannot be a backbone: it has maps "
                f"at the strides {strides}, and {STRIDES} are needed"
            )
        layers = _pyramid_layers(strides) if self.patch is None else _spread_layers(len(strides))
        channels = [_channels(trunk.feature_info[layer], bool(self.patch)) for layer in layers]
        self.layers = trunk.prune_intermediate_layers(layers, prune_norm=self.patch is None)
        self.trunk = trunk
        if self.patch is None:
            self.widths = tuple(channels)
            self.rescale = nn.ModuleList(nn.Identity() for _ in STRIDES)
        else:
            width = channels[0]
            self.widths = (width // 4, width // 2, width, width)
            self.rescale = _simple_feature_pyramid(width)
        # From ImageNet's normalisation to the model's own: (x std + mean - own_mean) / own_std.
        mean, std = torch.tensor(IMAGE_MEAN), torch.tensor(IMAGE_STD)
        own_mean, own_std = (torch.tensor(trunk.pretrained_cfg[key]) for key in ("mean", "std"))
        self.gain: Tensor
        self.offset: Tensor
        self.register_buffer("gain", (std / own_std).view(3, 1, 1), persistent=False)
        self.register_buffer(
            "offset", ((mean - own_mean) / own_std).view(3, 1, 1), persistent=False
        )

    def forward_features(self, image: Tensor) -> list[Tensor]:
        """Stage maps of an image (B, 3, H, W), see `Backbone`."""
        image = image * self.gain + self.offset
        if self.patch not in (None, _TOKEN_STRIDE):
            size = [side // _TOKEN_STRIDE * self.patch for side in image.shape[-2:]]
            image = functional.interpolate(image, size, mode="bilinear", antialias=True)
        maps = self.trunk.forward_intermediates(
            image, indices=self.layers, norm=self.patch is not None, intermediates_only=True
        )
        return [rescale(x) for rescale, x in zip(self.rescale, maps, strict=True)]


def build_tower(model: str) -> Any:
    """A model of timm that makes one vector (B, num_features) of an image of any size.

    Raises ConfigError where timm does not know it.
    """
    timm = _timm_with(model)
    with torch.device("meta"):
        options = _known_options(timm.create_model(model, pretrained=False), stochastic_depth=False)
    return timm.create_model(model, pretrained=False, num_classes=0, **options)


def _build_timm(model: str, stochastic_depth: bool) -> TimmBackbone:
    """Build `timm/<model>`, after a try on the meta device, which costs no memory or arithmetic."""
    timm = _timm_with(model)
    with torch.device("meta"):
        options = _known_options(timm.create_model(model, pretrained=False), stochastic_depth)
        _try(TimmBackbone(timm.create_model(model, pretrained=False, **options)), model)
    return TimmBackbone(timm.create_model(model, pretrained=False, **options))


def _known_options(trunk: nn.Module, stochastic_depth: bool) -> dict[str, Any]:
    """What a model is built with, of the options that its class knows."""
    wanted = {
        "dynamic_img_size": True,  # ViT, EVA, Swin: images of any size
        "drop_path_rate": _TIMM_DROP_PATH if stochastic_depth else 0.0,
    }
    known = inspect.signature(type(trunk)).parameters
    return {key: value for key, value in wanted.items() if key in known}


def _timm_with(model: str) -> Any:
    """The package timm, if it knows the model."""
    import timm  # takes seconds, and the shipped weights have no use for it

    names = timm.list_models() + timm.list_models(include_tags=True)
    if model not in names:  # nor may hf-hub:<model> be, which timm would download
        close = difflib.get_close_matches(model, names, n=5)
        close = close or [name for name in names if model and model in name][:5]
        hint = f"close are {', '.join(close)}" if close else "timm.list_models() names them"
        raise ConfigError(f"timm {timm.__version__} has no model {model!r}; {hint}")
    return timm


@torch.no_grad()
def _try(backbone: TimmBackbone, model: str, size: tuple[int, int] = (64, 96)) -> None:
    """Raise ConfigError unless a backbone keeps `Backbone`'s word for an image of some size."""
    height, width = size
    complaint = f"timm/{model} cannot be a backbone: for an image of {height}x{width} "
    try:
        maps = backbone.eval().forward_features(torch.zeros(1, 3, height, width))
    except (AssertionError, RuntimeError, ValueError) as error:
        raise ConfigError(f"{complaint}timm says: {str(error) or type(error).__name__}") from error
    found = [tuple(x.shape[1:]) for x in maps]
    expected = [
        (channels, height // stride, width // stride)
        for channels, stride in zip(backbone.widths, STRIDES, strict=True)
    ]
    if found != expected:
        raise ConfigError(f"{complaint}its maps are {found} instead of {expected}")


def _pyramid_layers(strides: list[int]) -> list[int]:
    """The last layer at each of `STRIDES`."""
    return [max(i for i, stride in enumerate(strides) if stride == wanted) for wanted in STRIDES]


def _spread_layers(depth: int) -> list[int]:
    """The last layers of the four quarters of a depth: 2, 5, 8 and 11 of 12."""
    return [depth * (quarter + 1) // len(STRIDES) - 1 for quarter in range(len(STRIDES))]


def _channels(layer: dict[str, Any], normalised: bool) -> int:
    """Channels of a layer; SAM's last norm changes their number."""
    own: int = layer["num_chs"]
    return layer.get("num_chs_norm", own) if normalised else own


def _simple_feature_pyramid(width: int) -> nn.ModuleList:
    """From four maps at stride 16 to `STRIDES`, each by deconvolutions or pooling of its own."""
    to_4 = nn.Sequential(
        nn.ConvTranspose2d(width, width // 2, 2, 2),
        nn.GroupNorm(1, width // 2),
        nn.GELU(),
        nn.ConvTranspose2d(width // 2, width // 4, 2, 2),
    )
    to_8 = nn.ConvTranspose2d(width, width // 2, 2, 2)
    return nn.ModuleList([to_4, to_8, nn.Identity(), nn.MaxPool2d(2)])
