"""`verify_map`: read place maps and compare them with their checksums."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from scmpr_ros.cli.console import run_command
from scmpr_ros.errors import MapFormatError
from scmpr_ros.retrieval.place_map import PlaceMap
from scmpr_ros.retrieval.place_map.operations import migrate_place_map
from scmpr_ros.retrieval.place_map.verification import faults_of


def main(arguments: list[str] | None = None) -> int:
    """Entry point of the console script."""
    options = _parser().parse_args(arguments)
    return run_command("verify_map", lambda: _verify(options))


def _verify(options: argparse.Namespace) -> None:
    damaged = 0
    for directory in options.maps:
        faults = faults_of(directory)
        for fault in faults:
            print(f"verify_map: {fault}", file=sys.stderr)
        damaged += bool(faults)
        if not faults:
            migrated = options.migrate and migrate_place_map(directory)
            places = len(PlaceMap.load(directory))
            print(f"{directory}: {places} places, complete and intact"
                  + (", now in the format of today" if migrated else ""))  # fmt: skip
    if damaged:
        raise MapFormatError(f"{damaged} of {len(options.maps)} maps are damaged")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="verify_map",
        allow_abbrev=False,
        description="Read whole place maps: compare every file with its checksum, and check shapes "
        "and values. Lists all that is wrong; the exit code is 1 if a map is damaged.",
    )
    parser.add_argument("maps", type=Path, nargs="+", help="directories of place maps")
    parser.add_argument(
        "--migrate", action="store_true",
        help="write intact maps of an older format in the format of today, in their place",
    )  # fmt: skip
    return parser


if __name__ == "__main__":
    sys.exit(main())
