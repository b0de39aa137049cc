"""What every entry of a suite has: a name, the files that it needs, and numbers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from scmpr_ros.datasets.bags.options import BagReaderConfig
from scmpr_ros.datasets.drive import Drive
from scmpr_ros.errors import ConfigError, DatasetError
from scmpr_ros.evaluation.evaluate import query_drives
from scmpr_ros.evaluation.suite.workbench import Workbench
from scmpr_ros.records import Mount

Numbers = dict[str, Any]
"""Results of an entry by name, as written to JSON."""


class Column(NamedTuple):
    """A column of a kind's table. key: of `Numbers`. form: how a value is formatted."""

    title: str
    key: str
    form: str = "{:.1%}"

    def cell(self, numbers: Mapping[str, Any]) -> str:
        """The value as text; empty without one."""
        value = numbers.get(self.key)
        return "" if value is None else self.form.format(value)


@dataclass(frozen=True)
class Entry(ABC):
    """One measurement. Paths are relative to the suite's data folder, or absolute."""

    title: ClassVar[str]
    """Of the kind's table."""
    rules: ClassVar[str]
    """What the kind's numbers mean."""
    columns: ClassVar[tuple[Column, ...]]

    name: str

    def __post_init__(self) -> None:
        if not self.name:
            raise ConfigError("every entry of a suite needs a name")

    @abstractmethod
    def needs(self, bench: Workbench) -> list[Path]:
        """Files and folders without which the entry is skipped."""

    def missing(self, bench: Workbench) -> str:
        """What the entry lacks; empty if it can be measured."""
        return next((str(path) for path in self.needs(bench) if not path.exists()), "")

    @abstractmethod
    def measure(self, bench: Workbench) -> Numbers:
        """Measure it; raises ScmprError for data that cannot be used."""


@dataclass(frozen=True)
class RecordingEntry(Entry):
    """An entry about the images of a recording and the map of it.

    sequence: the drive that mapped; needed if several have scans. drive: the drive whose images are
    taken; needed if several have some. mount: how the camera is mounted on the vehicle. bag: what a
    bag's messages do not say.
    """

    recording: Path
    sequence: str = ""
    drive: str = ""
    mount: Mount = field(default_factory=Mount)
    bag: BagReaderConfig = field(default_factory=BagReaderConfig)

    def needs(self, bench: Workbench) -> list[Path]:
        """The recording."""
        return [bench.data / self.recording]


def camera_drive(folder: Path, sequence: str, name: str, bag: BagReaderConfig) -> Drive:
    """The drive of a recording whose images are taken; raises DatasetError if it is not one."""
    drives = query_drives(folder, sequence, bag)
    chosen = [drive for drive in drives if name in ("", drive.name)]
    if len(chosen) != 1:
        names = ", ".join(drive.name for drive in drives)
        found = f"no drive {name!r} with images" if name else f"{len(drives)} drives with images"
        raise DatasetError(f"{folder} has {found}: set `drive` to one of {names}")
    return chosen[0]
