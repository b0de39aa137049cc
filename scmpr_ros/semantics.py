"""Joint classes of cameras, LiDARs and maps, and conversions from public label sets.

Cityscapes, SemanticKITTI and KITTI-360 labels all map to 14 joint classes and `ignore`, which makes
masks predicted from images comparable to maps. Dynamic classes never enter a map and never count in
psi; only cameras see the sky.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray


class Role(Enum):
    """How a class is used."""

    IGNORE = "ignore"
    STATIC = "static"
    DYNAMIC = "dynamic"
    IMAGE_ONLY = "image_only"


@dataclass(frozen=True)
class JointClass:
    """A joint class: its role, its colour, and the raw ids of each label set that map to it."""

    name: str
    role: Role
    rgb: tuple[int, int, int]
    cityscapes: tuple[int, ...]
    semantickitti: tuple[int, ...]
    kitti360: tuple[int, ...]


_S, _D = Role.STATIC, Role.DYNAMIC
CLASSES: tuple[JointClass, ...] = (
    JointClass("ignore", Role.IGNORE, (0, 0, 0), (0, 1, 2, 3, 4, 5, 6, 10, 15, 16, -1),
               (0, 1, 49, 52, 99), (0, 1, 2, 3, 4, 5, 6, 10, 15, 16, 36, 39, 40, 41, 42, 44, -1)),
    JointClass("road", _S, (128, 64, 128), (7, 9), (40, 44, 60), (7, 9)),
    JointClass("sidewalk", _S, (244, 35, 232), (8,), (48,), (8,)),
    JointClass("building", _S, (70, 70, 70), (11,), (50,), (11, 34)),
    JointClass("barrier", _S, (190, 153, 153), (12, 13, 14), (51,), (12, 13, 14, 35)),
    JointClass("vegetation", _S, (107, 142, 35), (21,), (70, 71), (21,)),
    JointClass("terrain", _S, (152, 251, 152), (22,), (72,), (22,)),
    JointClass("pole", _S, (250, 170, 30), (17, 18), (80,), (17, 18, 37, 38)),
    JointClass("traffic_sign", _S, (220, 220, 0), (19, 20), (81,), (19, 20)),
    JointClass("car", _D, (0, 0, 142), (26,), (10, 252), (26,)),
    JointClass("other_vehicle", _D, (0, 60, 100), (27, 28, 29, 30, 31),
               (13, 16, 18, 20, 256, 257, 258, 259), (27, 28, 29, 30, 31, 43)),
    JointClass("two_wheeler", _D, (119, 11, 32), (32, 33), (11, 15), (32, 33)),
    JointClass("person", _D, (220, 20, 60), (24,), (30, 254), (24,)),
    JointClass("rider", _D, (255, 0, 0), (25,), (31, 32, 253, 255), (25,)),
    JointClass("sky", Role.IMAGE_ONLY, (70, 130, 180), (23,), (), (23,)),
)  # fmt: skip

NUM_CLASSES = len(CLASSES)
IGNORE = 0
PALETTE: NDArray[np.uint8] = np.array([c.rgb for c in CLASSES], dtype=np.uint8)
STATIC_IDS: tuple[int, ...] = tuple(i for i, c in enumerate(CLASSES) if c.role is Role.STATIC)
DYNAMIC_IDS: tuple[int, ...] = tuple(i for i, c in enumerate(CLASSES) if c.role is Role.DYNAMIC)
GROUND_IDS: tuple[int, ...] = tuple(
    i for i, c in enumerate(CLASSES) if c.name in ("road", "sidewalk", "terrain")
)
"""What is driven or walked on; geometry hardly separates these classes."""
IS_DYNAMIC: NDArray[np.bool_] = np.array([c.role is Role.DYNAMIC for c in CLASSES])


def class_id(name: str) -> int:
    """Joint id of a class name; KeyError, with the known names, if unknown."""
    for index, joint in enumerate(CLASSES):
        if joint.name == name:
            return index
    raise KeyError(f"no joint class {name!r}; there are {', '.join(c.name for c in CLASSES)}")


def label_confusion(
    fractions: Mapping[str, Mapping[str, float]] = MappingProxyType({}),
) -> NDArray[np.float32]:
    """Confusion matrix (S, S) of the static classes: rows are true classes, columns labels.

    fractions: by name of the true class, then of the label; a class that is not listed is
        always labelled correctly. Rows are normalised to sum to one.
    """
    names = [CLASSES[index].name for index in STATIC_IDS]
    rows = [[fractions.get(true, {true: 1.0}).get(label, 0.0) for label in names] for true in names]
    table = np.array(rows, np.float32)
    return table / table.sum(1, keepdims=True)


def _lookup_table(label_set: str) -> NDArray[np.uint8]:
    table = np.full(65536, IGNORE, dtype=np.uint8)
    for joint_id, joint in enumerate(CLASSES):
        for raw in getattr(joint, label_set):
            if raw >= 0:
                table[raw] = joint_id
    return table


_TABLES = {name: _lookup_table(name) for name in ("cityscapes", "semantickitti", "kitti360")}
LABEL_SETS: tuple[str, ...] = tuple(_TABLES)


def to_joint(raw: NDArray[np.integer], label_set: str) -> NDArray[np.uint8]:
    """Map raw ids of any shape to joint ids; unknown ids become `ignore`.

    label_set: one of `LABEL_SETS`. SemanticKITTI's upper 16 bits, the instance, are dropped.
    """
    table = _TABLES[label_set]
    raw = np.asarray(raw).astype(np.int64)  # of 8 bits, & 0xFFFF would overflow
    if label_set == "semantickitti":
        raw = raw & 0xFFFF
    known = (raw >= 0) & (raw < len(table))
    return np.where(known, table[np.where(known, raw, 0)], IGNORE).astype(np.uint8)


def from_joint(joint: NDArray[np.integer], label_set: str) -> NDArray[np.int32]:
    """Map joint ids to the first raw id of each class, for writing; 0 if a class has none."""
    first = [next((r for r in getattr(c, label_set) if r >= 0), 0) for c in CLASSES]
    return np.array(first, dtype=np.int32)[np.asarray(joint)]


def colourise(labels: NDArray[np.integer]) -> NDArray[np.uint8]:
    """Return the colours (..., 3), RGB, of joint ids (...)."""
    return PALETTE[np.asarray(labels)]
