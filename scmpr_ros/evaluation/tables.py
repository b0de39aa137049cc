"""The paper's tables, of results that are kept as JSON: Markdown, JSON and a figure each.

`kitti` and `kitti360` are tables 1 and 2, `ablation` is table 3, `conditions` section 4.5 and
`latency` figure 3 of SCM-PR. Published values stand beside ours, and beside ours the rules by
which they came out.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from scmpr_ros.atomic_files import write_file, write_json
from scmpr_ros.errors import DatasetError
from scmpr_ros.evaluation.figures import FAINT, INK, new_figure, save_figure
from scmpr_ros.evaluation.published import ABLATION, CONDITIONS, LATENCY_MS, RECALL_AT_1

TABLES = ("kitti", "kitti360", "ablation", "conditions", "latency")
PROTOCOL_OF_TABLE = {"kitti": "scmpr", "kitti360": "scmpr", "conditions": "map"}
"""By which protocol recordings are evaluated for a table."""

_Results = Sequence[Mapping[str, Any]]

_SUBSETS: Mapping[str, Callable[[str], bool]] = {
    "all": lambda sky: True,
    "day": lambda sky: sky.startswith(("clear", "overcast")),
    "dusk": lambda sky: sky.startswith("dusk"),
    "night": lambda sky: sky.startswith("night"),
    "fog": lambda sky: sky.startswith("fog"),
    "rain": lambda sky: sky.startswith("rain"),
    "summer": lambda sky: sky.endswith("summer"),
    "autumn": lambda sky: sky.endswith("autumn"),
    "winter": lambda sky: sky.endswith("winter"),
}
"""Which drives of a town belong to a condition, by what `make_town` wrote down, `night/winter`."""


@dataclass(frozen=True)
class Row:
    """One line. value, spread and chance are percent or milliseconds; spread is what the table says
    it is. notes: the rules, and whatever else must stand beside the value."""

    name: str
    value: float
    spread: float | None = None
    chance: float | None = None
    queries: int | None = None
    published: bool = False
    notes: str = ""


@dataclass(frozen=True)
class Table:
    """A table ready to be written. unit: of the values; spread: what the column of that name is."""

    name: str
    title: str
    unit: str
    spread: str
    rows: tuple[Row, ...]

    def write(self, folder: Path) -> Path:
        """Write NAME.md, NAME.json and NAME.png into a folder; returns the Markdown's path."""
        path = folder / f"{self.name}.md"
        write_file(path, self.markdown().encode())
        write_json(folder / f"{self.name}.json", asdict(self))
        self._draw(folder / f"{self.name}.png")
        return path

    def markdown(self) -> str:
        """The table with its title, as Markdown."""
        head = ["", self.unit, self.spread, "chance", "queries", "note"]
        lines = [f"# {self.title}", "", _line(head), _line(["---"] * len(head))]
        notes: list[str] = []
        for row in self.rows:
            name = row.name if row.published else f"**{row.name}**"
            cells = [_number(row.value), _number(row.spread, "± "), _number(row.chance)]
            queries = "" if row.queries is None else f"{row.queries:,}"
            if row.notes and row.notes not in notes:
                notes.append(row.notes)
            note = f"[{notes.index(row.notes) + 1}]" if row.notes else ""
            lines.append(_line([name, *cells, queries, note]))
        lines += ["", "Names in bold were measured here; the others are as published.", ""]
        lines += [f"{number}. {note}" for number, note in enumerate(notes, start=1)]
        return "\n".join(lines) + "\n"

    def _draw(self, path: Path) -> None:
        figure = new_figure(9, 1.3 + 0.36 * len(self.rows))
        axes = figure.subplots()
        for y, row in enumerate(self.rows):
            axes.barh(y, row.value, color="#c9ccd1" if row.published else "#457b9d")
            if row.spread is not None:
                axes.errorbar(row.value, y, xerr=row.spread, color=INK, capsize=2, linewidth=1)
            if row.chance is not None:
                axes.plot([row.chance] * 2, [y - 0.4, y + 0.4], color="#c1121f", linewidth=1.5)
            label = f"{row.value:.1f}"
            axes.text(row.value + (row.spread or 0), y, f"  {label}", va="center", color=INK)
        axes.set_yticks(range(len(self.rows)), [row.name for row in self.rows], color=INK)
        axes.invert_yaxis()
        axes.set_xlim(0, 1.12 * max(row.value + (row.spread or 0) for row in self.rows) + 1)
        marks = f"whiskers: {self.spread}" if any(row.spread for row in self.rows) else ""
        marks += "; red: chance" if any(row.chance is not None for row in self.rows) else ""
        axes.set_xlabel(f"{self.unit}; grey: as published; {marks}".strip("; "), color=FAINT)
        axes.set_title(self.title, loc="left", color=INK, fontsize=11)
        axes.set_facecolor(figure.get_facecolor())
        for side in ("top", "right", "left"):
            axes.spines[side].set_visible(False)
        figure.tight_layout()
        save_figure(figure, path)


def make_table(name: str, files: Iterable[Path]) -> Table:
    """Make a table of result files.

    files: JSON of `evaluate --out` (several are several methods, by their files' names); of
    `ablate`, for `ablation`; of `benchmark query`, for `latency`.

    Raises DatasetError where a file is not what the table is made of.
    """
    makers: Mapping[str, Callable[[Mapping[str, Any]], Table]] = {
        "kitti": lambda found: _recalls("kitti", "KITTI", found),
        "kitti360": lambda found: _recalls("kitti360", "KITTI-360", found),
        "conditions": _conditions,
        "ablation": _ablation,
        "latency": _latency,
    }
    found = {path.stem: _read(path) for path in files}
    if not found:
        raise DatasetError(f"table {name} is made of result files, and none was named")
    try:
        return makers[name](found)
    except (KeyError, TypeError, AttributeError) as error:
        raise DatasetError(
            f"{', '.join(found)}: not what table {name} is made of ({error!r} is missing): "
            "see `evaluate --help`"
        ) from error


