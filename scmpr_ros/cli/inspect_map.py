"""`inspect_map`: what is in a place map, as text and as a page for the browser."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from scmpr_ros.cli.console import run_command
from scmpr_ros.errors import ConfigError
from scmpr_ros.evaluation.map_page import write_map_page
from scmpr_ros.retrieval.place_map import PlaceMap
from scmpr_ros.retrieval.place_map.summary import summary_of


def main(arguments: list[str] | None = None) -> int:
    """Entry point of the console script."""
    options = _parser().parse_args(arguments)
    return run_command("inspect_map", lambda: _inspect(options))


def _inspect(options: argparse.Namespace) -> None:
    if options.places < 2:
        raise ConfigError(f"--places {options.places}: compare at least 2 places")
    page = options.page
    if page is not None and (page.is_dir() or page.suffix.lower() not in (".html", ".htm")):
        # anything else could be a file of a map
        raise ConfigError(f"--page {page}: name a file that ends in .html, as browsers expect")
    place_map = PlaceMap.load(options.map)
    summary = list(summary_of(options.map, place_map))
    width = max(len(name) for name, _ in summary)
    for name, value in summary:
        print(f"{name:{width}}  {value}")
    if page is not None:
        write_map_page(page, str(options.map), place_map, summary, options.places)
        print(f"{page} written")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="inspect_map",
        allow_abbrev=False,
        description="Print what is in a place map: checkpoint, coverage, tiles, sizes, index. With "
        "--page, write one self-contained HTML page: the map from above, places by how distinctive "
        "they are, and what a place shows when it is clicked.",
    )
    parser.add_argument("map", type=Path, help="directory of the place map")
    parser.add_argument("--page", type=Path, metavar="FILE", help="HTML page to write")
    parser.add_argument("--places", type=int, default=400,
                        help="compared and shown, spread over the map (default: 400)")  # fmt: skip
    return parser


if __name__ == "__main__":
    sys.exit(main())
