"""Findings about the place map: readable, and made by the checkpoint in use."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from scmpr_ros.errors import CheckpointError, MapFormatError
from scmpr_ros.methods.checkpoint import fingerprint, load_checkpoint
from scmpr_ros.retrieval.place_map import PlaceMap
from scmpr_ros.ros.bringup.findings import Finding, Report

_FEW_PLACES = 10


@dataclass(frozen=True)
class MapExpectation:
    """Which map and checkpoint to check, and who said so.

    directory: None if nobody named a map. announced: text of `place_map`, None if none came.
    """

    directory: Path | None
    checkpoint: Path
    source: str = ""
    announced: str | None = None


def check_map(expected: MapExpectation) -> list[Finding]:
    """Read the map and the weights, and compare their fingerprints."""
    report = Report("map")
    directory, source = expected.directory, expected.source
    if directory is None and expected.announced is not None:
        try:
            directory = Path(json.loads(expected.announced)["directory"])
        except (ValueError, KeyError, TypeError):
            report.error(f"place_map is no JSON with a directory: {expected.announced!r}; is "
                         "another program publishing there?")  # fmt: skip
            return report.findings
        source = "announced by the map loader"
    if directory is None:
        report.error("no map: set the localizer's parameter map, or start the map loader in the "
                     "same namespace")  # fmt: skip
        return report.findings
    _check_files(report, directory, source, expected.checkpoint)
    return report.findings


def _check_files(report: Report, directory: Path, source: str, checkpoint: Path) -> None:
    try:
        place_map = PlaceMap.load(directory)
    except MapFormatError as error:
        report.error(f"{error} ({source})")
        return
    size_m = np.ptp(place_map.positions, axis=0)
    text = (f"{directory} ({source}): {len(place_map)} places on {size_m[0]:.0f} m x "
            f"{size_m[1]:.0f} m")  # fmt: skip
    if len(place_map) < _FEW_PLACES:
        report.warn(f"{text}: few places; was the map built of the whole site?")
    else:
        report.ok(text)
    try:
        network = load_checkpoint(checkpoint)
        place_map.check_made_by(fingerprint(network))
    except (CheckpointError, MapFormatError, OSError) as error:
        report.error(str(error))
        return
    report.ok(f"the map was made by the checkpoint {checkpoint.name}")