def pooled(results: _Results) -> tuple[float, float, float, int]:
    """Recall@1, half of its 95 % interval, chance (percent), and queries, of several drives.

    Drives are independent, so the variances of their means add up by the squares of their shares.
    """
    queries = np.array([result["num_queries"] for result in results], float)
    share = queries / queries.sum()
    recall = np.array([result["recall_at_1"] for result in results])
    interval = np.array([result["recall_at_1_interval"] for result in results])
    half = (interval[:, 1] - interval[:, 0]) / 2
    chance = np.array([result["chance"] for result in results])
    return (
        100 * float(share @ recall), 100 * math.sqrt(float((share**2) @ half**2)),
        100 * float(share @ chance), int(queries.sum()),
    )  # fmt: skip


def _recalls(name: str, data: str, found: Mapping[str, Any]) -> Table:
    rows = [Row(method, value, published=True) for method, value in RECALL_AT_1[name].items()]
    for method, results in found.items():
        rows.append(_row(method, results, _rules(results)))
    return Table(name, f"Recall@1 on {data}", "Recall@1, %", "95 %", tuple(rows))


def _conditions(found: Mapping[str, Any]) -> Table:
    rows = []
    for condition, belongs in _SUBSETS.items():
        rows += [
            Row(f"{condition}: {method}", values[condition], published=True)
            for method, values in CONDITIONS.items()
            if condition in values
        ]
        for method, results in found.items():
            chosen = [result for result in results if belongs(result["condition"])]
            if chosen:
                rows.append(_row(f"{condition}: {method}", chosen, _rules(chosen)))
    return Table("conditions", "Recall@1 by light and season", "Recall@1, %", "95 %", tuple(rows))


def _ablation(found: Mapping[str, Any]) -> Table:
    rows = []
    for content in found.values():
        first, plain = next(iter(content["rows"].items()), ("", []))
        for name, runs in content["rows"].items():
            if name in ABLATION:
                rows.append(Row(f"{name}, KITTI", ABLATION[name], published=True))
            recall = np.array([100 * run["recall_at_1"] for run in runs])
            spread = float(recall.std(ddof=1)) if len(recall) > 1 else None
            notes = f"seeds {', '.join(str(run['seed']) for run in runs)}"
            if runs is not plain:
                notes += _gain(runs, plain, first)
            rows.append(
                Row(name, float(recall.mean()), spread, 100 * runs[0]["chance"],
                    runs[0]["num_queries"], notes=notes)
            )  # fmt: skip
    return Table(
        "ablation", "What each module is worth", "Recall@1, %", "deviation of seeds", tuple(rows)
    )


def _gain(runs: _Results, plain: _Results, name: str) -> str:
    """What a row has over the first one, seed by seed, with its deviation where there are two."""
    before = {run["seed"]: run["recall_at_1"] for run in plain}
    gains = [
        100 * (run["recall_at_1"] - before[run["seed"]]) for run in runs if run["seed"] in before
    ]
    if not gains:
        return ""
    spread = f" ± {np.std(gains, ddof=1):.1f}" if len(gains) > 1 else ""
    return f"; {np.mean(gains):+.1f}{spread} over {name}"


def _latency(found: Mapping[str, Any]) -> Table:
    rows = [Row(f"{part}, SCM-PR on an A100", ms, published=True) for part, ms in
            LATENCY_MS.items()]  # fmt: skip
    for content in found.values():
        for timing in content["results"]["timings"]:
            stages = {name: stage["median_ms"] for name, stage in timing["stages"].items()}
            matching = stages["search"] + stages["psi"]
            branch = sum(stages.values()) - matching - stages["decode"]
            total, place = timing["total"], timing["describe_place"]["median_ms"]
            name = f"{timing['network']} in {timing['precision']}"
            for part, ms in (("RGB branch", branch), ("LiDAR branch", place),
                             ("matching", matching), ("total", total["median_ms"])):  # fmt: skip
                notes = "from the JPEG to the pose; the map is described beforehand"
                notes = notes if part == "total" else ""
                rows.append(Row(f"{part}, {name}", ms, notes=notes))
    return Table("latency", "One query", "median, ms", "", tuple(rows))


def _row(name: str, results: _Results, notes: str) -> Row:
    recall, half, chance, queries = pooled(results)
    return Row(name, recall, half, chance, queries, notes=notes)


def _rules(results: _Results) -> str:
    """By which rules results came out; DatasetError where they are of several."""
    shown = ("protocol", "radius_m", "angle_deg", "include_self", "min_gap_s", "distance_axes")
    rules = {", ".join(f"{name} {result[name]}" for name in shown) for result in results}
    if len(rules) > 1:
        raise DatasetError(f"results by several rules cannot be one row: {'; '.join(rules)}")
    poses = sorted({result["pose_source"] for result in results})
    return f"{rules.pop()}; poses of {', '.join(poses)}"


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise DatasetError(f"{path} holds no results: {error}") from error


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _number(value: float | None, sign: str = "") -> str:
    return "" if value is None else f"{sign}{value:.1f}"
