"""Label sets: public ones by name, a user's own from YAML, and ids that none explains."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from scmpr_ros.errors import ConfigError, DatasetError
from scmpr_ros.label_sets import check_label_ids, open_label_set
from scmpr_ros.semantics import LABEL_SETS, class_id, to_joint


@pytest.mark.parametrize("name", LABEL_SETS)
@pytest.mark.parametrize("dtype", ["i8", "u4", "i4", "u1", "i1"])
def test_public_sets_agree_with_semantics(name: str, dtype: str) -> None:
    raw = np.arange(-128, 300).astype(dtype)
    np.testing.assert_array_equal(open_label_set(name).to_joint(raw), to_joint(raw, name))


def test_train_ids() -> None:
    """SemanticKITTI's 9 is road (40), 13 building (50); Cityscapes' 0 is road, 2 building."""
    expected = [class_id("road"), class_id("building")]
    assert open_label_set("semantickitti_train").to_joint(np.array([9, 13])).tolist() == expected
    assert open_label_set("cityscapes_train").to_joint(np.array([0, 2])).tolist() == expected


def test_instances_are_dropped() -> None:
    assert open_label_set("semantickitti").to_joint(np.array([(5 << 16) + 10])) == class_id("car")


def test_own_ids_from_yaml(tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text("0: road\n7: building\n-3: car\n")
    labels = open_label_set(str(tmp_path / "own.yaml"))
    raw = np.array([7, 0, -3, 8, 10**12])
    expected = [class_id(name) for name in ("building", "road", "car", "ignore", "ignore")]
    assert labels.to_joint(raw).tolist() == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0: street", "id 0: no joint class 'street'; there are ignore, road"),
        ("road: 0", "id 'road': no joint class 0"),
        ("zero: road", "'zero' is no id: expected a whole number"),
        ("true: road", "True is no id"),
        ("[1, 2]", "expected lines such as '1: building'"),
        ("{", "cannot read it as YAML"),
        ("", "expected lines"),
    ],
)
def test_damaged_yaml(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "own.yaml").write_text(text)
    with pytest.raises(ConfigError, match=message):
        open_label_set(str(tmp_path / "own.yaml"))


def test_unknown_name() -> None:
    with pytest.raises(ConfigError, match="label_set 'nuscenes': expected auto, none, cityscapes"):
        open_label_set("nuscenes")


class TestIds:
    @pytest.mark.parametrize(
        ("name", "counts"),
        [("kitti360", {0: 6000, 8: 4000}), ("semantickitti", {1: 6000, 50: 4000})],
    )
    def test_a_set_that_is_assumed_explains_most_points(self, name: str, counts: dict) -> None:
        with pytest.raises(DatasetError, match=f"60% of the points are void in {name}, which is"):
            check_label_ids(counts, open_label_set(name), "m.ply: field label", assumed=True)
        self.check(counts, name)

    def check(self, counts: dict[int, int], name: str = "semantickitti") -> None:
        check_label_ids(counts, open_label_set(name), "m.ply: field label")

    def test_usual_ones_and_a_few_unknown(self) -> None:
        self.check({40: 9000, 50: 800, 0: 150, 777: 50})

    @pytest.mark.parametrize(
        ("counts", "advice"),
        [
            ({0: 6000, 1: 4000}, "cityscapes_train"),
            ({0: 3000, 1: 3000, 2: 2000, 3: 1000, 4: 1000}, "cityscapes_train"),
            ({9: 5000, 13: 3000, 15: 2000}, "semantickitti_train"),
            ({7: 5000, 11: 3000, 21: 2000}, "cityscapes or kitti360"),
            ({24: 6000, 28: 4000}, "that of the ids (cityscapes, semantickitti"),  # nuScenes
            ({-1: 2000, 0: 4000, 1: 3000, 250: 1000}, "that of the ids (cityscapes, semantickitti"),
        ],
    )
    def test_own_ids_are_refused(self, counts: dict[int, int], advice: str) -> None:
        common = max(counts, key=lambda i: counts[i])
        share = counts[common] / sum(counts.values())
        with pytest.raises(
            DatasetError, match=f"m.ply: field label.* {common} .{share:.0%}.*"
        ) as e:
            self.check(counts)
        assert advice in str(e.value)
        assert "a YAML file that maps your ids to classes" in str(e.value)

    def test_own_ids_that_are_not_in_the_file(self, tmp_path: Path) -> None:
        (tmp_path / "own.yaml").write_text("0: road")
        with pytest.raises(DatasetError, match="by lines in that file such as '1: ignore'"):
            self.check({0: 6000, 1: 4000}, str(tmp_path / "own.yaml"))

    def test_a_map_of_cars_alone(self) -> None:
        with pytest.raises(DatasetError, match="100% of the points are void or can move"):
            self.check({10: 10_000})

    def test_small_clouds_are_not_judged(self) -> None:
        self.check({1: 50})
