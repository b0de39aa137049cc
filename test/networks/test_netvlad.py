"""NetVLAD equals its formula, and windows cover their field of view."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional

from scmpr_ros.errors import ConfigError
from scmpr_ros.networks.netvlad import (
    NetVlad,
    NetVladConfig,
    SharedNetVlad,
    heading_windows,
    whole_view,
)


@torch.no_grad()
def vlad_by_formula(layer: NetVlad, features: torch.Tensor) -> torch.Tensor:
    """V(j, k) = sum_i a_k(x_i) (x_i(j) - c_k(j)), normalised, projected (NetVLAD, eq. 4)."""
    x = functional.normalize(features, dim=1).flatten(2)[0]
    w, b = layer.assignment.weight[:, :, 0, 0], layer.assignment.bias
    vlad = torch.zeros(layer.config.clusters, x.shape[0])
    for i in range(x.shape[1]):
        assignment = torch.softmax(w @ x[:, i] + b, 0)
        for k in range(layer.config.clusters):
            vlad[k] += assignment[k] * (x[:, i] - layer.centroids[k])
    vlad = functional.normalize(functional.normalize(vlad, dim=1).flatten(), dim=0)
    return functional.normalize(layer.projection(vlad), dim=0)


def test_one_block_is_the_published_netvlad() -> None:
    torch.manual_seed(0)
    layer = NetVlad(8, NetVladConfig(clusters=4, blocks=1, descriptor_dim=16)).eval()
    features = torch.randn(1, 8, 3, 5)
    descriptor = layer(features, whole_view(5, 1))[0, 0].detach()
    torch.testing.assert_close(descriptor, vlad_by_formula(layer, features))
    assert descriptor.norm() == pytest.approx(1.0, abs=1e-5)


def test_images_and_windows_are_centred_apart() -> None:
    """By statistics of their own, which neither branch takes of the other, with shared weights."""
    torch.manual_seed(0)
    layer = SharedNetVlad(8, NetVladConfig(clusters=4, blocks=1, descriptor_dim=16))
    images, windows = torch.randn(6, 8, 3, 5), 3 * torch.randn(6, 8, 3, 5) + 2
    found = (layer.describe_image(images), layer.describe_window(windows))
    for descriptors in found:  # whitened over the batch
        assert descriptors.detach().mean(0).abs().max() < 0.1
    mean = 0.1 * torch.stack([images.mean((0, 2, 3)), windows.mean((0, 2, 3))])
    torch.testing.assert_close(layer.image_batch_norm.running_mean, mean[0])
    torch.testing.assert_close(layer.batch_norm.running_mean, mean[1])
    assert not layer.image_whitening.running_mean.equal(layer.whitening.running_mean)
    layer.image_batch_norm.load_state_dict(layer.batch_norm.state_dict())
    layer.image_whitening.load_state_dict(layer.whitening.state_dict())
    with torch.no_grad():
        alike = layer.eval().describe_image(windows)
        torch.testing.assert_close(alike, layer.describe_window(windows))
        torch.testing.assert_close(alike, layer(windows, whole_view(5, 1))[:, 0])


def test_whole_view_cuts_columns_into_equal_blocks() -> None:
    window = whole_view(5, 2)[0]
    torch.testing.assert_close(
        window, torch.tensor([[1, 1, 0.5, 0, 0], [0, 0, 0.5, 1, 1]], dtype=torch.float32)
    )


def test_windows_are_centred_on_their_heading_and_wrap() -> None:
    headings = torch.tensor([0.0, math.pi / 2, math.pi])
    windows = heading_windows(headings, math.radians(90), width=8, blocks=1)[:, 0]
    assert windows[0].tolist() == [0, 0, 0, 1, 1, 0, 0, 0]  # ahead: the middle
    assert windows[1].tolist() == [0, 1, 1, 0, 0, 0, 0, 0]  # left of it
    assert windows[2].tolist() == [1, 0, 0, 0, 0, 0, 0, 1]  # behind: both edges


@given(
    yaw=st.floats(-10, 10),
    fov=st.floats(10, 350),
    width=st.integers(4, 64),
    blocks=st.integers(1, 5),
)
def test_every_window_covers_its_field_of_view(
    yaw: float, fov: float, width: int, blocks: int
) -> None:
    yaw = math.remainder(yaw, 2 * math.pi)
    windows = heading_windows(torch.tensor([yaw]).double(), math.radians(fov), width, blocks)
    block = fov / 360 * width / blocks
    assert windows.sum(-1).flatten().tolist() == pytest.approx([block] * blocks, rel=1e-6)
    assert windows.min() >= 0 and windows.sum(1).max() <= 1 + 1e-9


def test_rolling_a_panorama_shifts_its_descriptors_by_one_heading() -> None:
    torch.manual_seed(1)
    layer = NetVlad(8, NetVladConfig(clusters=4, blocks=2, descriptor_dim=16)).eval()
    features = torch.randn(1, 8, 4, 12)
    headings = torch.arange(12) * (2 * math.pi / 12)
    windows = heading_windows(headings, math.radians(90), 12, 2)
    plain = layer(features, windows)
    rolled = layer(torch.roll(features, -1, -1), windows)
    torch.testing.assert_close(torch.roll(plain, 1, 1), rolled, rtol=0, atol=2e-4)


def test_empty_vocabulary_is_refused() -> None:
    with pytest.raises(ConfigError):
        NetVladConfig(clusters=0)
