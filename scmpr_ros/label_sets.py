"""Label sets: what the ids in a point cloud's label field mean.

Known by name, or read from a YAML file that maps a user's own ids to joint classes. A label field
says nothing of its label set, so ids are compared with the one that is assumed: a map whose points
nearly all become void by a wrong guess would look like any other.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml
from numpy.typing import NDArray

from scmpr_ros import semantics
from scmpr_ros.errors import ConfigError, DatasetError, ShapeError
from scmpr_ros.output_classes import LABEL_SETS
from scmpr_ros.semantics import CLASSES, DYNAMIC_IDS, IGNORE, class_id

# ASPRS LAS 1.4 R15, table 17. Ground is no class of streets: as terrain it is ground all the same.
_ASPRS = {
    0: "ignore", 1: "ignore", 2: "terrain", 3: "vegetation", 4: "vegetation", 5: "vegetation",
    6: "building", 7: "ignore", 8: "terrain", 9: "ignore", 10: "ignore", 11: "road", 12: "ignore",
    13: "ignore", 14: "ignore", 15: "pole", 16: "ignore", 17: "road", 18: "ignore", 19: "ignore",
    20: "terrain", 21: "ignore", 22: "ignore",
}  # fmt: skip

_FEWEST_POINTS = 1000
"""A smaller cloud may well show one class alone, or none."""
_MOST_UNKNOWN = 0.05
_LEAST_STATIC = 0.02
_MOST_VOID = 0.5
_MOST_IDS_SHOWN = 6


@dataclass(frozen=True)
class LabelSet:
    """A named mapping from raw label ids to joint classes.

    joint_of: joint id of each known raw id. unlabelled: raw ids of points that nobody labelled.
    """

    name: str
    joint_of: Mapping[int, int]
    unlabelled: frozenset[int] = frozenset({0})
    has_instances: bool = False
    """Whether the upper 16 bits of an id are an instance."""

    def class_ids(self, raw: NDArray) -> NDArray[np.int64]:
        """Raw ids (N,) without instances."""
        ids = np.asarray(raw).astype(np.int64)
        return ids & 0xFFFF if self.has_instances else ids

    def to_joint(self, raw: NDArray) -> NDArray[np.uint8]:
        """Map raw ids (N,) to joint ids; unknown ones become `ignore`."""
        known = np.array(sorted(self.joint_of), np.int64)
        joint = np.array([self.joint_of[i] for i in known.tolist()], np.uint8)
        ids = self.class_ids(raw)
        at = np.minimum(np.searchsorted(known, ids), len(known) - 1)
        return np.where(known[at] == ids, joint[at], IGNORE).astype(np.uint8)

    def are_unlabelled(self, counts: Mapping[int, int]) -> bool:
        """Whether nobody labelled these points: `counts` of points by class id."""
        return sum(counts.values()) >= _FEWEST_POINTS and counts.keys() <= self.unlabelled


def is_own_set(name: str) -> bool:
    """Whether a label set is the user's own, a YAML file."""
    return name.endswith((".yaml", ".yml"))


def open_label_set(name: str) -> LabelSet:
    """Return the label set of this name, or that of a YAML file `id: class` for `name.yaml`.

    Raises ConfigError, naming the known ones, for any other name, and for a file that is missing
    or maps no whole numbers to joint classes.
    """
    if name in _BY_NAME:
        return _BY_NAME[name]
    if is_own_set(name):
        return _read_label_set(Path(name))
    raise ConfigError(
        f"label_set {name!r}: expected auto, none, {', '.join(_BY_NAME)}, or a YAML file that maps "
        "ids to joint classes"
    )


def sets_with(ids: Iterable[int]) -> list[str]:
    """Names of the label sets that know all of these class ids."""
    wanted = set(ids)
    return [name for name, labels in _BY_NAME.items() if wanted <= labels.joint_of.keys()]


