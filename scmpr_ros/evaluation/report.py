"""Figure of a localised drive: map and answers, some queries, and the scores."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import FancyBboxPatch, Patch, Rectangle
from numpy.typing import NDArray

from scmpr_ros.evaluation.figures import FAINT, INK, new_figure, save_figure
from scmpr_ros.evaluation.localized_drive import LocalizedDrive
from scmpr_ros.evaluation.map_view import view_from_above
from scmpr_ros.evaluation.metrics import Tolerance
from scmpr_ros.evaluation.result import Scores
from scmpr_ros.evaluation.state_colours import STATE_COLOURS
from scmpr_ros.evaluation.trajectory import TrackedDrive, TrackedScores
from scmpr_ros.geometry import camera_yaw, wrap_angle
from scmpr_ros.records import PointCloud
from scmpr_ros.retrieval.place_map import PlaceMap
from scmpr_ros.semantics import CLASSES, IGNORE, STATIC_IDS, colourise

CORRECT, WRONG, TRUTH = "#0a8f5b", "#d1352b", "#1d3557"
_FIGURE_INCHES = (16.0, 9.6)
_MARGIN_M = 30.0
_CAPTION = (
    "Below each image: panorama of the matched place, with the matched view framed; ▾ true heading."
)
_NO_RETURN = (232, 231, 227)


@dataclass(frozen=True)
class ReportScene:
    """What the figure shows.

    cloud: points of the map. drive, scores: answers to single images. tracked: the same drive,
    tracked. image: gives the RGB image (H, W, 3) of a frame.
    camera_fov_rad: horizontal field of view.
    """

    title: str
    subtitle: str
    cloud: PointCloud
    place_map: PlaceMap
    drive: LocalizedDrive
    tolerance: Tolerance
    scores: Scores
    tracked: TrackedDrive
    image: Callable[[int], NDArray[np.uint8]]
    camera_fov_rad: float


def draw_report(scene: ReportScene, path: Path) -> None:
    """Write the figure as PNG."""
    figure = new_figure(*_FIGURE_INCHES)
    figure.text(0.02, 0.955, scene.title, fontsize=23, weight="bold", color=INK, va="center")
    figure.text(0.02, 0.917, scene.subtitle, fontsize=11.5, color=FAINT, va="center")
    _draw_map(figure.add_axes((0.02, 0.145, 0.445, 0.745)), scene)
    for slot, row in enumerate(choose_queries(scene.drive, scene.tolerance)):
        left, top = 0.485 + 0.255 * (slot % 2), 0.865 - 0.25 * (slot // 2)
        _draw_query(figure, (left, top, 0.24), scene, row)
    figure.text(0.485, 0.127, _CAPTION, fontsize=9.5, color=FAINT, va="bottom")
    _draw_numbers(figure, scene.scores, scene.tracked.score())
    save_figure(figure, path, dpi=130)


def choose_queries(drive: LocalizedDrive, tolerance: Tolerance, count: int = 6) -> list[int]:
    """Pick answered queries to show, evenly spread, in driving order.

    Wrong and correct answers appear in proportion: at least one wrong one if one in `2 * count`
    answers is wrong, and at least one correct one if there is any.
    """
    answered = np.flatnonzero(drive.answered)
    correct = drive.correct(tolerance)[answered, 0]
    wrong_share = 1 - correct.mean() if len(correct) else 0.0
    num_wrong = int(np.ceil(count * wrong_share - 0.5 + 1e-9))
    if wrong_share * 2 * count >= 1:
        num_wrong = max(num_wrong, 1)
    if correct.any():
        num_wrong = min(num_wrong, count - 1)
    chosen = [*_spread(answered[~correct], num_wrong)]
    chosen += _spread(answered[correct], count - len(chosen))
    return sorted(chosen)


def _spread(rows: NDArray[np.integer], count: int) -> list[int]:
    """At most `count` of the rows, evenly spaced."""
    if len(rows) <= count:
        return [int(row) for row in rows]
    at = (np.arange(count) + 0.5) * len(rows) / count
    return [int(rows[int(i)]) for i in at]


# --- the map ---------------------------------------------------------------------------------


def _draw_map(axes: Axes, scene: ReportScene) -> None:
    drive = scene.drive
    truth, answer = drive.T_map_camera[:, :2, 3], drive.candidates[:, 0, :2, 3]
    shown = np.concatenate([truth, scene.place_map.positions[:, :2]])
    centre = (shown.min(axis=0) + shown.max(axis=0)) / 2
    half_size_m = float(np.ptp(shown, axis=0).max() / 2 + _MARGIN_M)
    view = view_from_above(scene.cloud, centre, half_size_m)
    axes.imshow(view.rgb, extent=view.extent_m, interpolation="antialiased")
    correct = drive.correct(scene.tolerance)[:, 0]
    wrong = drive.answered & ~correct
    axes.plot(*truth.T, color="white", linewidth=4.5, solid_joinstyle="round")
    axes.plot(*truth.T, color=TRUTH, linewidth=2.0, solid_joinstyle="round")
    for rows, colour in ((wrong, WRONG), (correct, CORRECT)):
        lines = np.stack([answer[rows], truth[rows]], axis=1)
        axes.add_collection(LineCollection(list(lines), colors=colour, linewidths=0.9, alpha=0.6))
        _draw_poses(axes, drive.candidates[rows, 0], colour, half_size_m)
    _draw_track(axes, scene.tracked)
    axes.set_xlim(view.extent_m[:2])
    axes.set_ylim(view.extent_m[2:])
    _draw_scale_bar(axes, half_size_m)
    _draw_legend(axes, scene, int(correct.sum()), int(wrong.sum()))
    _bare(axes, frame="#d8d6cf")


def _draw_poses(axes: Axes, T_map_camera: NDArray, colour: str, half_size_m: float) -> None:
    """Draw a dot for each pose and a short line along its heading."""
    yaw, at = camera_yaw(T_map_camera), T_map_camera[:, :2, 3]
    tips = at + 0.045 * half_size_m * np.stack([np.cos(yaw), np.sin(yaw)], axis=1)
    headings = list(np.stack([at, tips], axis=1))
    axes.add_collection(LineCollection(headings, colors=colour, linewidths=1.6, zorder=4))
    axes.scatter(
        at[:, 0], at[:, 1], s=30, color=colour, edgecolors="white", linewidths=0.7, zorder=5
    )


def _draw_track(axes: Axes, tracked: TrackedDrive) -> None:
    """Draw the tracked poses as diamonds in the colours of their states."""
    xy = tracked.T_tracked[:, :2, 3]
    axes.plot(*xy.T, color=INK, linewidth=0.8, alpha=0.5, zorder=5.5)
    colours = [STATE_COLOURS[str(name)] for name in tracked.state]
    axes.scatter(xy[:, 0], xy[:, 1], s=34, marker="D", c=colours, edgecolors=INK, linewidths=0.8,
                 zorder=6)  # fmt: skip


def _draw_scale_bar(axes: Axes, half_size_m: float) -> None:
    length_m = next(m for m in (500, 200, 100, 50, 20, 10, 5, 1) if m < 0.6 * half_size_m)
    share = length_m / (2 * half_size_m)
    axes.plot([0.03, 0.03 + share], [0.035] * 2, color=INK, linewidth=3, transform=axes.transAxes)
    axes.text(0.03 + share / 2, 0.045, f"{length_m} m", color=INK, fontsize=10, ha="center",
              va="bottom", transform=axes.transAxes)  # fmt: skip


def _draw_legend(axes: Axes, scene: ReportScene, num_correct: int, num_wrong: int) -> None:
    dot: dict[str, Any] = {"marker": "o", "linestyle": "", "markersize": 7}
    tolerance = f"{scene.tolerance.radius_m:g} m, {scene.tolerance.angle_deg:g}°"
    handles: list[Any] = [
        Line2D([], [], color=TRUTH, linewidth=2.5, label="true path"),
        Line2D([], [], color=CORRECT, label=f"{num_correct} images within {tolerance}", **dot),
        Line2D([], [], color=WRONG, label=f"{num_wrong} images elsewhere", **dot),
    ]
    diamond = {**dot, "marker": "D", "markeredgecolor": INK}
    handles += [
        Line2D([], [], color=colour, label=f"tracked: {name}", **diamond)
        for name, colour in STATE_COLOURS.items()
        if (scene.tracked.state == name).any()
    ]
    style: dict[str, Any] = {"fontsize": 9.5, "framealpha": 0.9, "edgecolor": "none"}
    axes.add_artist(axes.legend(handles=handles, loc="upper left", **style))
    if scene.cloud.label is None:
        return
    present = [i for i in STATIC_IDS if (scene.cloud.label == i).any()]
    swatches = [
        Patch(color=np.array(CLASSES[i].rgb) / 255, label=CLASSES[i].name.replace("_", " "))
        for i in present
    ]
    axes.legend(handles=swatches, loc="lower right", ncols=2, **style)


# --- queries ---------------------------------------------------------------------------------


def _draw_query(
    figure: Figure, corner: tuple[float, float, float], scene: ReportScene, row: int
) -> None:
    """Draw the image above the semantic panorama of the matched place, with the matched view.

    corner: left, top and width of the cell, as fractions of the figure.
    """
    left, top, width = corner
    drive, image = scene.drive, scene.image(scene.drive.frames[row])
    error_m, error_rad = drive.position_errors_m[row, 0], drive.heading_errors_rad[row, 0]
    is_correct = bool(drive.correct(scene.tolerance)[row, 0])
    colour = CORRECT if is_correct else WRONG
    shape = image.shape[0] / image.shape[1] * _FIGURE_INCHES[0] / _FIGURE_INCHES[1]
    height = min(width * shape, 0.14)
    image_axes = figure.add_axes((left, top - height, width, height))
    image_axes.imshow(image, aspect="auto", interpolation="antialiased")
    image_axes.set_title(
        f"frame {drive.frames[row]}: {'correct' if is_correct else 'wrong'}, "
        f"off by {error_m:.1f} m and {np.rad2deg(error_rad):.0f}°",
        fontsize=10.5, color=colour, loc="left", weight="bold", pad=4,
    )  # fmt: skip
    _bare(image_axes, frame=colour)
    strip = figure.add_axes((left, top - height - 0.08, width, 0.065))
    _draw_panorama(strip, scene, row, colour)


def _draw_panorama(axes: Axes, scene: ReportScene, row: int, colour: str) -> None:
    T_map_camera, place_map, grid = (
        scene.drive.candidates[row, 0],
        scene.place_map,
        scene.place_map.grid,
    )
    offsets = place_map.positions[:, :2] - T_map_camera[:2, 3]
    place = int(np.linalg.norm(offsets, axis=1).argmin())
    labels = np.asarray(place_map.panorama_labels[place])
    rgb = np.where((labels == IGNORE)[..., None], np.array(_NO_RETURN, np.uint8), colourise(labels))
    axes.imshow(rgb, aspect="auto", interpolation="nearest", extent=(0, grid.width, 0, 1))
    yaw = float(camera_yaw(T_map_camera))
    window = scene.camera_fov_rad / grid.column_rad
    start = float(grid.columns(wrap_angle(yaw))) - window / 2
    for shift in (-grid.width, 0, grid.width):  # the view may cross the edge
        axes.add_patch(Rectangle((start + shift, 0), window, 1, fill=False, edgecolor="white",
                                 linewidth=4.5))  # fmt: skip
        axes.add_patch(Rectangle((start + shift, 0), window, 1, fill=False, edgecolor=colour,
                                 linewidth=2.5))  # fmt: skip
    true_yaw = float(camera_yaw(scene.drive.T_map_camera[row]))
    axes.plot(float(grid.columns(wrap_angle(true_yaw))), 1.06, marker="v", color=TRUTH,
              markersize=7, clip_on=False)  # fmt: skip
    axes.set_xlim(0, grid.width)
    axes.set_ylim(0, 1)
    _bare(axes, frame="#d8d6cf")


# --- numbers ---------------------------------------------------------------------------------


def _draw_numbers(figure: Figure, scores: Scores, tracked: TrackedScores) -> None:
    tiles = number_tiles(scores) + tracked_tiles(tracked)
    first_tracked = len(number_tiles(scores))
    width = 0.953 / len(tiles)
    for index, (value, caption) in enumerate(tiles):
        axes = figure.add_axes((0.02 + index * width, 0.02, width - 0.008, 0.1))
        axes.add_patch(FancyBboxPatch((0, 0), 1, 1, boxstyle="square,pad=0", facecolor="white",
                                      edgecolor="#e4e2db"))  # fmt: skip
        axes.text(0.5, 0.66, value, ha="center", va="center", fontsize=18, weight="bold",
                  color=CORRECT if index in (0, first_tracked) else INK)  # fmt: skip
        axes.text(0.5, 0.25, textwrap.fill(caption, 17), ha="center", va="center", fontsize=8.5,
                  color=FAINT)  # fmt: skip
        axes.set_axis_off()


def number_tiles(scores: Scores) -> list[tuple[str, str]]:
    """Value and caption of each number, for the figure and the printed table."""
    within = f"{scores.radius_m:g} m, {scores.max_heading_error_deg:g}°"
    return [
        (f"{scores.recall_at_1:.1%}", f"Recall@1 ({within})"),
        (f"{scores.recall_at_5:.1%}", "Recall@5"),
        (f"{scores.chance:.2%}", "chance"),
        (_number(scores.median_position_error_m, ".1f", " m"), "median position error"),
        (_number(scores.median_heading_error_deg, ".1f", "°"), "median heading error"),
        (_latency(scores.latency_ms_p50), "latency, median"),
        (_latency(scores.latency_ms_p95), "latency, 95 %"),
        (f"{scores.num_answered}/{scores.num_queries}", "images answered"),
        (f"{scores.num_places}", "places in the map"),
    ]


def _latency(value_ms: float | None) -> str:
    """In milliseconds, or in seconds where a tile would be too narrow for them."""
    if value_ms is not None and value_ms >= 1000:
        return f"{value_ms / 1000:.1f} s"
    return _number(value_ms, ".0f", " ms")


def tracked_tiles(tracked: TrackedScores) -> list[tuple[str, str]]:
    """Value and caption of each number of the tracked drive."""
    right = tracked.right_when_localized
    return [
        (f"{tracked.localized:.1%}", "tracked: LOCALIZED"),
        ("none" if right is None else f"{right:.1%}", "of these, within 5 m and 15°"),
        (_number(tracked.median_position_error_m, ".2f", " m"), "their median error"),
    ]


def _number(value: float | None, form: str, unit: str) -> str:
    return "none" if value is None else f"{value:{form}}{unit}"


def _bare(axes: Axes, frame: str) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_edgecolor(frame)
        spine.set_linewidth(1.5)
