"""Results survive their JSON file, and what is no result is named."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from scored_drives import result

from scmpr_ros.errors import DatasetError
from scmpr_ros.evaluation.result import Result, read_results, write_results


def test_results_come_back_from_their_file(tmp_path: Path) -> None:
    plain = result("rw-r", split="test")
    measured = replace(plain, image_iou={"road": 0.5, "mean": 0.5}, map_iou={"mean": 0.25})
    write_results([plain, measured], tmp_path / "new" / "results.json")
    assert read_results(tmp_path / "new" / "results.json") == [plain, measured]


def test_json_is_flat_with_the_names_that_scripts_read() -> None:
    content = replace(result("rw-r"), image_iou={"road": 0.5, "mean": 0.5}).to_json()
    assert content["recall_at_1"] == 0.5 and content["first_right_rank"] == [1, None, None, 1]
    assert content["protocol"] == "scmpr" and content["drive"] == "01"
    assert content["image_miou"] == 0.5 and content["image_iou"] == {"road": 0.5}
    assert content["map_miou"] is None and "map_iou" not in content
    assert content["query_xy_m"][1] == [5.0, 0.0] and content["query_confidence"][2] is None
    assert content["calibration"]["expected_calibration_error"] == pytest.approx(0.9 - 2 / 3)
    json.dumps(content, allow_nan=False)


def test_what_is_no_result_is_named(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    with pytest.raises(DatasetError, match=r"results\.json: cannot read results"):
        read_results(path)
    for text in ("{", "[]", "3", '{"recall_at_1": 1}', "[3]"):
        path.write_text(text)
        with pytest.raises(DatasetError, match=r"results\.json: "):
            read_results(path)


def test_results_of_an_older_version_must_be_evaluated_again(tmp_path: Path) -> None:
    content = result("rw").to_json()
    del content["query_xy_m"]
    with pytest.raises(DatasetError, match=r"old\.json: 'query_xy_m' is missing.*evaluate again"):
        Result.from_json(content, "old.json")
    content = {**result("rw").to_json(), "recall_at_1": "high"}
    with pytest.raises(DatasetError, match="'recall_at_1' should be float"):
        Result.from_json(content, "old.json")