def check_label_ids(
    counts: Mapping[int, int], labels: LabelSet, where: str, assumed: bool = False
) -> None:
    """Refuse ids that a label set does not explain.

    counts: number of points of each class id, see `LabelSet.class_ids`. where: the file and field,
    for the message. assumed: whether nobody said that it is this label set. Raises DatasetError if
    many points have unknown ids, if nearly none is of a static class, or, in an assumed label set,
    if most are void.
    """
    total = sum(counts.values())
    if total < _FEWEST_POINTS:
        return
    unknown = sum(n for i, n in counts.items() if i not in labels.joint_of)
    static = _static_points(counts, labels)
    void = sum(n for i, n in counts.items() if labels.joint_of.get(i, IGNORE) == IGNORE)
    if unknown > _MOST_UNKNOWN * total:
        problem = f"{unknown / total:.0%} of the points have ids that {labels.name} does not know"
    elif static < _LEAST_STATIC * total:
        problem = f"{1 - static / total:.0%} of the points are void or can move in {labels.name}"
    elif assumed and void > _MOST_VOID * total:
        problem = f"{void / total:.0%} of the points are void in {labels.name}, which is assumed"
    else:
        return
    found = f"{where} holds the ids {_shares(counts, total)}, but {problem}"
    if labels.name not in _BY_NAME:
        missing = sorted(counts.keys() - labels.joint_of.keys())
        added = f"'{missing[0]}: ignore'" if missing else f"'{min(counts, key=abs)}: road'"
        raise DatasetError(f"{found}: say what they are by lines in that file such as {added}")
    raise DatasetError(
        f"{found}: set label_set to {_fitting(counts)} if they are its ids, to a YAML file that "
        f"maps your ids to classes (lines such as '{min(counts, key=abs)}: road'), or to none to "
        "ignore them"
    )


def check_scan_ids(raw: NDArray, labels: LabelSet) -> None:
    """Raise ShapeError if many of a scan's ids (N,) are unknown: its points would be void.

    Other than a map, a scan may well show nothing that is static.
    """
    ids, counts = np.unique(labels.class_ids(raw), return_counts=True)
    is_unknown = np.array([i not in labels.joint_of for i in ids.tolist()], bool)
    share = counts[is_unknown].sum() / max(1, len(raw))
    if len(raw) >= _FEWEST_POINTS and share > _MOST_UNKNOWN:
        listed = ", ".join(map(str, ids[is_unknown][:_MOST_IDS_SHOWN]))
        raise ShapeError(
            f"{share:.0%} of the points have labels that {labels.name} does not know ({listed})"
        )


def _fitting(counts: Mapping[int, int]) -> str:
    """Names of the label sets by which most points are a map's; of all, if there are none."""
    total = sum(counts.values())
    fitting = [
        labels.name
        for labels in _BY_NAME.values()
        if _static_points(counts, labels) > total / 2 and counts.keys() <= labels.joint_of.keys()
    ]
    return " or ".join(fitting) if fitting else f"that of the ids ({', '.join(_BY_NAME)})"


def _static_points(counts: Mapping[int, int], labels: LabelSet) -> int:
    moves = (IGNORE, *DYNAMIC_IDS)
    return sum(n for i, n in counts.items() if labels.joint_of.get(i, IGNORE) not in moves)


def _shares(counts: Mapping[int, int], total: int) -> str:
    common = sorted(counts, key=lambda i: -counts[i])
    shown = [f"{i} ({counts[i] / total:.0%})" for i in common[:_MOST_IDS_SHOWN]]
    more = len(common) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")


def _read_label_set(path: Path) -> LabelSet:
    try:
        content = yaml.safe_load(path.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError, RecursionError) as error:
        raise ConfigError(f"label_set {path}: cannot read it as YAML: {error}") from None
    if not isinstance(content, dict) or not content:
        raise ConfigError(f"label_set {path}: expected lines such as '1: building'")
    joint_of = {}
    for raw, name in content.items():
        try:
            joint_of[raw] = class_id(name)
        except KeyError as error:
            raise ConfigError(f"label_set {path}: id {raw!r}: {error.args[0]}") from None
        if not isinstance(raw, int) or isinstance(raw, bool) or abs(raw) >= 1 << 62:
            raise ConfigError(f"label_set {path}: {raw!r} is no id: expected a whole number")
    return LabelSet(str(path), joint_of, frozenset())


def _public(name: str) -> LabelSet:
    joint_of = {raw: joint for joint, c in enumerate(CLASSES) for raw in getattr(c, name)}
    return LabelSet(name, joint_of, has_instances=name == "semantickitti")


def _train_ids(name: str) -> dict[int, int]:
    return dict(enumerate(LABEL_SETS[name].tolist()))


_BY_NAME: Mapping[str, LabelSet] = {
    **{name: _public(name) for name in semantics.LABEL_SETS},
    "semantickitti_train": LabelSet(
        "semantickitti_train", _train_ids("semantickitti_train") | {255: IGNORE}
    ),
    "cityscapes_train": LabelSet(
        "cityscapes_train",
        _train_ids("cityscapes_train") | {255: IGNORE, -1: IGNORE},
        frozenset({255, -1}),
    ),
    "asprs": LabelSet(
        "asprs",
        {raw: class_id(name) for raw, name in _ASPRS.items()},
        frozenset({0, 1, 12}),
    ),
}
