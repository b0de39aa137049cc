"""The joint classes and the label sets that map to them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml

from scmpr_ros import semantics
from scmpr_ros.semantics import CLASSES, LABEL_SETS, class_id, from_joint, to_joint


def test_every_raw_id_has_one_class() -> None:
    for label_set in LABEL_SETS:
        ids = [raw for joint in CLASSES for raw in getattr(joint, label_set)]
        assert len(ids) == len(set(ids)), label_set


def test_known_labels() -> None:
    assert to_joint(np.array([26, 7, 23, -1]), "cityscapes").tolist() == [
        class_id("car"), class_id("road"), class_id("sky"), 0,
    ]  # fmt: skip
    instance = np.array([(17 << 16) | 252, 71], np.uint32)
    assert to_joint(instance, "semantickitti").tolist() == [class_id("car"), class_id("vegetation")]
    assert to_joint(np.array([37, 34]), "kitti360").tolist() == [
        class_id("pole"), class_id("building"),
    ]  # fmt: skip


def test_unknown_ids_are_ignored() -> None:
    assert to_joint(np.array([70000, 9999, -5]), "kitti360").tolist() == [0, 0, 0]


@pytest.mark.parametrize("label_set", LABEL_SETS)
def test_joint_ids_survive_a_round_trip(label_set: str) -> None:
    known = np.array([i for i, c in enumerate(CLASSES) if getattr(c, label_set)])
    np.testing.assert_array_equal(to_joint(from_joint(known, label_set), label_set), known)


def test_classes_equal_the_published_table(shared_data: Path) -> None:
    table = yaml.safe_load((shared_data / "joint_labels.yaml").read_text())
    assert sorted(table) == list(range(semantics.NUM_CLASSES))
    for number, row in table.items():
        joint = CLASSES[number]
        assert joint.name == row["name"] and joint.role.value == row["role"]
        assert list(joint.cityscapes) == row["cs"]
        assert list(joint.semantickitti) == row["sk"]
        assert list(joint.kitti360) == row["k360"]


def test_colours_are_distinct() -> None:
    assert len({joint.rgb for joint in CLASSES}) == len(CLASSES)
    assert semantics.colourise(np.array([[1]])).tolist() == [[[128, 64, 128]]]
    with pytest.raises(KeyError, match="road"):
        class_id("motorway")
