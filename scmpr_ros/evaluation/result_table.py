"""A table of results: Markdown, JSON and a bar chart."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from scmpr_ros.atomic_files import write_file, write_json
from scmpr_ros.evaluation.figures import FAINT, INK, new_figure, save_figure


@dataclass(frozen=True)
class Row:
    """One line of a table. Numbers are percent or milliseconds.

    interval: 95 %, low and high. chance: value of random answers. notes: the rules, and what else
    qualifies the value.
    """

    name: str
    value: float
    interval: tuple[float, float] | None = None
    chance: float | None = None
    queries: int | None = None
    published: bool = False
    notes: str = ""

    @property
    def whiskers(self) -> tuple[float, float]:
        """Length of both error bars."""
        if self.interval is None:
            return 0.0, 0.0
        return self.value - self.interval[0], self.interval[1] - self.value

    @property
    def range_text(self) -> str:
        """The interval as text; empty without."""
        if self.interval is None:
            return ""
        return f"{self.interval[0]:.1f} to {self.interval[1]:.1f}"


@dataclass(frozen=True)
class Table:
    """A table ready to be written. unit: of the values."""

    name: str
    title: str
    unit: str
    rows: tuple[Row, ...]

    def write(self, folder: Path) -> Path:
        """Write NAME.md, NAME.json and NAME.png into a folder; returns the Markdown file."""
        path = folder / f"{self.name}.md"
        write_file(path, self.markdown().encode())
        write_json(folder / f"{self.name}.json", asdict(self))
        self._draw(folder / f"{self.name}.png")
        return path

    def markdown(self) -> str:
        """The table with its title, as Markdown."""
        head = ["", self.unit, "95 %", "chance", "queries", "note"]
        cells_of_rows = []
        notes: list[str] = []
        for row in self.rows:
            name = row.name if row.published else f"**{row.name}**"
            cells = [_number(row.value), row.range_text, _number(row.chance)]
            queries = "" if row.queries is None else f"{row.queries:,}"
            if row.notes and row.notes not in notes:
                notes.append(row.notes)
            note = f"[{notes.index(row.notes) + 1}]" if row.notes else ""
            cells_of_rows.append([name, *cells, queries, note])
        lines = [f"# {self.title}", "", *markdown_table(head, cells_of_rows)]
        if any(row.published for row in self.rows):
            lines += ["", "Names in bold were measured here; the others are as published."]
        lines.append("")
        lines += [f"{number}. {note}" for number, note in enumerate(notes, start=1)]
        return "\n".join(lines) + "\n"

    def _draw(self, path: Path) -> None:
        figure = new_figure(9, 1.3 + 0.36 * len(self.rows))
        axes = figure.subplots()
        for y, row in enumerate(self.rows):
            axes.barh(y, row.value, color="#c9ccd1" if row.published else "#457b9d")
            if any(row.whiskers):
                bars = [[length] for length in row.whiskers]
                axes.errorbar(row.value, y, xerr=bars, color=INK, capsize=2, linewidth=1)
            if row.chance is not None:
                axes.plot([row.chance] * 2, [y - 0.4, y + 0.4], color="#c1121f", linewidth=1.5)
            right = row.value + row.whiskers[1]
            axes.text(right, y, f"  {row.value:.1f}", va="center", color=INK)
        axes.set_yticks(range(len(self.rows)), [row.name for row in self.rows], color=INK)
        axes.invert_yaxis()
        axes.set_xlim(0, 1.12 * max(row.value + row.whiskers[1] for row in self.rows) + 1)
        marks = {
            "grey: as published": any(row.published for row in self.rows),
            "whiskers: 95 %": any(any(row.whiskers) for row in self.rows),
            "red: chance": any(row.chance is not None for row in self.rows),
        }
        legend = [mark for mark, occurs in marks.items() if occurs]
        axes.set_xlabel("; ".join([self.unit, *legend]), color=FAINT)
        axes.set_title(self.title, loc="left", color=INK, fontsize=11)
        axes.set_facecolor(figure.get_facecolor())
        for side in ("top", "right", "left"):
            axes.spines[side].set_visible(False)
        figure.tight_layout()
        save_figure(figure, path)


def markdown_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Lines of a table in Markdown."""
    return [f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *rows)]


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}"
