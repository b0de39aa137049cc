"""VMamba, the visual state space model (Liu et al. 2024): the backbone of eq. 1.

Module and parameter names match the official releases, so their weights load strictly. Internally
images are channels last, and the scan (`selective_scan.ss2d`) reads them in pixel order instead of
making four reordered copies.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from scmpr_ros.errors import ConfigError
from scmpr_ros.networks.linear import Linear, linear
from scmpr_ros.networks.selective_scan import ss2d

NUM_ORDERS = 4


@dataclass(frozen=True)
class VMambaVariant:
    """Sizes of one variant. All have d_state 1, 3x3 depthwise convolutions and MLP ratio 4."""

    depths: tuple[int, int, int, int]
    width: int
    ssm_ratio: float
    drop_path: float

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels of the four stages."""
        return tuple(self.width * 2**stage for stage in range(len(self.depths)))


VARIANTS: dict[str, VMambaVariant] = {
    "nano": VMambaVariant((2, 2, 4, 2), 32, 1.0, 0.05),
    "tiny_0230": VMambaVariant((2, 2, 5, 2), 96, 2.0, 0.2),
    "tiny_0230s": VMambaVariant((2, 2, 8, 2), 96, 1.0, 0.2),
    "small_0229": VMambaVariant((2, 2, 15, 2), 96, 2.0, 0.3),
    "small_0229s": VMambaVariant((2, 2, 20, 2), 96, 1.0, 0.3),
    "base_0229": VMambaVariant((2, 2, 15, 2), 128, 2.0, 0.6),
    "base_0229s": VMambaVariant((2, 2, 20, 2), 128, 1.0, 0.5),
}


def build_vmamba(variant: str, num_classes: int = 1000, stochastic_depth: bool = False) -> VMamba:
    """Build a variant by name.

    num_classes: classes of the classifier; 0 omits it.
    stochastic_depth: drop blocks at random in training, at the variant's rate.

    Raises ConfigError for an unknown name.
    """
    if variant not in VARIANTS:
        raise ConfigError(f"unknown VMamba variant {variant!r}; known: {', '.join(VARIANTS)}")
    return VMamba(VARIANTS[variant], num_classes, stochastic_depth)


class VMamba(nn.Module):
    """Four stages of VSS blocks, at 1/4, 1/8, 1/16 and 1/32 of the image."""

    def __init__(
        self, variant: VMambaVariant, num_classes: int = 1000, stochastic_depth: bool = False
    ) -> None:
        super().__init__()
        self.widths = variant.widths
        self.patch_embed = _patch_embed(self.widths[0])
        last_block = sum(variant.depths) - 1
        max_drop = variant.drop_path if stochastic_depth else 0.0
        drops = [max_drop * block / last_block for block in range(last_block + 1)]
        self.layers = nn.ModuleList()
        for stage, depth in enumerate(variant.depths):
            width = self.widths[stage]
            blocks = [VSSBlock(width, variant.ssm_ratio, drops.pop(0)) for _ in range(depth)]
            last = stage == len(variant.depths) - 1
            downsample = nn.Identity() if last else _downsample(width, self.widths[stage + 1])
            self.layers.append(Stage(nn.Sequential(*blocks), downsample))
        self.classifier = _classifier(self.widths[-1], num_classes) if num_classes else None
        self.apply(_initialise)
        # Convolutions reorder weights of another layout at every call.
        self.to(memory_format=torch.channels_last)

    def forward_features(self, image: Tensor) -> list[Tensor]:
        """Compute stage maps F_RGB (B, C_s, H / 2^(s+2), W / 2^(s+2)) of an image (B, 3, H, W)."""
        x = self.patch_embed(image)
        maps = []
        for layer in self.layers:
            stage_map, x = layer(x)
            maps.append(stage_map.permute(0, 3, 1, 2))
        return maps

    def forward(self, image: Tensor) -> Tensor:
        """Compute the class logits (B, num_classes) of an image (B, 3, H, W)."""
        if self.classifier is None:
            raise ConfigError("this VMamba was built with num_classes=0: it has no classifier")
        logits: Tensor = self.classifier(self.forward_features(image)[-1].permute(0, 2, 3, 1))
        return logits


class Stage(nn.Module):
    """Blocks at one resolution, then downsampling to the next (identity after the last stage)."""

    def __init__(self, blocks: nn.Sequential, downsample: nn.Module) -> None:
        super().__init__()
        self.blocks = blocks
        self.downsample = downsample

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the stage's map, of the shape (B, H, W, C) of x, and the next stage's input."""
        stage_map = self.blocks(x)
        return stage_map, self.downsample(stage_map)


class VSSBlock(nn.Module):
    """x + SS2D(norm(x)), then x + MLP(norm2(x)), on (B, H, W, C)."""

    def __init__(self, width: int, ssm_ratio: float, drop_path: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.op = SS2D(width, ssm_ratio)
        self.drop_path = _drop_path(drop_path)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = Mlp(width, 4 * width)

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, C) -> (B, H, W, C)."""
        x = x + self.drop_path(self.op(self.norm(x)))
        return x + self.drop_path(self.mlp(self.norm2(x)))


