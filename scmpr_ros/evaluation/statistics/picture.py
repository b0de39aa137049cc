"""Draw a comparison: example images, and all distributions against the first recording's."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.offsetbox import AnchoredOffsetbox, HPacker, TextArea
from matplotlib.ticker import NullLocator
from numpy.typing import NDArray

from scmpr_ros.evaluation.figures import FAINT, INK, PAPER, new_figure, save_figure
from scmpr_ros.evaluation.statistics.distribution import Axis
from scmpr_ros.evaluation.statistics.drives import Comparison, DriveStatistics, Recording
from scmpr_ros.semantics import CLASSES

_LINES = ("#d1352b", "#457b9d", "#0a8f5b", "#e9a03b", "#7d5ba6", "#1d3557")
_REFERENCE = "#b4b7bc"
_EXAMPLES, _COLUMNS, _BARS = 3, 4, 64
_WIDTH_INCHES, _LEFT, _RIGHT = 17.0, 0.035, 0.985
_HEAD_INCHES, _IMAGE_INCHES, _PANEL_INCHES, _FOOT_INCHES = 0.85, 1.95, 2.75, 0.6
_PANELS = {
    "luminance": "luminance, grey levels",
    "red": "red, grey levels",
    "green": "green, grey levels",
    "blue": "blue, grey levels",
    "saturation": "saturation",
    "gradient": "gradient, grey levels per px",
    "local contrast": "contrast in 8x8 px, grey levels",
    "spectrum": "power by frequency, cycles per px",
    "elevation": "returns per scan by elevation, deg",
    "range": "range of returns, m",
    "height": "height above ground, m",
    "intensity": "intensity",
}
_CLASS_PANELS = {"pixel classes": "classes of pixels", "point classes": "classes of points"}
_FAINTEST_SHARE = {"gradient": 1e-5, "range": 1e-4, "height": 1e-5}  # logarithmic, for the tails


def draw_comparison(comparison: Comparison, recordings: Sequence[Recording], path: Path) -> None:
    """Write the picture as a PNG, atomically.

    recordings: the compared ones, for example images.
    """
    pictured = [(number, r) for number, r in enumerate(recordings) if r.image_frames(1)]
    measured = {name for statistics in comparison.recordings for name in statistics.distributions}
    panels = [name for name in _PANELS if name in measured]
    class_panels = [name for name in _CLASS_PANELS if name in measured]
    rows = -(-len(panels) // _COLUMNS) + bool(class_panels)
    images, charts = _IMAGE_INCHES * len(pictured), _PANEL_INCHES * rows
    height = _HEAD_INCHES + images + charts + _FOOT_INCHES
    figure = new_figure(_WIDTH_INCHES, height)
    _draw_head(figure, comparison)
    for row, (number, recording) in enumerate(pictured):
        top = 1 - (_HEAD_INCHES + _IMAGE_INCHES * row) / height
        _draw_examples(figure, top, recording, _colour(number) if number else INK)
    grid = figure.add_gridspec(
        rows, 4 * _COLUMNS, left=_LEFT, right=_RIGHT, bottom=_FOOT_INCHES / height, wspace=0.9,
        top=(_FOOT_INCHES + charts - 0.55) / height, hspace=0.55,
    )  # fmt: skip
    for place, name in enumerate(panels):
        row, column = divmod(place, _COLUMNS)
        _draw_histogram(
            figure.add_subplot(grid[row, 4 * column : 4 * column + 4]), comparison, name
        )
    for place, name in enumerate(class_panels):
        _draw_classes(figure.add_subplot(grid[-1, 8 * place : 8 * place + 8]), comparison, name)
    save_figure(figure, path, dpi=100)


def _colour(number: int) -> str:
    """Colour of a recording; number 0 is the reference."""
    return _LINES[(number - 1) % len(_LINES)] if number else _REFERENCE


def _draw_head(figure: Figure, comparison: Comparison) -> None:
    """Draw the title and an explanation of the numbers above the panels."""
    height = figure.get_figheight()
    first, *others = (statistics.name for statistics in comparison.recordings)
    title = f"{', '.join(others)} compared with {first}" if others else first
    figure.text(_LEFT, 1 - 0.28 / height, title, fontsize=20, weight="bold", color=INK,
                va="center")  # fmt: skip
    scale = "as stored" if comparison.focal_px is None else f"at fx = {comparison.focal_px:.0f} px"
    figure.text(
        _LEFT, 1 - 0.58 / height,
        f"Grey: {first}; lines: the others. Above each panel: Wasserstein-1 distance to {first}; "
        f"baseline: between the two halves of {first}. Images measured {scale}.",
        fontsize=11, color=FAINT, va="center",
    )  # fmt: skip


def _draw_examples(figure: Figure, top: float, recording: Recording, colour: str) -> None:
    """Draw images, spread evenly over the recording, side by side below its name."""
    height = figure.get_figheight()
    figure.text(_LEFT, top - 0.02 / height, recording.name, fontsize=12, weight="bold",
                color=colour, va="top")  # fmt: skip
    width = (_RIGHT - _LEFT) / _EXAMPLES
    for column, (drive, frame) in enumerate(recording.image_frames(_EXAMPLES)):
        box = (_LEFT + column * width, top - (_IMAGE_INCHES - 0.02) / height)
        axes = figure.add_axes((*box, width - 0.006, (_IMAGE_INCHES - 0.25) / height))
        axes.imshow(drive.image(frame), interpolation="antialiased")
        axes.set_anchor("NW")
        axes.set_axis_off()


def _draw_histogram(axes: Axes, comparison: Comparison, name: str) -> None:
    """Draw the fraction in each bin; for elevation, the returns per scan."""
    peak = 0.0
    for number, statistics in enumerate(comparison.recordings):
        if name not in statistics.distributions:
            continue
        heights, edges = _bars(statistics, name)
        inner = heights if name == "spectrum" else heights[1:-1]
        peak = max(peak, inner.max(initial=0))
        style = {"linewidth": 1.6} if number else {"fill": True}
        axes.stairs(heights, edges, color=_colour(number), **style)
        axis = statistics.distributions[name].axis
    if axis.scale == "log":
        _set_log_ticks(axes, axis)
    # End bins hold all values outside (except power), so they may exceed the panel.
    axes.set_ylim(0, 1.1 * peak or None)
    if name in _FAINTEST_SHARE:
        axes.set_yscale("log")
        axes.set_ylim(_FAINTEST_SHARE[name], 1.0)
    _finish(axes, comparison, name, _PANELS[name])


def _bars(statistics: DriveStatistics, name: str) -> tuple[NDArray, NDArray]:
    """Heights and edges of the bars; neighbouring bins are joined if there are too many."""
    distribution = statistics.distributions[name]
    heights = distribution.fractions
    if name == "elevation":
        heights = distribution.weight / statistics.numbers["scans"]
    joined = distribution.axis.bins // _BARS if distribution.axis.bins % _BARS == 0 else 1
    return heights.reshape(-1, joined).sum(axis=1), distribution.axis.edges[::joined]


def _set_log_ticks(axes: Axes, axis: Axis) -> None:
    ticks = [f * 10.0**k for k in range(-3, 4) for f in (1, 3)]
    inside = [t for t in ticks if axis.low <= t * 1.001 and t <= axis.high]
    axes.set_xscale("log")
    axes.set_xticks(inside, [f"{t:g}" for t in inside])
    axes.xaxis.set_minor_locator(NullLocator())


def _draw_classes(axes: Axes, comparison: Comparison, name: str) -> None:
    """Draw bars side by side for every class in any recording."""
    fractions = {
        number: statistics.distributions[name].fractions
        for number, statistics in enumerate(comparison.recordings)
        if name in statistics.distributions
    }
    present = np.flatnonzero(np.max(list(fractions.values()), axis=0) > 0)
    width = 0.84 / len(fractions)
    for place, (number, fraction) in enumerate(fractions.items()):
        where = np.arange(len(present)) + (place - (len(fractions) - 1) / 2) * width
        axes.bar(where, fraction[present], width, color=_colour(number))
    labels = [CLASSES[i].name.replace("_", " ") for i in present]
    axes.set_xticks(range(len(present)), labels, rotation=20, ha="right", rotation_mode="anchor")
    _finish(axes, comparison, name, _CLASS_PANELS[name])


def _finish(axes: Axes, comparison: Comparison, name: str, title: str) -> None:
    """Add the title and the distances in the colours of their lines; remove clutter."""
    axes.set_title(title, loc="left", fontsize=11, color=INK, pad=20)
    axes.set_facecolor(PAPER)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(labelsize=8.5, colors=FAINT)
    labelled = [("baseline", comparison.halves.get(name), FAINT)]
    for number, distances in enumerate(comparison.to_first, start=1):
        label = comparison.recordings[number].name
        labelled.append((label, distances.get(name), _colour(number)))
    words: list[Artist] = [
        TextArea(f"{label} {distance.wasserstein:.3g}", textprops={"color": c, "fontsize": 9})
        for label, distance, c in labelled
        if distance
    ]
    if words:
        axes.add_artist(
            AnchoredOffsetbox(
                "lower left", child=HPacker(children=words, pad=0, sep=9), pad=0, borderpad=0.3,
                frameon=False, bbox_to_anchor=(0, 1), bbox_transform=axes.transAxes,
            )
        )  # fmt: skip
