"""Camera pipeline from radiance to pixels: exposure, lens, noise, tone curve, compression."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from scmpr_ros.town.sensors.conditions import Condition

Array = NDArray[np.floating]
Rng = np.random.Generator

_LUMINANCE = np.array([0.3, 0.6, 0.1], np.float32)
_TONES = np.linspace(0, 1, 4096, dtype=np.float32)


def develop(image: Array, condition: Condition, rng: Rng) -> NDArray[np.uint8]:
    """Convert linear radiance (H, W, 3) float32 into an image (H, W, 3) uint8."""
    image = np.minimum(image * np.float32(_exposure(image, condition, rng)), 30.0)
    if condition.rain > 0:
        image = _rainfall(image, condition.rain, rng)
    # Photon noise comes before the blur: demosaicing and rectification also smooth it.
    spread = np.sqrt(np.maximum(image, 0) + np.float32(0.01)) * np.float32(condition.noise)
    image = _lens(image + rng.standard_normal(image.shape, np.float32) * spread, rng)
    image *= rng.normal(1, 0.025, 3).astype(np.float32)  # white balance
    grey = (image @ _LUMINANCE)[..., None]
    image = grey + np.float32(rng.uniform(1.0, 1.4)) * (image - grey)  # colour matrix
    index = (np.clip(image, 0, 1) * (len(_TONES) - 1)).astype(np.uint16)
    pixels = _tone_curve(rng.uniform(1.15, 1.6))[index]
    if rng.random() < 0.3:  # some cameras compress
        quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(75, 98))]
        _, data = cv2.imencode(".jpg", pixels, quality)
        return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)
    return pixels


def _exposure(image: Array, condition: Condition, rng: Rng) -> float:
    """Automatic exposure: meters the lower two thirds of the image, so skies may saturate."""
    metered = image[image.shape[0] // 3 :: 2, ::2] @ _LUMINANCE
    # At night the gain is limited, or noise would dominate.
    floor = 0.01 if condition.lamps < 1 else 0.004
    level = max(float(np.exp(np.log(metered + 0.3 * floor).mean())), floor)
    return 0.21 / level * condition.exposure_bias * rng.lognormal(0, 0.08)


def _lens(image: Array, rng: Rng) -> Array:
    """Blur, glare around saturated areas, and vignetting."""
    height, width = image.shape[:2]
    blurred = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.48, 0.68))
    small = cv2.resize(image, (width // 4, height // 4), interpolation=cv2.INTER_AREA)
    bright = np.maximum(small - 1.0, 0)
    halo = 0.05 * cv2.GaussianBlur(bright, (0, 0), 3.0)
    halo += 0.02 * cv2.GaussianBlur(bright, (0, 0), 12.0)
    blurred += cv2.resize(halo, (width, height), interpolation=cv2.INTER_LINEAR)
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    return blurred * (1 - 0.14 * (x * x + 0.3 * y * y))[..., None].astype(np.float32)


def _rainfall(image: Array, density: float, rng: Rng) -> Array:
    """Add streaks of raindrops: faint and nearly vertical."""
    height, width = image.shape[:2]
    streaks = np.zeros((height, width), np.float32)
    lean = rng.normal(0, 0.12)
    count = int(density * 0.0016 * width * height)
    start = rng.random((count, 2)) * (width, height)
    length = height * rng.uniform(0.02, 0.10, count)
    for (x, y), reach in zip(start, length, strict=True):
        a, b = (int(x), int(y)), (int(x + lean * reach), int(y + reach))
        cv2.line(streaks, a, b, float(rng.uniform(0.03, 0.12)), 1, cv2.LINE_AA)
    small = cv2.resize(image, (width // 8, height // 8), interpolation=cv2.INTER_AREA)
    light = cv2.resize(cv2.GaussianBlur(small, (0, 0), height / 96), (width, height))
    return image + streaks[..., None] * (light - image * 0.5)


def _tone_curve(gamma: float) -> NDArray[np.uint8]:
    """Grey levels of the linear values `_TONES`.

    KITTI's and KITTI-360's cameras are almost linear, to judge by their shadows: unlike sRGB
    photographs they show deep shade and white sun in one image.
    """
    return (np.clip(_TONES ** (1 / gamma), 0, 1) * 255 + 0.5).astype(np.uint8)
