"""A page that shows a place map in a browser, in one file and without a network."""

from __future__ import annotations

import base64
import html
import io
import json
from collections.abc import Iterable
from pathlib import Path
from string import Template
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from scmpr_ros.atomic_files import write_file
from scmpr_ros.retrieval.distinctiveness import distinctiveness
from scmpr_ros.retrieval.place_map import PlaceMap
from scmpr_ros.retrieval.place_map.summary import sampled_places
from scmpr_ros.semantics import CLASSES, IGNORE, STATIC_IDS, colourise

_BACKGROUND_PLACES = 20_000
_FAR_M = 50.0
_NO_RETURN = (232, 231, 227)
_TEMPLATE = Path(__file__).with_name("map_page.html")


def write_map_page(
    path: Path, title: str, place_map: PlaceMap, summary: Iterable[tuple[str, str]], count: int
) -> None:
    """Write the page.

    summary: names and values for the table. count: places, spread over the map, that are compared
    with each other and whose panoramas the page holds; the others are dots.
    """
    places = sampled_places(place_map, count)
    background = sampled_places(place_map, _BACKGROUND_PLACES)
    centre = place_map.positions[:, :2].mean(0)
    distinct = distinctiveness(place_map, places)
    shown = [
        {
            "place": int(place),
            "xyz": place_map.positions[place].round(2).tolist(),
            "at": _at(place_map.positions[place], centre),
            "forward": place_map.axes[place, :2, 0].round(4).tolist(),
            "left": place_map.axes[place, :2, 1].round(4).tolist(),
            "distinct": None if np.isnan(value) else round(float(value), 4),
            "labels": _label_png(np.asarray(place_map.panorama_labels[place])),
            "ranges": _range_png(np.asarray(place_map.panorama_ranges[place])),
        }
        for place, value in zip(places, distinct, strict=True)
    ]
    data: dict[str, Any] = {
        "places": shown,
        "others": [_at(place_map.positions[place], centre) for place in background],
        "fov": place_map.grid.fov_rad,
        "far": _FAR_M,
        "classes": [(CLASSES[i].name, _colour(CLASSES[i].rgb)) for i in STATIC_IDS],
        "nothing": _colour(_NO_RETURN),
    }
    rows = "".join(
        f"<tr><th>{html.escape(name)}</th><td>{html.escape(value)}</td></tr>"
        for name, value in summary
    )
    text = Template(_TEMPLATE.read_text(encoding="utf-8")).substitute(
        title=html.escape(title), rows=rows, shown=len(shown), total=f"{len(place_map):,}",
        data=json.dumps(data, allow_nan=False).replace("</", "<\\/"),
    )  # fmt: skip
    write_file(path, text)


def _at(position: NDArray[np.float64], centre: NDArray[np.float64]) -> list[float]:
    """Where the page draws a position: metres from the centre, y downwards."""
    x, y = (position[:2] - centre).round(2)
    return [float(x), float(-y)]


def _colour(rgb: tuple[int, int, int]) -> str:
    return "#{:02x}{:02x}{:02x}".format(*rgb)


def _label_png(labels: NDArray[np.uint8]) -> str:
    nothing = (labels == IGNORE)[..., None]
    return _png(np.where(nothing, np.array(_NO_RETURN, np.uint8), colourise(labels)))


def _range_png(ranges_m: NDArray[np.float16]) -> str:
    """Near cells are dark."""
    grey = np.sqrt(ranges_m.astype(np.float32).clip(0, _FAR_M) / _FAR_M) * 200
    rgb = np.repeat(grey.astype(np.uint8)[..., None], 3, axis=2)
    return _png(np.where((ranges_m == 0)[..., None], np.array(_NO_RETURN, np.uint8), rgb))


def _png(rgb: NDArray[np.uint8]) -> str:
    """A picture as a data URI."""
    buffer = io.BytesIO()
    Image.fromarray(rgb).quantize(64).save(buffer, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
