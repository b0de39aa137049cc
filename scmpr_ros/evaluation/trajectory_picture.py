"""Figure of a tracked drive: tracks on the map, errors and beliefs over time, and reliability."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from numpy.typing import NDArray

from scmpr_ros.evaluation.confidence import calibration
from scmpr_ros.evaluation.figures import FAINT, INK, PAPER, new_figure, save_figure
from scmpr_ros.evaluation.map_view import view_from_above
from scmpr_ros.evaluation.state_colours import STATE_COLOURS
from scmpr_ros.evaluation.trajectory import NEAR, TrackedDrive
from scmpr_ros.pipeline.states import LOCALIZED
from scmpr_ros.records import PointCloud

_TRUE, _SINGLE, _SIGMA, _OFF_MAP = "#1d3557", "#9aa0a8", "#7d5ba6", "#d1352b"
_MARGIN_M = 25.0
_SMALLEST_M = 0.05  # end of the logarithmic axis
_GRID = "#e4e2db"


def draw_trajectory(
    drive: TrackedDrive,
    place_positions: NDArray[np.floating],
    path: Path,
    cloud: PointCloud | None = None,
    title: str = "Tracked drive",
) -> None:
    """Write the figure as PNG.

    place_positions: (P, 3) of the map. cloud: points of the map, as a background.
    """
    figure = new_figure(17.0, 10.0)
    figure.text(0.035, 0.955, title, fontsize=22, weight="bold", color=INK, va="center")
    figure.text(0.035, 0.918, headline(drive), fontsize=11.5, color=FAINT, va="center")
    _draw_map(figure.add_axes((0.035, 0.055, 0.43, 0.81)), drive, place_positions, cloud)
    grid = figure.add_gridspec(
        3, 2, left=0.52, right=0.985, top=0.865, bottom=0.06, hspace=0.34, wspace=0.22,
        height_ratios=(1.25, 0.75, 1.15),
    )  # fmt: skip
    errors = figure.add_subplot(grid[0, :])
    _draw_errors(errors, drive)
    _draw_beliefs(figure.add_subplot(grid[1, :], sharex=errors), drive)
    tracked = drive.near_probability, drive.near(drive.T_tracked)
    single = drive.single_confidence, drive.near(drive.T_single)
    _draw_reliability(figure, grid[2, 0], *tracked, "tracked", STATE_COLOURS[LOCALIZED])
    _draw_reliability(figure, grid[2, 1], *single, "single images", _SINGLE)
    save_figure(figure, path, dpi=110)


def headline(drive: TrackedDrive) -> str:
    """The drive in one line: how often it was localised, and how often rightly."""
    scores = drive.score()
    within = f"within {NEAR.radius_m:g} m and {NEAR.angle_deg:g}°"
    single = f"single images: {scores.single_right:.1%} {within}"
    if scores.right_when_localized is None:
        return f"never LOCALIZED; {single}"
    return (
        f"LOCALIZED at {scores.localized:.1%} of {scores.num_images} images, "
        f"{scores.right_when_localized:.1%} of these {within}, median error "
        f"{scores.median_position_error_m:.2f} m; {single}"
    )


# --- the map ---------------------------------------------------------------------------------


def _draw_map(
    axes: Axes, drive: TrackedDrive, places: NDArray[np.floating], cloud: PointCloud | None
) -> None:
    true, tracked, single = (T[:, :2, 3] for T in (drive.T_true, drive.T_tracked, drive.T_single))
    shown = np.concatenate([true, places[:, :2]])
    centre = (shown.min(axis=0) + shown.max(axis=0)) / 2
    half_size_m = float(np.ptp(shown, axis=0).max() / 2 + _MARGIN_M)
    if cloud is not None:
        view = view_from_above(cloud, centre, half_size_m)
        axes.imshow(view.rgb, extent=view.extent_m, interpolation="antialiased")
    axes.scatter(places[:, 0], places[:, 1], s=4, color="#b4b7bc", linewidths=0, zorder=1.5)
    axes.scatter(
        single[:, 0],
        single[:, 1],
        s=16,
        color=_SINGLE,
        edgecolors="white",
        linewidths=0.4,
        zorder=2,
    )
    axes.plot(*true.T, color="white", linewidth=5, solid_joinstyle="round", zorder=3)
    axes.plot(*true.T, color=_TRUE, linewidth=2.4, solid_joinstyle="round", zorder=3)
    colours = [STATE_COLOURS[str(state)] for state in drive.state]
    lines = LineCollection(
        list(np.stack([tracked, true], axis=1)), colors=colours, linewidths=0.7, alpha=0.6, zorder=4
    )
    axes.add_collection(lines)
    axes.scatter(
        tracked[:, 0], tracked[:, 1], s=20, c=colours, edgecolors="white", linewidths=0.5, zorder=5
    )
    axes.scatter(true[0, 0], true[0, 1], s=90, facecolors="none", edgecolors=_TRUE, linewidths=2,
                 zorder=6)  # fmt: skip
    low, high = centre - half_size_m, centre + half_size_m
    axes.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), aspect="equal", anchor="N")
    _draw_legend(axes, drive)
    _style(axes, "from above, metres; the ring is the start")
    axes.grid(False)


def _draw_legend(axes: Axes, drive: TrackedDrive) -> None:
    dot: dict[str, Any] = {"marker": "o", "linestyle": "", "markersize": 6}
    handles: list[Any] = [Line2D([], [], color=_TRUE, linewidth=2.4, label="true path")]
    handles += [
        Line2D([], [], color=colour, label=f"tracked, {state}", **dot)
        for state, colour in STATE_COLOURS.items()
        if (drive.state == state).any()
    ]
    handles.append(Line2D([], [], color=_SINGLE, label="single images", **dot))
    axes.legend(handles=handles, loc="upper left", fontsize=9.5, framealpha=0.9, edgecolor="none")


# --- over time -------------------------------------------------------------------------------


def _draw_errors(axes: Axes, drive: TrackedDrive) -> None:
    """Position errors on a logarithmic axis, with three sigma; the states are the background."""
    time_s = drive.stamps_s - drive.stamps_s[0]
    _draw_states(axes, drive)
    single_m, tracked_m = (
        drive.position_errors_m(T).clip(_SMALLEST_M) for T in (drive.T_single, drive.T_tracked)
    )
    variances = np.linalg.eigvalsh(drive.covariance[:, :2, :2])[:, -1].clip(0)
    three_sigma_m = 3 * np.sqrt(variances)
    axes.plot(time_s, single_m, ".", color=_SINGLE, markersize=5, label="single images")
    axes.plot(time_s, three_sigma_m, color=_SIGMA, linewidth=1.3, linestyle=(0, (4, 2)),
              label="3 σ of the tracked pose")  # fmt: skip
    axes.plot(time_s, tracked_m, color=INK, linewidth=1.8, label="tracked")
    axes.axhline(NEAR.radius_m, color=FAINT, linewidth=0.8)
    axes.set_yscale("log")
    highest_m = max(10.0, single_m.max(), tracked_m.max(), three_sigma_m.max())
    axes.set(ylim=(_SMALLEST_M, 1.5 * highest_m), xlim=_time_limits(time_s))
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    handles, _ = axes.get_legend_handles_labels()
    handles += [Patch(color=c, alpha=0.25, label=name) for name, c in STATE_COLOURS.items()
                if (drive.state == name).any()]  # fmt: skip
    axes.legend(handles=handles, loc="upper right", fontsize=9, ncols=3, framealpha=0.9,
                edgecolor="none")  # fmt: skip
    _style(axes, f"position error, m (line: {NEAR.radius_m:g} m)")


def _draw_beliefs(axes: Axes, drive: TrackedDrive) -> None:
    time_s = drive.stamps_s - drive.stamps_s[0]
    _draw_states(axes, drive)
    axes.plot(time_s, drive.single_confidence, ".", color=_SINGLE, markersize=5,
              label="confidence of single images")  # fmt: skip
    axes.plot(time_s, drive.near_probability, color=INK, linewidth=1.8,
              label=f"within {NEAR.radius_m:g} m and {NEAR.angle_deg:g}°")  # fmt: skip
    axes.plot(time_s, drive.off_map_probability, color=_OFF_MAP, linewidth=1.3, label="off the map")
    axes.set(ylim=(-0.03, 1.05), xlabel="time, s")
    axes.xaxis.label.set(fontsize=9, color=FAINT)
    axes.legend(loc="center right", fontsize=9, framealpha=0.9, edgecolor="none")
    _style(axes, "probability")


def _draw_states(axes: Axes, drive: TrackedDrive) -> None:
    """Colour the background from each change of state to the next."""
    time_s = drive.stamps_s - drive.stamps_s[0]
    starts = np.flatnonzero(np.append(True, drive.state[1:] != drive.state[:-1]))
    ends = [*time_s[starts[1:]], _time_limits(time_s)[1]]
    for start, end_s in zip(starts, ends, strict=True):
        colour = STATE_COLOURS[str(drive.state[start])]
        axes.axvspan(time_s[start], end_s, color=colour, alpha=0.16, linewidth=0)


def _time_limits(time_s: NDArray[np.floating]) -> tuple[float, float]:
    return 0.0, max(float(time_s[-1]), 1e-3)


# --- reliability -----------------------------------------------------------------------------


def _draw_reliability(
    figure: Figure, slot: Any, confidence: NDArray[np.floating], right: NDArray[np.bool_],
    name: str, colour: str,
) -> None:  # fmt: skip
    """Share of right answers over what was promised, with the numbers of answers below."""
    inner = slot.subgridspec(2, 1, height_ratios=(3, 1), hspace=0.08)
    axes = figure.add_subplot(inner[0])
    counts = figure.add_subplot(inner[1], sharex=axes)
    measured = calibration(confidence, right)
    axes.plot([0, 1], [0, 1], color=FAINT, linewidth=1, linestyle=(0, (3, 3)))
    if measured is not None:
        promised = [each.mean_confidence for each in measured.bins]
        axes.plot(promised, [each.right for each in measured.bins], "o-", color=colour,
                  markersize=7, linewidth=1.8, markeredgecolor="white")  # fmt: skip
    counts.hist(confidence[np.isfinite(confidence)], bins=20, range=(0, 1), color=colour)
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.03, 1.05))
    axes.tick_params(labelbottom=False)
    counts.set_xlabel("promised probability", fontsize=9, color=FAINT)
    error = "" if measured is None else f", ECE {measured.expected_calibration_error:.2f}"
    _style(axes, f"{name}: share that is right{error}")
    _style(counts, "")
    counts.set_ylabel("images", fontsize=8.5, color=FAINT)


def _style(axes: Axes, title: str) -> None:
    axes.set_title(title, loc="left", fontsize=11, color=INK)
    axes.set_facecolor(PAPER)
    axes.set_axisbelow(True)
    axes.grid(color=_GRID, linewidth=0.7)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color("#c8c6bf")
    axes.tick_params(labelsize=8.5, colors=FAINT)
