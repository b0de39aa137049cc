"""What the channels and ids that public networks answer are among the joint classes.

Ids are what networks answer: train ids for `cityscapes_train`, `semantickitti_train` and
`mapillary_vistas`, where they count the evaluated classes; for the others the ids of label files.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from scmpr_ros.errors import ConfigError
from scmpr_ros.semantics import CLASSES, IGNORE, class_id, to_joint

_CITYSCAPES_TRAIN = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)
"""Cityscapes' id of each of its train ids, which KITTI-360's networks use as well."""

_SEMANTICKITTI_TRAIN = (
    0, 10, 11, 15, 18, 20, 30, 31, 32, 40, 44, 48, 49, 50, 51, 70, 71, 72, 80, 81,
)  # fmt: skip
"""SemanticKITTI's id of each of its train ids; its networks have these 20 channels."""

_MAPILLARY = (
    ("ignore", "bird"), ("ignore", "ground animal"), ("sidewalk", "curb"), ("barrier", "fence"),
    ("barrier", "guard rail"), ("barrier", "barrier"), ("barrier", "wall"), ("road", "bike lane"),
    ("road", "crosswalk, plain"), ("sidewalk", "curb cut"), ("road", "parking"),
    ("sidewalk", "pedestrian area"), ("ignore", "rail track"), ("road", "road"),
    ("road", "service lane"), ("sidewalk", "sidewalk"), ("ignore", "bridge"),
    ("building", "building"), ("ignore", "tunnel"), ("person", "person"), ("rider", "bicyclist"),
    ("rider", "motorcyclist"), ("rider", "other rider"), ("road", "marking, crosswalk"),
    ("road", "marking, general"), ("ignore", "mountain"), ("terrain", "sand"), ("sky", "sky"),
    ("ignore", "snow"), ("terrain", "terrain"), ("vegetation", "vegetation"), ("ignore", "water"),
    ("ignore", "banner"), ("ignore", "bench"), ("ignore", "bike rack"), ("ignore", "billboard"),
    ("road", "catch basin"), ("ignore", "CCTV camera"), ("ignore", "fire hydrant"),
    ("ignore", "junction box"), ("ignore", "mailbox"), ("road", "manhole"),
    ("ignore", "phone booth"), ("road", "pothole"), ("pole", "street light"), ("pole", "pole"),
    ("traffic_sign", "traffic sign frame"), ("pole", "utility pole"),
    ("traffic_sign", "traffic light"), ("traffic_sign", "traffic sign, back"),
    ("traffic_sign", "traffic sign, front"), ("ignore", "trash can"), ("two_wheeler", "bicycle"),
    ("ignore", "boat"), ("other_vehicle", "bus"), ("car", "car"), ("other_vehicle", "caravan"),
    ("two_wheeler", "motorcycle"), ("other_vehicle", "on rails"),
    ("other_vehicle", "other vehicle"), ("other_vehicle", "trailer"), ("other_vehicle", "truck"),
    ("ignore", "wheeled, slow"), ("ignore", "car mount"), ("ignore", "ego vehicle"),
)  # fmt: skip
"""Joint class and name of the 65 evaluated classes of Mapillary Vistas 1.2, by train id."""

LABEL_SETS: dict[str, NDArray[np.uint8]] = {
    "joint": np.arange(len(CLASSES), dtype=np.uint8),
    "cityscapes_train": to_joint(np.array(_CITYSCAPES_TRAIN), "cityscapes"),
    "cityscapes": to_joint(np.arange(34), "cityscapes"),
    "kitti360": to_joint(np.arange(45), "kitti360"),
    "semantickitti_train": to_joint(np.array(_SEMANTICKITTI_TRAIN), "semantickitti"),
    "semantickitti": to_joint(np.arange(260), "semantickitti"),
    "mapillary_vistas": np.array([class_id(name) for name, _ in _MAPILLARY], np.uint8),
}
"""Joint id of each id, by name of the label set."""


def joint_classes(label_set: str, classes: Sequence[str]) -> NDArray[np.uint8]:
    """Joint id (C,) of each id or channel of a network, by the name of its set or by its classes.

    Raises ConfigError for unknown names.
    """
    if label_set and label_set not in LABEL_SETS:
        raise ConfigError(f"no label_set {label_set!r}; there are {', '.join(LABEL_SETS)}")
    if label_set:
        return LABEL_SETS[label_set]
    try:
        ids = np.array([class_id(name) for name in classes], np.uint8)
    except KeyError as error:
        raise ConfigError(f"classes: {error.args[0]}") from None
    if (ids == IGNORE).all():
        raise ConfigError("classes: all of them are `ignore`")
    return ids
