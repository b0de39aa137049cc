"""The paper's tables, made of result files: Markdown, JSON and a figure each.

`kitti` and `kitti360` are tables 1 and 2 of SCM-PR, `ablation` is table 3, `conditions` section 4.5
and `latency` figure 3. Published values stand beside ours, with the rules of ours. `calibration` is
not in the paper: it compares confidence with the share of correct answers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from scmpr_ros.errors import DatasetError
from scmpr_ros.evaluation.confidence import calibration
from scmpr_ros.evaluation.intervals import recall_interval
from scmpr_ros.evaluation.published import ABLATION, CONDITIONS, LATENCY_MS, RECALL_AT_1
from scmpr_ros.evaluation.result import Result, read_json, read_results
from scmpr_ros.evaluation.result_table import Row, Table

TABLES = ("kitti", "kitti360", "ablation", "conditions", "latency", "calibration")
PROTOCOL_OF_TABLE = {
    "kitti": "scmpr", "kitti360": "scmpr", "conditions": "map", "calibration": "map",
}  # fmt: skip
"""The protocol by which recordings are evaluated for a table."""

_TUNING_SPLITS = ("train", "validation")
_ByMethod = Mapping[str, Sequence[Result]]

SUBSETS: Mapping[str, Callable[[str], bool]] = {
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
"""Whether a drive's condition, such as `night/winter`, belongs to a subset."""


def make_table(name: str, files: Iterable[Path]) -> Table:
    """Make a table of result files.

    files: JSON of `ablate` for `ablation`, of `benchmark query` for `latency`, else of `evaluate
        --out`: one file for each method, which is named as the file is.

    Raises DatasetError if a file is of another kind.
    """
    paths = {path.stem: path for path in files}
    if not paths:
        raise DatasetError(f"table {name} needs at least one result file")
    if name in _OF_RESULTS:
        return _OF_RESULTS[name]({stem: read_results(path) for stem, path in paths.items()})
    content = {stem: read_json(path) for stem, path in paths.items()}
    try:
        return {"ablation": _ablation, "latency": _latency}[name](content)
    except (KeyError, TypeError, AttributeError) as error:
        raise DatasetError(
            f"table {name} cannot be made of {', '.join(map(str, paths.values()))} ({error!r} is "
            "missing): see `evaluate --help`"
        ) from error


class Pooled(NamedTuple):
    """Several drives as one. Shares in [0, 1]; interval: 95 % of the recall."""

    recall_at_1: float
    interval: tuple[float, float]
    chance: float
    num_queries: int


def pool(results: Sequence[Result]) -> Pooled:
    """Recall@1 and chance over all queries of several drives.

    Drives of one recording share its streets, so queries are clustered by place across them;
    recordings are independent. See `recall_interval`.
    """
    queries = _Queries.of(results)
    counts = np.array([result.scores.num_queries for result in results])
    chance = np.array([result.scores.chance for result in results])
    return Pooled(
        float(queries.correct.mean()), queries.interval(), float(counts @ chance / counts.sum()),
        int(counts.sum()),
    )  # fmt: skip


class _Queries(NamedTuple):
    """All N queries of several drives.

    correct: (N,) of first answers. confidence: (N,), NaN if unknown. xy_m: (N, 2).
    recording: (N,) names.
    """

    correct: NDArray[np.bool_]
    confidence: NDArray[np.float64]
    xy_m: NDArray[np.float64]
    recording: NDArray[np.str_]

    @classmethod
    def of(cls, results: Sequence[Result]) -> _Queries:
        scores = [result.scores for result in results]
        names = [result.provenance.recording for result in results]
        return cls(
            np.array([rank == 1 for score in scores for rank in score.first_right_rank]),
            np.array([c for score in scores for c in score.query_confidence], np.float64),
            np.array([xy for score in scores for xy in score.query_xy_m]),
            np.repeat(names, [score.num_queries for score in scores]),
        )

    def interval(self, chosen: NDArray[np.bool_] | slice = slice(None)) -> tuple[float, float]:
        """95 % interval of the share of correct answers among chosen queries."""
        return recall_interval(self.correct[chosen], self.xy_m[chosen], self.recording[chosen])


def _recalls(name: str, data: str, methods: _ByMethod) -> Table:
    rows = [Row(method, value, published=True) for method, value in RECALL_AT_1[name].items()]
    for method, results in methods.items():
        rows.append(_row(method, results))
    return Table(name, f"Recall@1 on {data}", "Recall@1, %", "95 %", tuple(rows))


