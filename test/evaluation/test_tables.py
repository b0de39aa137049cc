"""The paper's tables of results worked out by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from scmpr_ros.cli import evaluate as evaluate_script
from scmpr_ros.errors import DatasetError
from scmpr_ros.evaluation.published import LATENCY_MS
from scmpr_ros.evaluation.tables import make_table, pooled


def result(recall: float, queries: int, condition: str = "clear/summer", **more: Any) -> dict:
    return {
        "recall_at_1": recall, "recall_at_1_interval": [recall - 0.1, recall + 0.1],
        "chance": 0.01, "num_queries": queries, "condition": condition, "protocol": "scmpr",
        "radius_m": 5.0, "angle_deg": 180.0, "include_self": True, "min_gap_s": None,
        "distance_axes": "xy", "pose_source": "poses", **more,
    }  # fmt: skip


def written(path: Path, content: Any) -> Path:
    path.write_text(json.dumps(content))
    return path


def test_drives_count_by_their_queries() -> None:
    recall, half, chance, queries = pooled([result(0.5, 300), result(0.9, 100)])
    assert recall == pytest.approx(60) and chance == pytest.approx(1) and queries == 400
    assert half == pytest.approx(10 * (0.75**2 + 0.25**2) ** 0.5)


def test_published_values_stand_beside_ours(tmp_path: Path) -> None:
    ours = written(tmp_path / "nano.json", [result(0.5, 300), result(0.9, 100)])
    table = make_table("kitti", [ours])
    assert [row.value for row in table.rows if row.published][-1] == 62.58
    (row,) = [row for row in table.rows if not row.published]
    assert (row.name, row.queries) == ("nano", 400) and "include_self True" in row.notes
    path = table.write(tmp_path / "out")
    text = path.read_text()
    assert "| **nano** | 60.0 | ± 7.9 | 1.0 | 400 | [1] |" in text
    assert "\n1. protocol scmpr, radius_m 5.0" in text and "poses of poses" in text
    assert json.loads((tmp_path / "out" / "kitti.json").read_text())["rows"][-1]["value"] == 60
    assert Image.open(tmp_path / "out" / "kitti.png").size[0] > 500


def test_conditions_are_subsets_of_drives(tmp_path: Path) -> None:
    drives = [
        result(0.8, 100), result(0.6, 100, "overcast/winter"), result(0.2, 200, "night/winter")
    ]  # fmt: skip
    table = make_table("conditions", [written(tmp_path / "nano.json", drives)])
    values = {row.name: row.value for row in table.rows}
    assert values["all: nano"] == pytest.approx(45) and values["day: nano"] == pytest.approx(70)
    assert values["night: nano"] == pytest.approx(20)
    assert values["winter: nano"] == pytest.approx((60 + 2 * 20) / 3)
    assert values["night: SCM-PR (arXiv 2509.13474)"] == 43.19 and "fog: nano" not in values


def test_ablation_has_mean_and_spread_of_its_seeds(tmp_path: Path) -> None:
    runs = [{"seed": s, "recall_at_1": r, "chance": 0.01, "num_queries": 9} for s, r in
            ((0, 0.50), (1, 0.54))]  # fmt: skip
    more = [{**run, "recall_at_1": r} for run, r in zip(runs, (0.60, 0.66), strict=True)]
    rows = {"no semantics": runs, "mine": more[:1], "all": more, "other": [{**more[0], "seed": 7}]}
    table = make_table("ablation", [written(tmp_path / "a.json", {"rows": rows})])
    published, ours, single, every, unpaired = table.rows
    assert published.value == 57.35 and ours.value == pytest.approx(52)
    assert ours.spread == pytest.approx(2 * 2**0.5) and ours.notes == "seeds 0, 1"
    assert single.spread is None and single.notes == "seeds 0; +10.0 over no semantics"
    assert every.notes == "seeds 0, 1; +11.0 ± 1.4 over no semantics"
    assert unpaired.notes == "seeds 7"


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
    with pytest.raises(DatasetError, match="none was named"):
        make_table("kitti", [])
    with pytest.raises(DatasetError, match="holds no results"):
        make_table("kitti", [tmp_path / "none.json"])
    other = written(tmp_path / "other.json", {"results": 3})
    for name in ("kitti", "conditions", "ablation", "latency"):
        with pytest.raises(DatasetError, match=f"not what table {name} is made of"):
            make_table(name, [other])
    mixed = [result(0.5, 300), result(0.9, 100, radius_m=20.0)]
    with pytest.raises(DatasetError, match="several rules"):
        make_table("kitti", [written(tmp_path / "mixed.json", mixed)])
    assert evaluate_script.main([str(other), "--table", "kitti"]) == 1
    assert "--table needs --out" in capsys.readouterr().err
    assert evaluate_script.main([str(tmp_path), "--table", "latency", "--out", str(tmp_path)]) == 1
    assert "made of result files" in capsys.readouterr().err


def test_the_command_writes_a_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ours = written(tmp_path / "nano.json", [result(0.5, 300)])
    out = tmp_path / "tables"
    assert evaluate_script.main([str(ours), "--table", "kitti360", "--out", str(out)]) == 0
    assert (out / "kitti360.md").is_file() and "53.5" in capsys.readouterr().out
