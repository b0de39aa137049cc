"""Find the columns of coordinates, intensity and labels by their usual names."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from scmpr_ros.errors import DatasetError
from scmpr_ros.records import INTENSITY_FIELDS

_INTENSITY_NAMES = (*INTENSITY_FIELDS, "reflectivity", "intensities", "remissions")

# What ids a field of this name holds by custom; the first that a file has is taken.
_LABEL_SETS = {
    "label": "semantickitti", "labels": "semantickitti", "semantic": "kitti360",
    "semantics": "kitti360", "semantic_label": "semantickitti",
    "semantic_labels": "semantickitti", "sem_label": "semantickitti",
    "sem_labels": "semantickitti",
    "semantic_id": "kitti360", "classification": "asprs", "class": "asprs", "class_id": "asprs",
    "category": "semantickitti",
}  # fmt: skip

_LIKE_LABELS = re.compile(
    r"(sem|semseg|seg|segmentation|pred|prediction|annotation|class_label|gt)"
    r"|(\w+_)?(label|class|classification|category|semantics?)(_?ids?)?"
)
"""Names of fields that likely hold classes."""


@dataclass(frozen=True)
class CloudFields:
    """Names of a file's columns by what they hold; None for what it lacks.

    label_set: label set that the label's name suggests.
    """

    axes: tuple[str, str, str]
    intensity: str | None
    label: str | None
    label_set: str

    @property
    def names(self) -> tuple[str, ...]:
        """All columns to read."""
        return (*self.axes, *(name for name in (self.intensity, self.label) if name is not None))


def choose_fields(path: Path, fields: Sequence[str]) -> CloudFields:
    """Find the columns by name; upper case and CloudCompare's `scalar_` make no difference.

    Raises DatasetError without x, y and z.
    """
    by_name: dict[str, str] = {}
    for field in fields:
        by_name.setdefault(_plain(field), field)
    by_name |= {axis: axis for axis in "xyz" if axis in fields}
    missing = [axis for axis in "xyz" if axis not in by_name]
    if missing:
        raise DatasetError(
            f"{path} has no field {', '.join(missing)}, only {', '.join(fields) or 'none'}: name "
            "its coordinates x, y and z"
        )
    intensity = next((by_name[name] for name in _INTENSITY_NAMES if name in by_name), None)
    label = next((name for name in _LABEL_SETS if name in by_name), None)
    return CloudFields(
        (by_name["x"], by_name["y"], by_name["z"]),
        intensity,
        None if label is None else by_name[label],
        "" if label is None else _LABEL_SETS[label],
    )


def likely_labels(fields: Sequence[str]) -> list[str]:
    """Fields whose names suggest that they hold classes, but in none of the known ways."""
    return [field for field in fields if _LIKE_LABELS.fullmatch(_plain(field))]


def _plain(field: str) -> str:
    return re.sub(r"\W+", "_", field.lower().removeprefix("scalar_")).strip("_")