def _conditions(methods: _ByMethod) -> Table:
    rows = []
    for condition, belongs in SUBSETS.items():
        rows += [
            Row(f"{condition}: {method}", values[condition], published=True)
            for method, values in CONDITIONS.items()
            if condition in values
        ]
        for method, results in methods.items():
            chosen = [result for result in results if belongs(result.provenance.condition)]
            if chosen:
                rows.append(_row(f"{condition}: {method}", chosen))
    return Table("conditions", "Recall@1 by light and season", "Recall@1, %", "95 %", tuple(rows))


def _calibration(methods: _ByMethod) -> Table:
    rows = []
    for method, results in methods.items():
        queries = _Queries.of(results)
        found = calibration(queries.confidence, queries.correct)
        if found is None:
            raise DatasetError(f"{method}: no answer has a confidence")
        error = 100 * found.expected_calibration_error
        notes = f"expected calibration error {error:.1f} %; {_rules(results)}"
        tuned = sum(result.provenance.split in _TUNING_SPLITS for result in results)
        if tuned:
            notes += (
                f"; optimistic: {tuned} of {len(results)} drives are in train or validation towns, "
                "on which the shipped parameters were chosen"
            )
        for group in found.bins:
            inside = (queries.confidence >= group.lowest) & (queries.confidence <= group.highest)
            low, high = queries.interval(inside)
            rows.append(
                Row(f"{method}, mean confidence {100 * group.mean_confidence:.1f} %",
                    100 * group.right, interval=(100 * low, 100 * high), queries=group.count,
                    notes=notes)
            )  # fmt: skip
    title = "Calibration: correct answers by confidence"
    return Table("calibration", title, "correct, %", "95 %", tuple(rows))


_OF_RESULTS: Mapping[str, Callable[[_ByMethod], Table]] = {
    "kitti": lambda methods: _recalls("kitti", "KITTI", methods),
    "kitti360": lambda methods: _recalls("kitti360", "KITTI-360", methods),
    "conditions": _conditions,
    "calibration": _calibration,
}


def _ablation(files: Mapping[str, Any]) -> Table:
    rows = []
    for content in files.values():
        first, base = next(iter(content["rows"].items()), ("", []))
        for name, runs in content["rows"].items():
            if name in ABLATION:
                rows.append(Row(f"{name}, KITTI", ABLATION[name], published=True))
            recall = np.array([100 * run["recall_at_1"] for run in runs])
            spread = float(recall.std(ddof=1)) if len(recall) > 1 else None
            notes = f"seeds {', '.join(str(run['seed']) for run in runs)}"
            if runs is not base:
                notes += _gain(runs, base, first)
            rows.append(
                Row(name, float(recall.mean()), spread, chance=100 * runs[0]["chance"],
                    queries=runs[0]["num_queries"], notes=notes)
            )  # fmt: skip
    title = "Contribution of each module"
    return Table("ablation", title, "Recall@1, %", "deviation of seeds", tuple(rows))


def _gain(runs: Sequence[Mapping[str, Any]], base: Sequence[Mapping[str, Any]], name: str) -> str:
    """Mean gain over the base row for equal seeds, with its deviation if there are several."""
    before = {run["seed"]: run["recall_at_1"] for run in base}
    gains = [
        100 * (run["recall_at_1"] - before[run["seed"]]) for run in runs if run["seed"] in before
    ]
    if not gains:
        return ""
    spread = f" ± {np.std(gains, ddof=1):.1f}" if len(gains) > 1 else ""
    return f"; {np.mean(gains):+.1f}{spread} over {name}"


def _latency(files: Mapping[str, Any]) -> Table:
    rows = [Row(f"{part}, SCM-PR on an A100", ms, published=True) for part, ms in
            LATENCY_MS.items()]  # fmt: skip
    for content in files.values():
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


def _row(name: str, results: Sequence[Result]) -> Row:
    pooled = pool(results)
    low, high = (100 * bound for bound in pooled.interval)
    return Row(
        name, 100 * pooled.recall_at_1, interval=(low, high), chance=100 * pooled.chance,
        queries=pooled.num_queries, notes=_rules(results),
    )  # fmt: skip


def _rules(results: Sequence[Result]) -> str:
    """The rules of results as text; raises DatasetError if they differ."""
    shown = ("protocol", "radius_m", "angle_deg", "include_self", "min_gap_s", "distance_axes")
    rules = {
        ", ".join(f"{name} {getattr(result.rules, name)}" for name in shown) for result in results
    }
    if len(rules) > 1:
        raise DatasetError(f"one row cannot mix results of different rules: {'; '.join(rules)}")
    poses = sorted({result.provenance.pose_source for result in results})
    return f"{rules.pop()}; poses of {', '.join(poses)}"
