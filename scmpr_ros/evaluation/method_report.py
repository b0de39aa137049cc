"""The report on several methods: the paper's tables 1 and 2 and figures 3 and 4, side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from scmpr_ros.atomic_files import write_file
from scmpr_ros.evaluation.benchmark.queries import STAGES, QueryTiming
from scmpr_ros.evaluation.figures import FAINT, INK, new_figure, save_figure
from scmpr_ros.evaluation.method_scores import MethodScores, Recall, ScoresByTest
from scmpr_ros.evaluation.published import CONDITIONS, LATENCY_MS, RECALL_AT_1
from scmpr_ros.evaluation.result_table import markdown_table
from scmpr_ros.evaluation.tables import SUBSETS

_UNKNOWN = "unknown"
_COLOURS = (
    "#1d3557", "#e76f51", "#2a9d8f", "#e9c46a", "#8d6a9f", "#9a9fa6", "#457b9d", "#bc4749",
    "#a7c957",
)  # fmt: skip


@dataclass(frozen=True)
class MethodCost:
    """What a method costs.

    views, processor_s, wall_s: mean of the seeds' trainings, with all stages they start from.
    parameters: of the network. bytes_per_place: of descriptors in a place map.
    """

    views: float
    processor_s: float
    wall_s: float
    parameters: int
    bytes_per_place: int


def write_report(
    folder: Path, scores: ScoresByTest, costs: Mapping[str, MethodCost],
    timings: Mapping[str, QueryTiming], seeds: Sequence[int], timed: str,
) -> Path:  # fmt: skip
    """Write methods.md, recall.png, conditions.png and latency.png; return the Markdown file.

    timed: in how many places queries were timed, and on what machine.
    Light and season are those of the first test.
    """
    parts = ["# Methods side by side", ""]
    parts.append(f"Seeds {', '.join(map(str, seeds))}.")
    for test, methods in scores.items():
        parts += ["", f"## {test}", "", *_recall_table(methods)]
    parts += ["", "## Cost", "", *_cost_table(costs, timings, timed)]
    parts += ["", "## As published", "", *_published()]
    _draw_recall(scores, folder / "recall.png")
    test, methods = next(iter(scores.items()))
    if len(set(next(iter(methods.values())).condition)) > 1:
        parts += ["", f"## Light and season, {test}", "", *_condition_table(methods)]
        _draw_conditions(methods, folder / "conditions.png")
    if timings:
        _draw_latency(timings, folder / "latency.png")
    path = folder / "methods.md"
    write_file(path, "\n".join([*parts, ""]).encode())
    return path


def _recall_table(methods: Mapping[str, MethodScores]) -> list[str]:
    """Recall of each method, and what the first one is better by."""
    first_name, first = next(iter(methods.items()))
    head = ["", "R@1, %", "95 %", "seeds ±", "R@5", "R@10", "R@1 %", f"{first_name} better by",
            "95 %"]  # fmt: skip
    rows = []
    for name, own in methods.items():
        recall = own.recall()
        more = ["" if k is None else _percent(own.recall(k).value) for k in (5, 10, own.percent)]
        gain = first.gain_over(own) if own is not first else None
        difference = ["", ""] if gain is None else [f"{100 * gain.value:+.1f}", _interval(gain)]
        deviation = "" if recall.deviation is None else f"{100 * recall.deviation:.1f}"
        rows.append(
            [name, _percent(recall.value), _interval(recall), deviation, *more, *difference]
        )
    note = (
        f"{len(first.xy_m)} images, {first.places} places; chance {100 * first.chance:.2f} %; "
        f"{first.rules.summary()}. Intervals: images of one square of 300 m fail together, and "
        "seeds differ, if there are several. Differences are paired; where streets are too short "
        f"for that, they are {_UNKNOWN}."
    )
    return [*markdown_table(head, rows), "", note]


def _condition_table(methods: Mapping[str, MethodScores]) -> list[str]:
    """Recall@1 by light and season, and the paper's on KITTI-360."""
    shown = _conditions(methods)
    head = ["Recall@1, %", *(f"{name} ({chosen.sum()})" for name, chosen in shown.items())]
    rows = [
        [name, *(_with_interval(own.recall(1, chosen)) for chosen in shown.values())]
        for name, own in methods.items()
    ]
    for name, values in CONDITIONS.items():
        cells = [f"{values[x]:.1f}" if x in values else "" for x in shown]
        rows.append([f"*{name}, KITTI-360, published*", *cells])
    return markdown_table(head, rows)


def _conditions(methods: Mapping[str, MethodScores]) -> dict[str, NDArray[np.bool_]]:
    """Which queries (N,) belong to each light and season that occurs."""
    condition = next(iter(methods.values())).condition
    chosen = {
        name: np.array([belongs(own) for own in condition]) for name, belongs in SUBSETS.items()
    }
    return {name: rows for name, rows in chosen.items() if rows.any()}


