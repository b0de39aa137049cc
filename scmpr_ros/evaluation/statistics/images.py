"""Statistics of single images and masks."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from scmpr_ros.errors import ShapeError
from scmpr_ros.evaluation.statistics.distribution import Axis, Distribution, Measurement
from scmpr_ros.semantics import NUM_CLASSES

LEVELS = Axis(-0.5, 255.5, 256, "grey levels")
CHANNEL = Axis(-0.5, 255.5, 64, "grey levels")
SATURATION = Axis(0.0, 1.0, 64, "0 to 1")
GRADIENT = Axis(0.1, 200.0, 66, "grey levels per px", "log")
CONTRAST = Axis(0.1, 130.0, 62, "grey levels", "log")
FREQUENCY = Axis(0.03, 0.5, 16, "cycles per px", "log")
CLASSES = Axis.of_classes(NUM_CLASSES)

SLOPE_BAND = (0.03, 0.3)  # cycles per px: below the roll-off of lens and interpolation
_LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)
_BLACK, _WHITE = 3, 252
_TILE = 128
_BLOCK, _NOISE_BLOCK = 8, 16
_EDGE_SHARE, _WEAKEST_EDGE = 0.05, 1.0
_NOISE_MASK = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], dtype=np.float32)


def measure_image(rgb: NDArray[np.uint8]) -> Measurement:
    """Measure an RGB image (H, W, 3) uint8; luminance is Rec. 601, 0 to 255.

    Raises ShapeError for other arrays.
    """
    if rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.dtype != np.uint8:
        raise ShapeError.of("image", "(H, W, 3) uint8", f"{rgb.shape} {rgb.dtype}")
    luminance = rgb @ _LUMA
    brightest, darkest = rgb.max(axis=2), rgb.min(axis=2)
    saturation = 1 - darkest / np.maximum(brightest, 1)
    gradient = gradient_magnitude(luminance)
    return Measurement(
        {
            "clipped black": float((brightest <= _BLACK).mean()),
            "clipped white": float((darkest >= _WHITE).mean()),
            "edge sharpness": edge_sharpness(luminance, gradient),
            "noise": noise_level(luminance),
        },
        {
            "luminance": Distribution.of(luminance, LEVELS),
            "red": Distribution.of(rgb[..., 0], CHANNEL),
            "green": Distribution.of(rgb[..., 1], CHANNEL),
            "blue": Distribution.of(rgb[..., 2], CHANNEL),
            "saturation": Distribution.of(saturation, SATURATION),
            "gradient": Distribution.of(gradient, GRADIENT),
            "local contrast": Distribution.of(block_contrast(luminance), CONTRAST),
            "spectrum": power_spectrum(luminance),
        },
    )


def measure_mask(mask: NDArray[np.uint8]) -> Measurement:
    """Measure the classes of joint ids (H, W), in the whole image and in its thirds."""
    thirds = np.array_split(mask, 3)
    parts = {"": mask, ", top third": thirds[0], ", middle third": thirds[1]}
    parts[", bottom third"] = thirds[2]
    return Measurement(
        distributions={f"pixel classes{n}": Distribution.of(m, CLASSES) for n, m in parts.items()}
    )


def gradient_magnitude(luminance: NDArray[np.float32]) -> NDArray[np.float32]:
    """Magnitude (H - 2, W - 2) of central differences, per px, without the border."""
    across = (luminance[1:-1, 2:] - luminance[1:-1, :-2]) / 2
    down = (luminance[2:, 1:-1] - luminance[:-2, 1:-1]) / 2
    return np.hypot(across, down)


def edge_sharpness(luminance: NDArray[np.float32], gradient: NDArray[np.float32]) -> float:
    """Sharpness of edges in 1/px: 2 for a step between two pixels, less if blurred.

    The 95 % quantile of |Laplacian| / gradient over the strongest 5 % of the gradients; NaN without
    edges.
    """
    laplacian = np.abs(cv2.Laplacian(luminance, cv2.CV_32F, ksize=1))[1:-1, 1:-1]
    edges = gradient >= max(float(np.quantile(gradient, 1 - _EDGE_SHARE)), _WEAKEST_EDGE)
    if not edges.any():
        return float("nan")
    return float(np.quantile(laplacian[edges] / gradient[edges], 0.95))


def block_contrast(luminance: NDArray[np.float32]) -> NDArray[np.float32]:
    """Standard deviation (N,) of the luminance in blocks of 8x8 px."""
    return _blocks(luminance, _BLOCK).std(axis=1)


def noise_level(luminance: NDArray[np.float32]) -> float:
    """Standard deviation of the noise, in grey levels, in the flattest parts of the image.

    Immerkaer (CVIU 1996): a filter that suppresses slopes and straight edges. His mean over the
    image mistakes texture for noise. Here it is the mean in blocks of 16x16 px without clipped
    pixels, and the 10 % quantile over the blocks, which is 10 % too low for pure white noise. NaN
    if all blocks have clipped pixels.
    """
    filtered = np.abs(cv2.filter2D(luminance, cv2.CV_32F, _NOISE_MASK))[1:-1, 1:-1]
    inner = luminance[1:-1, 1:-1]
    blocks = _blocks(inner, _NOISE_BLOCK)
    unclipped = (blocks.min(axis=1) > _BLACK) & (blocks.max(axis=1) < _WHITE)
    if not unclipped.any():
        return float("nan")
    sigma = np.sqrt(np.pi / 2) / 6 * _blocks(filtered, _NOISE_BLOCK)[unclipped].mean(axis=1)
    return float(np.quantile(sigma, 0.1))


def power_spectrum(luminance: NDArray[np.float32]) -> Distribution:
    """Power between 0.03 and 0.5 cycles per px, averaged over directions and over square tiles.

    Tiles have 128 px (less in smaller images) and a Hann window. Weights are mean power times the
    area of the bin's ring in the frequency plane, so a 1/f^2 spectrum gives equal weights.
    """
    side = min(_TILE, *luminance.shape)
    window = np.outer(np.hanning(side), np.hanning(side))
    frequency = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side))
    ring = np.where((frequency >= FREQUENCY.low) & (frequency < FREQUENCY.high),
                    FREQUENCY.bin_of(frequency), FREQUENCY.bins).ravel()  # fmt: skip
    power = np.zeros(frequency.shape)
    tiles = _blocks(luminance, side).reshape(-1, side, side)
    for tile in tiles:
        power += np.abs(np.fft.rfft2((tile - tile.mean()) * window)) ** 2
    total = np.bincount(ring, power.ravel(), FREQUENCY.bins + 1)[:-1]
    cells = np.bincount(ring, minlength=FREQUENCY.bins + 1)[:-1]
    mean = total / np.maximum(cells, 1) / len(tiles) / (window**2).sum()
    return Distribution(FREQUENCY, mean * _ring_areas())


def spectrum_slope(spectrum: Distribution) -> float:
    """Fit the exponent of a power law to the power in `SLOPE_BAND`; about -2 for photographs."""
    power, frequency = spectrum.weight / _ring_areas(), FREQUENCY.centres
    fitted = (frequency > SLOPE_BAND[0]) & (frequency < SLOPE_BAND[1]) & (power > 0)
    if fitted.sum() < 2:
        return float("nan")
    return float(np.polyfit(np.log(frequency[fitted]), np.log(power[fitted]), 1)[0])


def _ring_areas() -> NDArray[np.float64]:
    return np.pi * np.diff(FREQUENCY.edges**2)


def _blocks(image: NDArray[np.float32], side: int) -> NDArray[np.float32]:
    """Complete blocks (N, side * side) of an image, starting at its upper left corner."""
    rows, columns = image.shape[0] // side, image.shape[1] // side
    cut = image[: rows * side, : columns * side].reshape(rows, side, columns, side)
    return cut.swapaxes(1, 2).reshape(-1, side * side)
