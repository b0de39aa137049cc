"""Colours of the package's figures, and how figures are created and saved."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from scmpr_ros.atomic_files import atomic_write

INK, FAINT, PAPER = "#22252a", "#7b8087", "#faf9f5"


def new_figure(width_inches: float, height_inches: float, **settings: Any) -> Figure:
    """Create an empty figure that needs no display; `settings` are passed to matplotlib."""
    figure = Figure((width_inches, height_inches), **{"facecolor": PAPER, **settings})
    FigureCanvasAgg(figure)
    return figure


def save_figure(figure: Figure, path: Path, dpi: int = 110) -> None:
    """Write a figure as PNG."""
    with atomic_write(path) as temporary:
        figure.savefig(temporary, dpi=dpi, facecolor=figure.get_facecolor(), format="png")