def _cost_table(
    costs: Mapping[str, MethodCost], timings: Mapping[str, QueryTiming], timed: str
) -> list[str]:
    head = ["", "views seen", "processor, min", "clock, min", "parameters, M", "query, ms",
            "place, ms", "map, KB a place"]  # fmt: skip
    rows = []
    for name, cost in costs.items():
        timing = timings.get(name)
        times = ["", ""]
        if timing is not None:
            times = [f"{timing.total.median_ms:.0f}", f"{timing.describe_place.median_ms:.0f}"]
        rows.append([
            name, f"{cost.views:,.0f}", f"{cost.processor_s / 60:.1f}", f"{cost.wall_s / 60:.1f}",
            f"{cost.parameters / 1e6:.1f}", *times, f"{cost.bytes_per_place / 1000:.1f}",
        ])  # fmt: skip
    note = (
        "Views and minutes include the stages that a method starts from, on the machines that "
        "trained it; the clock counts what else they did. A query is from the JPEG to the pose: "
        f"medians, {timed}."
    )
    return [*markdown_table(head, rows), "", note]


def _published() -> list[str]:
    head = ["Recall@1, %", "KITTI", "KITTI-360"]
    rows = [
        [name, *(f"{RECALL_AT_1[x][name]:.2f}" for x in ("kitti", "kitti360"))]
        for name in RECALL_AT_1["kitti"]
    ]
    total = f"{LATENCY_MS['total']:.1f} ms"
    note = (
        f"Tables 1 and 2 of SCM-PR, whose query takes {total} on an A100: within about 5 m, on "
        "other data and by protocols that are not stated, so that they are no comparison."
    )
    return [*markdown_table(head, rows), "", note]


def _draw_recall(scores: ScoresByTest, path: Path) -> None:
    """Bars of Recall@1 of all methods, a panel for each test."""
    figure = new_figure(9, 0.6 + len(scores) * (0.5 + 0.28 * max(map(len, scores.values()))))
    panels = figure.subplots(len(scores), squeeze=False)[:, 0]
    for axes, (test, methods) in zip(panels, scores.items(), strict=True):
        for y, own in enumerate(methods.values()):
            recall = own.recall()
            low, high = recall.interval
            axes.barh(y, 100 * recall.value, color=_COLOURS[y % len(_COLOURS)])
            bars = [[100 * (recall.value - low)], [100 * (high - recall.value)]]
            axes.errorbar(100 * recall.value, y, xerr=bars, color=INK, capsize=2, linewidth=1)
            axes.text(100 * high, y, f"  {100 * recall.value:.1f}", va="center", color=INK)
        axes.axvline(100 * next(iter(methods.values())).chance, color="#c1121f", linewidth=1.2)
        axes.set_yticks(range(len(methods)), list(methods), color=INK)
        axes.invert_yaxis()
        axes.set_xlim(0, 110)
        _plain(axes, f"{test}: Recall@1, %")
    panels[-1].set_xlabel("whiskers: 95 %; red: chance", color=FAINT)
    figure.tight_layout()
    save_figure(figure, path)


def _draw_conditions(methods: Mapping[str, MethodScores], path: Path) -> None:
    """Figure 4: Recall@1 of all methods by light and season."""
    chosen = _conditions(methods)
    figure = new_figure(10, 3.6)
    axes = figure.subplots()
    width = 0.8 / len(methods)
    for number, (name, own) in enumerate(methods.items()):
        x = np.arange(len(chosen)) + (number - (len(methods) - 1) / 2) * width
        y = [100 * own.recall(1, rows).value for rows in chosen.values()]
        axes.bar(x, y, width, label=name, color=_COLOURS[number % len(_COLOURS)])
    axes.set_xticks(range(len(chosen)), list(chosen), color=INK)
    axes.legend(frameon=False, fontsize=8, ncols=len(methods))
    axes.set_ylim(0, 112)
    _plain(axes, "Recall@1 by light and season, %")
    figure.tight_layout()
    save_figure(figure, path)


def _draw_latency(timings: Mapping[str, QueryTiming], path: Path) -> None:
    """Figure 3: what a query takes, and a place of the map, for each method."""
    figure = new_figure(9, 0.9 + 0.4 * len(timings))
    axes = figure.subplots()
    left = np.zeros(len(timings))
    for number, stage in enumerate(STAGES):
        if all(stage not in timing.stages for timing in timings.values()):
            continue
        ms = [t.stages[stage].median_ms if stage in t.stages else 0.0 for t in timings.values()]
        colour = _COLOURS[number % len(_COLOURS)]
        axes.barh(range(len(timings)), ms, left=left, color=colour, label=stage)
        left += ms
    for y, (timing, right) in enumerate(zip(timings.values(), left, strict=True)):
        axes.text(right, y, f"  {timing.total.median_ms:.0f} ms", va="center", color=INK)
    axes.set_yticks(range(len(timings)), list(timings), color=INK)
    axes.invert_yaxis()
    axes.legend(frameon=False, fontsize=8, loc="lower right")
    axes.set_xlim(0, 1.35 * max(t.total.median_ms for t in timings.values()))
    _plain(axes, "One query, from the JPEG to the pose, ms")
    figure.tight_layout()
    save_figure(figure, path)


def _plain(axes, title: str) -> None:  # type: ignore[no-untyped-def]
    axes.set_title(title, loc="left", color=INK, fontsize=11)
    axes.set_facecolor("none")
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def _percent(share: float) -> str:
    return f"{100 * share:.1f}"


def _interval(recall: Recall) -> str:
    low, high = recall.interval
    return f"{100 * low:.1f} to {100 * high:.1f}" if high - low < 1 else _UNKNOWN


def _with_interval(recall: Recall) -> str:
    low, high = recall.interval
    return f"{100 * recall.value:.1f} ({100 * low:.0f} to {100 * high:.0f})"
