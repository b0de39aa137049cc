"""The paper's tables of results worked out by hand."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from scored_drives import SCMPR_RULES, result

from scmpr_ros.cli import evaluate as evaluate_script
from scmpr_ros.errors import DatasetError
from scmpr_ros.evaluation.published import LATENCY_MS
from scmpr_ros.evaluation.result import Result, write_results
from scmpr_ros.evaluation.tables import make_table, pool


def answers(right: int, queries: int) -> str:
    """So many queries, the right ones spread evenly among them."""
    marks = np.floor(np.arange(1, queries + 1) * right / queries)
    return "".join("r" if step else "w" for step in np.diff(marks, prepend=0))


def written(path: Path, content: Any) -> Path:
    path.write_text(json.dumps(content))
    return path


def saved(path: Path, *results: Result) -> Path:
    write_results(results, path)
    return path


def test_drives_count_by_their_queries() -> None:
    pooled = pool([result(answers(30, 60)), result(answers(18, 20), drive="02")])
    assert pooled.recall_at_1 == pytest.approx(48 / 80) and pooled.num_queries == 80
    # Within 5 m lie about three of a drive's places, one of four headings is within 30 deg.
    assert pooled.chance == pytest.approx((3 / 4 * 178 / 60 / 60 + 1 / 4 * 58 / 20 / 20) / 4)


def test_drives_of_one_recording_share_its_streets() -> None:
    """Half of a long road fails, on both drives: the second drive says little more."""
    half = "r" * 30 + "w" * 10 + answers(60, 80) + "w" * 80
    one, again = (result(half, 20.0, drive=drive) for drive in ("01", "02"))
    elsewhere = result(half, 20.0, recording="other town")
    alone, together, independent = (
        np.ptp(pool(results).interval)
        for results in ([one], [one, again], [one, elsewhere])
    )  # fmt: skip
    assert together == pytest.approx(alone, rel=0.05)
    assert independent == pytest.approx(alone / np.sqrt(2), rel=0.15)
    assert np.ptp(one.scores.recall_at_1_interval) == pytest.approx(alone)
    own_frames = [
        replace(r, provenance=replace(r.provenance, own_frame=True)) for r in (one, again)
    ]
    assert np.ptp(pool(own_frames).interval) == pytest.approx(independent)


def test_files_of_one_name_are_named_by_their_folders(tmp_path: Path) -> None:
    files = [tmp_path / folder / "out.json" for folder in ("a", "b")]
    for path in files:
        path.parent.mkdir()
        saved(path, result(answers(3, 6)))
    other = saved(tmp_path / "c.json", result(answers(3, 6)))
    table = make_table("kitti", [*files, other])
    assert [row.name for row in table.rows if not row.published] == ["a", "b", "c"]
    again = tmp_path / "again" / "a"
    again.mkdir(parents=True)
    with pytest.raises(DatasetError, match="two are alike"):
        make_table("kitti", [*files, saved(again / "out.json", result(answers(3, 6)))])


def test_published_values_stand_beside_ours(tmp_path: Path) -> None:
    ours = saved(tmp_path / "nano.json", result(answers(30, 60)), result(answers(18, 20)))
    table = make_table("kitti", [ours])
    assert [row.value for row in table.rows if row.published][-1] == 62.58
    (row,) = [row for row in table.rows if not row.published]
    assert (row.name, row.queries) == ("nano", 80) and "include_self True" in row.notes
    assert row.interval is not None and row.interval[0] < 60 < row.interval[1]
    path = table.write(tmp_path / "out")
    text = path.read_text()
    low, high = row.interval
    assert f"| **nano** | 60.0 | {low:.1f} to {high:.1f} | {row.chance:.1f} | 80 | [1] |" in text
    assert "\n1. protocol scmpr, radius_m 5.0" in text and "poses of poses" in text
    assert json.loads((tmp_path / "out" / "kitti.json").read_text())["rows"][-1]["value"] == 60
    assert Image.open(tmp_path / "out" / "kitti.png").size[0] > 500


def test_conditions_are_subsets_of_drives(tmp_path: Path) -> None:
    drives = [
        result(answers(8, 10)), result(answers(6, 10), condition="overcast/winter"),
        result(answers(4, 20), condition="night/winter"),
    ]  # fmt: skip
    table = make_table("conditions", [saved(tmp_path / "nano.json", *drives)])
    values = {row.name: row.value for row in table.rows}
    assert values["all: nano"] == pytest.approx(45) and values["day: nano"] == pytest.approx(70)
    assert values["night: nano"] == pytest.approx(20)
    assert values["winter: nano"] == pytest.approx((60 + 2 * 20) / 3)
    assert values["night: SCM-PR (arXiv 2509.13474)"] == 43.19 and "fog: nano" not in values


def test_calibration_pools_drives_by_confidence(tmp_path: Path) -> None:
    """Promised: 40 % and 90 %; kept: 20 % of ten answers and 90 % of ten."""
    drives = [result(answers(2, 10), confidence=0.4), result(answers(9, 10), confidence=0.9)]
    table = make_table("calibration", [saved(tmp_path / "nano.json", *drives)])
    low, high = table.rows
    assert low.name == "nano, mean confidence 40.0 %" and low.value == pytest.approx(20)
    assert high.value == pytest.approx(90) and high.queries == 10
    assert "expected calibration error 10.0 %" in low.notes and "optimistic" not in low.notes
    assert "published" not in table.markdown()


def test_calibration_warns_of_towns_that_chose_the_parameters(tmp_path: Path) -> None:
    drives = [result("rw", split="validation"), result("rw", split="test")]
    (row,) = make_table("calibration", [saved(tmp_path / "nano.json", *drives)]).rows
    assert "optimistic: 1 of 2 drives are in train or validation towns" in row.notes
    unknown = saved(tmp_path / "rival.json", result("rw", confidence=np.nan))
    with pytest.raises(DatasetError, match="rival: no answer has a confidence"):
        make_table("calibration", [unknown])


def test_ablation_has_the_mean_of_its_seeds_and_paired_differences(tmp_path: Path) -> None:
    """Drives of 6 km: of every ten images some fail."""

    def runs(*answers: str) -> list[dict[str, Any]]:
        drives = [result(30 * own, 20.0).to_json() for own in answers]
        return [{"seed": seed, "drives": [drive]} for seed, drive in enumerate(drives)]

    full = runs("rrrrrwwwww", "rrrrrrwwww", "rrrrrwwwww")
    rows = {
        "no semantics": runs("rwrwrwwwww", "rwrwrwwwww", "rwrwrwwwww"),
        "+ consistency loss": full,
    }
    table = make_table("ablation", [written(tmp_path / "a.json", {"rows": rows})])
    values = [row.value for row in table.rows]
    assert values == pytest.approx([57.35, 30, 62.58, 160 / 3])
    _, less, _, most = table.rows
    assert (
        "seeds 0, 1, 2 (± 0.0); -23.3 (-" in less.notes and "over + consistency loss" in less.notes
    )
    assert most.notes.startswith("seeds 0, 1, 2 (± 5.8); protocol scmpr, radius_m 5.0")
    assert most.interval is not None and most.interval[0] < 160 / 3 < most.interval[1]
    alone = {"mine": runs("rw"), "other": runs("rr")}
    _, other = make_table("ablation", [written(tmp_path / "b.json", {"rows": alone})]).rows
    assert "seeds 0; +50.0 (" in other.notes and "over mine" in other.notes
    unequal = {"mine": runs("rw"), "other": runs("rr", "rr")}
    with pytest.raises(DatasetError, match="no fair difference"):
        make_table("ablation", [written(tmp_path / "b.json", {"rows": unequal})])


def test_latency_is_of_the_benchmark(tmp_path: Path) -> None:
    stages = {"decode": 1.0, "preprocess": 2.0, "backbone": 10.0, "search": 3.0, "psi": 4.0}
    timing = {
        "network": "nano", "precision": "float32", "total": {"median_ms": 20.0},
        "describe_place": {"median_ms": 25.0},
        "stages": {name: {"median_ms": ms} for name, ms in stages.items()},
    }  # fmt: skip
    path = written(tmp_path / "query.json", {"results": {"timings": [timing]}})
    values = {row.name: row.value for row in make_table("latency", [path]).rows}
    assert values["RGB branch, nano in float32"] == pytest.approx(12)
    assert values["matching, nano in float32"] == pytest.approx(7)
    assert values["total, SCM-PR on an A100"] == LATENCY_MS["total"] == 46.5


def test_what_is_no_result_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(DatasetError, match="at least one result file"):
        make_table("kitti", [])
    with pytest.raises(DatasetError, match=r"none\.json: cannot read results"):
        make_table("kitti", [tmp_path / "none.json"])
    other = written(tmp_path / "other.json", {"results": 3})
    for name in ("kitti", "conditions", "calibration", "ablation", "latency"):
        with pytest.raises(DatasetError, match=r"other\.json"):
            make_table(name, [other])
    stricter = replace(SCMPR_RULES, min_gap_s=10.0)
    mixed = [result("rw"), replace(result("rw"), rules=stricter)]
    with pytest.raises(DatasetError, match="cannot mix results of different rules"):
        make_table("kitti", [saved(tmp_path / "mixed.json", *mixed)])
    assert evaluate_script.main([str(other), "--table", "kitti"]) == 1
    assert "--table needs --out" in capsys.readouterr().err
    assert evaluate_script.main([str(tmp_path), "--table", "latency", "--out", str(tmp_path)]) == 1
    assert "made of result files" in capsys.readouterr().err


def test_the_command_writes_a_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ours = saved(tmp_path / "nano.json", result("rw"))
    out = tmp_path / "tables"
    assert evaluate_script.main([str(ours), "--table", "kitti360", "--out", str(out)]) == 0
    assert (out / "kitti360.md").is_file() and "53.5" in capsys.readouterr().out
