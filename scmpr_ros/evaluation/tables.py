"""The paper's tables, made of result files: Markdown, JSON and a figure each.

`kitti` and `kitti360` are tables 1 and 2 of SCM-PR, `ablation` is table 3, `conditions` section 4.5
and `latency` figure 3. Published values stand beside ours, with the rules of ours. `calibration` is
not in the paper: it compares confidence with the share of correct answers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from scmpr_ros.errors import DatasetError
from scmpr_ros.evaluation.confidence import calibration
from scmpr_ros.evaluation.method_scores import MethodScores, Recall
from scmpr_ros.evaluation.published import ABLATION, CONDITIONS, LATENCY_MS, RECALL_AT_1
from scmpr_ros.evaluation.result import Result, common_rules, read_json, read_results
from scmpr_ros.evaluation.result_table import Row, Table

TABLES = ("kitti", "kitti360", "ablation", "conditions", "latency", "calibration")
PROTOCOL_OF_TABLE = {
    "kitti": "scmpr", "kitti360": "scmpr", "conditions": "map", "calibration": "map",
}  # fmt: skip
"""The protocol by which recordings are evaluated for a table."""

_FULL = "+ consistency loss"
"""The row of the full model, with which the others are compared."""
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
    paths = _by_name(files)
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


def _by_name(files: Iterable[Path]) -> dict[str, Path]:
    """Files by the name of their rows: the stem, or that of the folder for equal stems."""
    files = list(files)
    stems = Counter(path.stem for path in files)
    named = {path.stem if stems[path.stem] == 1 else path.absolute().parent.name: path
             for path in files}  # fmt: skip
    if len(named) < len(files):
        shown = ", ".join(map(str, files))
        raise DatasetError(f"rows are named by files or their folders, and two are alike: {shown}")
    return named


class Pooled(NamedTuple):
    """Several drives as one. Shares in [0, 1]; interval: 95 % of the recall."""

    recall_at_1: float
    interval: tuple[float, float]
    chance: float
    num_queries: int


def pool(results: Sequence[Result]) -> Pooled:
    """Recall@1 and chance over all queries of several drives.

    Drives in one frame share its streets, so queries are clustered by place across them; frames are
    independent. See `recall_interval`.
    """
    scores = MethodScores.of([results])
    recall = scores.recall()
    return Pooled(recall.value, recall.interval, scores.chance, len(scores.xy_m))


def _recalls(name: str, data: str, methods: _ByMethod) -> Table:
    rows = [Row(method, value, published=True) for method, value in RECALL_AT_1[name].items()]
    for method, results in methods.items():
        rows.append(_row(method, results))
    return Table(name, f"Recall@1 on {data}", "Recall@1, %", tuple(rows))


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
    return Table("conditions", "Recall@1 by light and season", "Recall@1, %", tuple(rows))


def _calibration(methods: _ByMethod) -> Table:
    rows = []
    for method, results in methods.items():
        scores = MethodScores.of([results])
        correct = scores.rank[0] == 1
        confidence = np.concatenate([
            np.array(result.scores.query_confidence, np.float64) for result in results
        ])  # fmt: skip
        found = calibration(confidence, correct)
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
            inside = (confidence >= group.lowest) & (confidence <= group.highest)
            low, high = scores.recall(1, inside).interval
            rows.append(
                Row(f"{method}, mean confidence {100 * group.mean_confidence:.1f} %",
                    100 * group.right, interval=(100 * low, 100 * high), queries=group.count,
                    notes=notes)
            )  # fmt: skip
    title = "Calibration: correct answers by confidence"
    return Table("calibration", title, "correct, %", tuple(rows))


_OF_RESULTS: Mapping[str, Callable[[_ByMethod], Table]] = {
    "kitti": lambda methods: _recalls("kitti", "KITTI", methods),
    "kitti360": lambda methods: _recalls("kitti360", "KITTI-360", methods),
    "conditions": _conditions,
    "calibration": _calibration,
}


def _ablation(files: Mapping[str, Any]) -> Table:
    rows = []
    for source, content in files.items():
        runs_of = content["rows"]
        scores = {name: _scores_of(runs, source) for name, runs in runs_of.items()}
        base = _FULL if _FULL in scores else next(iter(scores))
        for name, own in scores.items():
            if name in ABLATION:
                rows.append(Row(f"{name}, KITTI", ABLATION[name], published=True))
            recall = own.recall()
            notes = f"seeds {', '.join(str(run['seed']) for run in runs_of[name])}"
            if recall.deviation is not None:
                notes += f" (± {100 * recall.deviation:.1f})"
            if name != base:
                notes += _gain(own.gain_over(scores[base]), base)
            low, high = (100 * bound for bound in recall.interval)
            rows.append(
                Row(name, 100 * recall.value, interval=(low, high), chance=100 * own.chance,
                    queries=len(own.xy_m), notes=f"{notes}; {own.rules.summary()}")
            )  # fmt: skip
    title = "Contribution of each module"
    return Table("ablation", title, "Recall@1, %", tuple(rows))


def _scores_of(runs: Sequence[Mapping[str, Any]], source: str) -> MethodScores:
    """Of the runs of a row in a file of `ablate`, one for each seed."""
    return MethodScores.of([
        [Result.from_json(drive, source) for drive in run["drives"]] for run in runs
    ])  # fmt: skip


def _gain(gain: Recall, base: str) -> str:
    """The difference from the base row as text."""
    low, high = (100 * bound for bound in gain.interval)
    return f"; {100 * gain.value:+.1f} ({low:.1f} to {high:.1f}) over {base}"


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
    return Table("latency", "One query", "median, ms", tuple(rows))


def _row(name: str, results: Sequence[Result]) -> Row:
    pooled = pool(results)
    low, high = (100 * bound for bound in pooled.interval)
    return Row(
        name, 100 * pooled.recall_at_1, interval=(low, high), chance=100 * pooled.chance,
        queries=pooled.num_queries, notes=_rules(results),
    )  # fmt: skip


def _rules(results: Sequence[Result]) -> str:
    """The rules of results as text; raises DatasetError if they differ."""
    poses = sorted({result.provenance.pose_source for result in results})
    return f"{common_rules(results).summary()}; poses of {', '.join(poses)}"
