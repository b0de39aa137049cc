"""`edit_map`: crop and merge place maps, remove tiles, change the index."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable
from pathlib import Path

from scmpr_ros.cli.console import run_command
from scmpr_ros.errors import ConfigError
from scmpr_ros.retrieval.place_map.manifest import Manifest
from scmpr_ros.retrieval.place_map.operations import (
    box,
    circle,
    crop_place_map,
    merge_place_maps,
    update_place_map,
)

_EXPONENT = re.compile(r"^-(\d+\.?\d*|\.\d+)[eE][-+]?\d+$")


def main(arguments: list[str] | None = None) -> int:
    """Entry point of the console script."""
    given = sys.argv[1:] if arguments is None else arguments
    options = _parser().parse_args([_EXPONENT.sub(_written_out, argument) for argument in given])
    return run_command("edit_map", lambda: _report(options.run(options)))


def _written_out(number: re.Match[str]) -> str:
    """-1e6 as -1000000.0: argparse takes the former for an option."""
    return f"{float(number[0]):f}"


def _report(manifest: Manifest) -> None:
    print(f"{manifest.places} places in {len(manifest.tiles)} tiles, index {manifest.index.spec}")


def _crop(options: argparse.Namespace) -> Manifest:
    if (options.box is None) == (options.circle is None):
        raise ConfigError("give the area by --box or by --circle")
    if options.box is not None:
        inside = box(options.box[:2], options.box[2:])
    else:
        inside = circle(options.circle[:2], options.circle[2])
    return crop_place_map(options.map, options.out, inside, options.index)


def _merge(options: argparse.Namespace) -> Manifest:
    return merge_place_maps(
        options.maps, options.out, options.overlap, options.same_place_m, options.index or "auto"
    )


def _remove(options: argparse.Namespace) -> Manifest:
    keys = [key.strip() for key in options.keys.split(",") if key.strip()]
    if not keys:
        raise ConfigError("--keys names no tile: see the keys in metadata.json")
    return update_place_map(options.map, [], keys, options.index)


def _index(options: argparse.Namespace) -> Manifest:
    return update_place_map(options.map, [], index=options.index)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="edit_map",
        allow_abbrev=False,
        description="Change place maps without their point clouds. Tiles that stay as they are "
        "are linked, not copied, and a map in use keeps working: it is replaced in one step.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(
        name: str, run: Callable[[argparse.Namespace], Manifest], text: str
    ) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=text, description=text, allow_abbrev=False)
        added.set_defaults(run=run)
        if name != "index":
            added.add_argument("--index", help="auto, exact or a FAISS factory string")
        return added

    crop = command("crop", _crop, "Write the part of a map that lies in an area.")
    crop.add_argument("map", type=Path, help="the map")
    crop.add_argument("out", type=Path, help="the new map; may be the same")
    crop.add_argument("--box", type=float, nargs=4, metavar=("X0", "Y0", "X1", "Y1"),
                      help="corners in the map frame, metres")  # fmt: skip
    crop.add_argument("--circle", type=float, nargs=3, metavar=("X", "Y", "RADIUS"),
                      help="centre and radius in the map frame, metres")  # fmt: skip

    merge = command(
        "merge", _merge, "Write one map of several of the same checkpoint and georeference."
    )
    merge.add_argument("out", type=Path, help="the new map")
    merge.add_argument("maps", type=Path, nargs="+", help="the maps")
    merge.add_argument("--overlap", choices=("refuse", "first", "last"), default="refuse",
                       help="whose places to keep where maps overlap (default refuse)")  # fmt: skip
    merge.add_argument("--same_place_m", type=float, default=1.0,
                       help="places closer than this are the same (default: 1)")  # fmt: skip

    remove = command("remove", _remove, "Remove tiles from a map.")
    remove.add_argument("map", type=Path, help="the map")
    remove.add_argument("--keys", required=True, metavar="KEY,KEY",
                        help="keys of the tiles, see metadata.json; write --keys=-00002_+00001 as "
                        "keys may begin with -")  # fmt: skip

    index = command("index", _index, "Compute the index of a map again.")
    index.add_argument("map", type=Path, help="the map")
    index.add_argument("index", help="auto, exact or a FAISS factory string")
    return parser


if __name__ == "__main__":
    sys.exit(main())