class SS2D(nn.Module):
    """The 2D selective scan block; type `v05_noz` of the releases, without a gate branch."""

    def __init__(self, width: int, ssm_ratio: float, d_state: int = 1) -> None:
        super().__init__()
        inner = int(ssm_ratio * width)
        self.d_state = d_state
        self.dt_rank = math.ceil(width / 16)
        self.in_proj = Linear(width, inner, bias=False)
        self.conv2d = nn.Conv2d(inner, inner, 3, padding=1, groups=inner, bias=False)
        self.x_proj_weight = nn.Parameter(
            torch.empty(NUM_ORDERS, self.dt_rank + 2 * d_state, inner)
        )
        self.dt_projs_weight = nn.Parameter(torch.empty(NUM_ORDERS, inner, self.dt_rank))
        self.dt_projs_bias = nn.Parameter(torch.empty(NUM_ORDERS, inner))
        self.A_logs = nn.Parameter(torch.zeros(NUM_ORDERS * inner, d_state))
        self.Ds = nn.Parameter(torch.ones(NUM_ORDERS * inner))
        self.out_norm = nn.LayerNorm(inner)
        self.out_proj = Linear(inner, width, bias=False)
        self._initialise_steps()

    def _initialise_steps(self, step_min: float = 1e-3, step_max: float = 0.1) -> None:
        """Initialise as Mamba does: initial steps are log-uniform in [step_min, step_max]."""
        # Each order's slice is initialised like `nn.Linear`.
        for weight in (self.x_proj_weight, self.dt_projs_weight):
            bound = weight.shape[-1] ** -0.5
            nn.init.uniform_(weight, -bound, bound)
        log_min, log_max = math.log(step_min), math.log(step_max)
        step = torch.exp(torch.rand_like(self.dt_projs_bias) * (log_max - log_min) + log_min)
        with torch.no_grad():
            self.dt_projs_bias.copy_(step + torch.log(-torch.expm1(-step)))  # inverse softplus

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, C) -> (B, H, W, C)."""
        x = self.in_proj(x)
        x = self.conv2d(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        u = functional.silu(x)
        y = self.out_norm(self._scan(u))  # float32 for any dtype of u
        projected: Tensor = self.out_proj(y.to(u.dtype))
        return projected

    def _scan(self, u: Tensor) -> Tensor:
        """Project steps, B and C of all four orders in pixel order, then scan."""
        grid, inner = (NUM_ORDERS, *u.shape[:3]), u.shape[3]
        x_dbl = linear(u, self.x_proj_weight.flatten(0, 1))
        x_dbl = x_dbl.view(-1, NUM_ORDERS, x_dbl.shape[-1] // NUM_ORDERS).transpose(0, 1)
        dt, B, C = x_dbl.split([self.dt_rank, self.d_state, self.d_state], dim=-1)
        delta = torch.bmm(dt, self.dt_projs_weight.transpose(1, 2).to(dt.dtype))
        A = -torch.exp(self.A_logs.float()).view(NUM_ORDERS, inner, -1)
        return ss2d(
            u, delta.view(*grid, inner), A,
            B.reshape(*grid, -1), C.reshape(*grid, -1), self.Ds.view(NUM_ORDERS, inner),
            self.dt_projs_bias, delta_softplus=True,
        )  # fmt: skip


class Mlp(nn.Module):
    """Two linear layers with a GELU between them, on (B, H, W, C)."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = Linear(width, hidden)
        self.fc2 = Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, C) -> (B, H, W, C)."""
        result: Tensor = self.fc2(functional.gelu(self.fc1(x)))
        return result


def _drop_path(rate: float) -> nn.Module:
    if rate == 0:
        return nn.Identity()
    from timm.layers import DropPath  # slow to import, and needed for training only

    return DropPath(rate)


class Permute(nn.Module):
    """`Tensor.permute` as a module: layers of a Sequential keep their official indices."""

    def __init__(self, *dims: int) -> None:
        super().__init__()
        self.dims = dims

    def forward(self, x: Tensor) -> Tensor:
        """Permute the axes."""
        return x.permute(*self.dims)


def _to_last() -> Permute:
    return Permute(0, 2, 3, 1)


def _to_first() -> Permute:
    return Permute(0, 3, 1, 2)


def _patch_embed(width: int) -> nn.Sequential:
    """Two 3x3 convolutions of stride 2: (B, 3, H, W) -> (B, H/4, W/4, C)."""
    return nn.Sequential(
        nn.Conv2d(3, width // 2, 3, 2, 1), _to_last(), nn.LayerNorm(width // 2), _to_first(),
        nn.GELU(), nn.Conv2d(width // 2, width, 3, 2, 1), _to_last(), nn.LayerNorm(width),
    )  # fmt: skip


def _downsample(width: int, next_width: int) -> nn.Sequential:
    """(B, H, W, C) -> (B, H/2, W/2, C')."""
    return nn.Sequential(
        _to_first(), nn.Conv2d(width, next_width, 3, 2, 1), _to_last(), nn.LayerNorm(next_width)
    )


def _classifier(width: int, num_classes: int) -> nn.Sequential:
    return nn.Sequential(
        OrderedDict(
            norm=nn.LayerNorm(width),
            permute=_to_first(),
            avgpool=nn.AdaptiveAvgPool2d(1),
            flatten=nn.Flatten(1),
            head=nn.Linear(width, num_classes),
        )
    )


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
