"""The file of a suite: entries of each kind, and the folder of their data."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from fnmatch import fnmatchcase
from pathlib import Path

from scmpr_ros.errors import ConfigError
from scmpr_ros.evaluation.suite.entry import Entry
from scmpr_ros.evaluation.suite.masks import MasksEntry
from scmpr_ros.evaluation.suite.off_map import OffMapEntry
from scmpr_ros.evaluation.suite.points import PointsEntry
from scmpr_ros.evaluation.suite.ranks import RanksEntry
from scmpr_ros.evaluation.suite.reading import ReadingEntry
from scmpr_ros.evaluation.suite.recall import RecallEntry


@dataclass(frozen=True)
class SuiteConfig:
    """Entries by kind; each field but the first two is a kind, which its class defines.

    data: folder to which the paths of entries are relative. town: recording of a town, for
    `off_map` entries without a map.
    """

    data: Path = Path()
    town: Path | None = None
    recall: tuple[RecallEntry, ...] = ()
    ranks: tuple[RanksEntry, ...] = ()
    reading: tuple[ReadingEntry, ...] = ()
    masks: tuple[MasksEntry, ...] = ()
    points: tuple[PointsEntry, ...] = ()
    off_map: tuple[OffMapEntry, ...] = ()

    def __post_init__(self) -> None:
        counts = Counter(entry.name for _, entry in self.entries())
        twice = [name for name, count in counts.items() if count > 1]
        if not counts or twice:
            found = f"several entries are called {twice[0]}" if twice else "it has no entries"
            raise ConfigError(f"{found}: a suite needs entries with names of their own")

    def entries(self, patterns: Sequence[str] = ()) -> Iterator[tuple[str, Entry]]:
        """Kind and entry, in the order of the kinds.

        patterns: of names or kinds, such as `0005*` or `reading`; all entries by default.
        """
        for field in fields(self):
            if field.name in ("data", "town"):
                continue
            for entry in getattr(self, field.name):
                names = (entry.name, field.name)
                if not patterns or any(fnmatchcase(n, p) for n in names for p in patterns):
                    yield field.name, entry
