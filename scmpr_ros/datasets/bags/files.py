"""What bag files are called."""

from __future__ import annotations

import re
from pathlib import Path

METADATA = "metadata.yaml"
SUFFIXES = (".mcap", ".db3", ".bag")
COMPRESSED = (".zstd", ".zst")


def is_bag_file(path: Path) -> bool:
    """Whether a file is a bag by its name."""
    return path.is_file() and _suffix(path) in SUFFIXES


def bag_name(path: Path) -> str:
    """Name of a bag without the endings of its file."""
    name = path.resolve().name
    if path.is_dir():
        return name
    for suffix in (*COMPRESSED, *SUFFIXES):
        name = name.removesuffix(suffix)
    return name


def find_bags(folder: Path) -> dict[str, list[Path]]:
    """Bag files of a folder without metadata, by name of the bag; parts of a split bag together.

    Parts are called NAME_0, NAME_1 and so on, by both `rosbag` and `ros2 bag`.
    """
    bags: dict[str, list[Path]] = {}
    for path in sorted(folder.iterdir(), key=_natural_order):
        if is_bag_file(path):
            bags.setdefault(re.sub(r"_\d{1,4}$", "", bag_name(path)), []).append(path)
    return bags


def _suffix(path: Path) -> str:
    """Suffix of a bag file; that before .zstd if it is compressed."""
    return Path(path.stem).suffix if path.suffix in COMPRESSED else path.suffix


def _natural_order(path: Path) -> list[str | int]:
    """Key that sorts part 2 before part 10."""
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", path.name)]
