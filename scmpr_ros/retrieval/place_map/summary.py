"""What is in a place map, in words and numbers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from scmpr_ros.retrieval.panoramas import Panoramas
from scmpr_ros.retrieval.place_map.manifest import (
    FORMAT_4,
    MANIFEST,
    Manifest,
    read_format,
    read_manifest,
)
from scmpr_ros.retrieval.place_map.place_map import PlaceMap
from scmpr_ros.semantics import CLASSES, IGNORE

_CELL_M = 5.0
_SAMPLED_PLACES = 500
_MAX_TEXT = 120


def sampled_places(place_map: PlaceMap, count: int) -> NDArray[np.int64]:
    """Indices of `count` places spread over a map, or of all."""
    return np.unique(np.linspace(0, len(place_map) - 1, min(count, len(place_map))).astype(int))


def summary_of(directory: Path, place_map: PlaceMap) -> Iterator[tuple[str, str]]:
    """Names and values of what a map contains. directory: it was loaded from."""
    version, _ = read_format(directory)
    yield "format", version
    yield "checkpoint", place_map.fingerprint
    yield "places", f"{len(place_map):,} with {len(place_map.headings_rad)} headings each"
    yield from _extent(place_map)
    yield from _views(place_map)
    yield "frame", _frame(place_map)
    if place_map.sensor_height_m is not None:
        yield "sensor height", f"{place_map.sensor_height_m:.2f} m above the ground"
    if version != FORMAT_4:
        yield from _files(read_manifest(directory), place_map)
    for key, value in place_map.provenance.items():
        several = isinstance(value, (Mapping, list)) and len(str(value)) > _MAX_TEXT
        yield f"made of: {key}", f"{len(value)} entries, see {MANIFEST}" if several else str(value)


def _extent(place_map: PlaceMap) -> Iterator[tuple[str, str]]:
    xyz = place_map.positions
    size = np.ptp(xyz, axis=0)
    yield (
        "extent",
        (
            f"{size[0]:.0f} m x {size[1]:.0f} m, {size[2]:.1f} m high; x {xyz[:, 0].min():.1f} to "
            f"{xyz[:, 0].max():.1f}, y {xyz[:, 1].min():.1f} to {xyz[:, 1].max():.1f}"
        ),
    )
    cells = len(np.unique(np.floor(xyz[:, :2] / _CELL_M), axis=0))
    yield "coverage", f"{cells * _CELL_M**2:,.0f} m2 in cells of {_CELL_M:.0f} m that hold places"
    if len(xyz) > 1:
        spacing = cKDTree(xyz).query(xyz, k=2)[0][:, 1]
        yield (
            "spacing",
            (
                f"{np.median(spacing):.2f} m to the nearest place (median), at most "
                f"{spacing.max():.1f} m"
            ),
        )


def _views(place_map: PlaceMap) -> Iterator[tuple[str, str]]:
    grid, places = place_map.grid, sampled_places(place_map, _SAMPLED_PLACES)
    panoramas = Panoramas(place_map.panorama_labels, place_map.panorama_ranges)
    labels, ranges = (cells.numpy() for cells in panoramas.of(places))
    seen = (labels != IGNORE).mean((1, 2))
    yield (
        "panoramas",
        (
            f"{grid.height} x {grid.width} cells, {grid.fov_down_deg:g} to {grid.fov_up_deg:g} "
            "deg; "
            f"{np.median(seen):.0%} with a return (median; {seen.min():.0%} to {seen.max():.0%})"
        ),
    )
    if (ranges > 0).any():
        yield "ranges", f"{np.median(ranges[ranges > 0].astype(np.float32)):.1f} m (median)"
    counts = np.bincount(labels[labels != IGNORE], minlength=len(CLASSES))
    order = [i for i in np.argsort(-counts) if counts[i]]
    yield "classes", ", ".join(f"{CLASSES[i].name} {counts[i] / counts.sum():.0%}" for i in order)


def _frame(place_map: PlaceMap) -> str:
    x, y, z = place_map.origin
    origin = "of the source" if not any(place_map.origin) else (
        f"zero at ({x:.3f}, {y:.3f}, {z:.3f}) of the source"
    )  # fmt: skip
    return f"{origin}; georeference {place_map.georeference or 'unknown'}"


def _files(manifest: Manifest, place_map: PlaceMap) -> Iterator[tuple[str, str]]:
    sizes = [tile.places for tile in manifest.tiles]
    yield "tiles", f"{len(sizes)} of {min(sizes)} to {max(sizes)} places"
    total = sum(file.num_bytes for file in manifest.files)
    descriptors, panoramas = (
        sum(getattr(place_map, name).nbytes for name in names)
        for names in (("descriptors",), ("panorama_labels", "panorama_ranges"))
    )
    yield (
        "size",
        (
            f"{_megabytes(total)}: descriptors {_megabytes(descriptors)}, panoramas "
            f"{_megabytes(panoramas)}; {total / manifest.places / 1000:.0f} kB a place"
        ),
    )
    index = manifest.index
    if index.file is None:
        yield "index", f"{index.spec} (setting {index.setting}), made when the map is loaded"
    else:
        each = index.file.num_bytes / (manifest.places * manifest.headings)
        yield (
            "index",
            (
                f"{index.spec} (setting {index.setting}), {_megabytes(index.file.num_bytes)}, "
                f"{each:.0f} bytes a viewpoint"
            ),
        )


def _megabytes(num_bytes: int) -> str:
    return f"{num_bytes / 1e6:.1f} MB"
