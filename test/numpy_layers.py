"""Layers written out as their formulas, one number at a time, to compare networks with.

Nothing here calls the package: weights are read from a layer, numbers are float64.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Cell = tuple[int, ...]


def values(tensor: Any) -> Array:
    """A tensor's numbers."""
    return np.asarray(tensor.detach().numpy(), np.float64)


def unit(x: Array) -> Array:
    return x / math.sqrt(float((x * x).sum()))


def linear(layer: Any, x: Array) -> Array:
    """W x + b; a 1 x 1 convolution of one pixel alike."""
    weight = values(layer.weight).reshape(len(layer.weight), -1)
    y = np.array([float((row * x).sum()) for row in weight])
    return y if layer.bias is None else y + values(layer.bias)


def batch_norm(layer: Any, x: Array) -> Array:
    """Of one vector, by running statistics, with or without scale and shift."""
    x = (x - values(layer.running_mean)) / np.sqrt(values(layer.running_var) + layer.eps)
    return x if getattr(layer, "weight", None) is None else x * values(layer.weight) + values(
        layer.bias
    )  # fmt: skip


def layer_norm(layer: Any, x: Array) -> Array:
    x = (x - x.mean()) / math.sqrt(((x - x.mean()) ** 2).mean() + layer.eps)
    return x * values(layer.weight) + values(layer.bias)


def gelu(x: Array) -> Array:
    """x Phi(x), with the distribution function of the normal distribution."""
    return np.array([v * 0.5 * (1 + math.erf(v / math.sqrt(2))) for v in x])


def softmax(x: Array) -> Array:
    powers = np.array([math.exp(v - x.max()) for v in x])
    return powers / powers.sum()


def netvlad(layer: Any, features: Array, centring: Any, whitening: Any) -> Array:
    """NetVLAD of one view's features (C, H, W), in one block, projected and whitened.

    centring, whitening: batch norms of features and of descriptors.
    """
    centroids = values(layer.centroids)
    vlad = np.zeros_like(centroids)
    for x in features.reshape(len(features), -1).T:
        x = unit(batch_norm(centring, x))
        assignment = softmax(linear(layer.assignment, x))
        for k, centroid in enumerate(centroids):
            vlad[k] += assignment[k] * (x - centroid)
    vlad = np.stack([unit(residual) for residual in vlad])
    return unit(batch_norm(whitening, linear(layer.projection, unit(vlad.ravel()))))


def netvlad_of_image(layer: Any, features: Array) -> Array:
    """With the statistics of images."""
    return netvlad(layer, features, layer.image_batch_norm, layer.image_whitening)


def netvlad_of_window(layer: Any, features: Array) -> Array:
    """With the statistics of places."""
    return netvlad(layer, features, layer.batch_norm, layer.whitening)


def gem(layer: Any, features: Sequence[Array]) -> Array:
    """(mean of max(x, eps)^p)^(1/p) of vectors."""
    p, total = float(values(layer.p)), np.zeros(len(features[0]))
    for x in features:
        total += np.maximum(x, layer.eps) ** p
    return (total / len(features)) ** (1 / p)


def factorise(x: Array, bases: Array, steps: int) -> Array:
    """Low-rank reconstruction of x (C, N) by the multiplicative updates of Lee and Seung."""

    def update(factor: Array, above: Array, below: Array) -> None:
        for i in np.ndindex(*factor.shape):
            factor[i] *= above[i] / below[i] if below[i] else 0.0

    D, C = bases.copy(), np.stack([softmax(bases.T @ column) for column in x.T], axis=1)
    for _ in range(steps):
        update(C, D.T @ x, D.T @ D @ C)
        update(D, x @ C.T, D @ C @ C.T)
    update(C, D.T @ x, D.T @ D @ C)
    return D @ C


def sparse_convolution(
    voxels: Mapping[Cell, Array], weight: Array, stride: int
) -> dict[Cell, Array]:
    """Sum over the occupied of the 27 voxels around each result; weight: (27, C, C')."""
    result = {}
    for cell in {tuple(side // stride for side in cell) for cell in voxels}:
        total = np.zeros(weight.shape[2])
        for i, offset in enumerate(np.ndindex(3, 3, 3)):
            neighbour = tuple(stride * c + o - 1 for c, o in zip(cell, offset, strict=True))
            if neighbour in voxels:
                total += voxels[neighbour] @ weight[i]
        result[cell] = total
    return result


def resize(image: Array, size: tuple[int, int]) -> Array:
    """Bilinear with antialiasing: each pixel's weights are a triangle over the input."""
    for axis, length in enumerate(size):
        step = image.shape[axis] / length
        weights = np.zeros((length, image.shape[axis]))
        for i, j in np.ndindex(*weights.shape):
            weights[i, j] = max(0.0, 1 - abs(j + 0.5 - (i + 0.5) * step) / max(step, 1.0))
        weights /= weights.sum(1, keepdims=True)
        image = np.moveaxis(np.tensordot(weights, image, (1, axis)), 0, axis)
    return image


def resize_nearest(image: Array, size: tuple[int, int]) -> Array:
    result = np.zeros(size)
    for i, j in np.ndindex(*size):
        result[i, j] = image[i * image.shape[0] // size[0], j * image.shape[1] // size[1]]
    return result
