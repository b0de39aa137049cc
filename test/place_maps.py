"""Small place maps for tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from scmpr_ros.geometry import AngularGrid, upright_axes
from scmpr_ros.retrieval.place_map import MapHeader, PlaceMap, PlaceTile
from scmpr_ros.semantics import label_confusion

GRID = AngularGrid(4, 12, 16.0, -16.0)
HEADINGS = np.arange(6) * np.pi / 3
UTM = np.array([4.5e5, 5.4e6, 100.0])


def example(places: int = 4, fingerprint: str = "abc") -> PlaceMap:
    """A map in memory, in UTM coordinates."""
    rng = np.random.default_rng(0)
    descriptors = rng.normal(size=(places, 6, 8))
    return PlaceMap(
        positions=rng.normal(size=(places, 3)) + UTM,
        axes=upright_axes(rng.normal(size=(places, 3), scale=0.1) + [0, 0, 1]),
        headings_rad=HEADINGS,
        descriptors=(descriptors / np.linalg.norm(descriptors, axis=2, keepdims=True)).astype(
            np.float16
        ),
        panorama_labels=rng.integers(0, 9, (places, 4, 12), dtype=np.uint8),
        panorama_ranges=rng.uniform(0, 50, (places, 4, 12)).astype(np.float16),
        confusion=label_confusion({"pole": {"building": 1.0}}),
        context=rng.normal(size=(8, 5)).astype(np.float32),
        grid=GRID,
        fingerprint=fingerprint,
    )


def tile(key: str, places: int = 3, x_m: float = 0.0, seed: int = 0) -> PlaceTile:
    """A tile of places 2 m apart along x, with tokens of 8 classes."""
    rng = np.random.default_rng([seed, *key.encode()])
    descriptors = rng.normal(size=(places, 6, 8))
    descriptors /= np.linalg.norm(descriptors, axis=2, keepdims=True)
    return PlaceTile(
        key=key,
        positions=np.stack([x_m + 2.0 * np.arange(places), *np.zeros((2, places))], axis=1),
        axes=np.tile(np.eye(3), (places, 1, 1)),
        descriptors=descriptors.astype(np.float16),
        panorama_labels=rng.integers(0, 9, (places, 4, 12), dtype=np.uint8),
        panorama_ranges=rng.uniform(0, 50, (places, 4, 12)).astype(np.float16),
        token_sums=rng.normal(size=(places, 8, 5)).astype(np.float32),
        token_weights=rng.uniform(0, 9, (places, 8)).astype(np.float32),
    )


def header(**changes: object) -> MapHeader:
    """What the tiles above share."""
    values: dict[str, object] = {
        "fingerprint": "abc", "grid": GRID, "headings_rad": HEADINGS,
        "confusion": label_confusion(),
    }  # fmt: skip
    return MapHeader(**{**values, **changes})  # type: ignore[arg-type]


def files_in(folder: Path) -> list[str]:
    """Names of all files of a map, relative to its folder."""
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())
