"""The directory of a place map beside the map itself: where it can be written, when it is reused.

points.ply         the map's static points, thinned, for viewers
"""

from __future__ import annotations

import os
from pathlib import Path

from scmpr_ros.config import to_dict
from scmpr_ros.errors import ConfigError, MapFormatError
from scmpr_ros.pipeline.build_config import MapBuildConfig
from scmpr_ros.pipeline.map_source import input_files
from scmpr_ros.pipeline.source_digest import SourceDigest
from scmpr_ros.retrieval.place_map.manifest import read_manifest
from scmpr_ros.retrieval.place_map.writing import is_map_folder

_PROBE_BYTES = 2**16


def check_writable(directory: Path) -> None:
    """Raise ConfigError if a map cannot be written: call it before a long build."""
    folder = directory.parent
    probe = folder / f".{directory.name}.probe.{os.getpid()}"
    try:
        if not is_map_folder(directory):
            raise ConfigError(f"{directory} exists and is no place map: name another directory")
        folder.mkdir(parents=True, exist_ok=True)
        try:
            with probe.open("wb") as file:
                file.write(bytes(_PROBE_BYTES))
                file.flush()
                os.fsync(file.fileno())
        finally:
            probe.unlink(missing_ok=True)
    except OSError as error:
        raise ConfigError(f"cannot write a place map to {directory}: {error}") from None


def check_reusable(directory: Path, source: Path, config: MapBuildConfig, fingerprint: str) -> None:
    """Raise a ScmprError that says why if building a map again would give another one.

    fingerprint: of the network that would build it.
    """
    manifest, inputs = read_manifest(directory), input_files(source, config.source)
    if manifest.fingerprint != fingerprint:
        raise MapFormatError(
            f"it was made by checkpoint {manifest.fingerprint[:12]}, the network is "
            f"{fingerprint[:12]}"
        )
    made = manifest.provenance
    if "config" not in made:
        raise MapFormatError("it was edited since it was built, or not built from a LiDAR map")
    if made.get("config") != to_dict(config):
        raise ConfigError("the settings have changed")
    if not SourceDigest(**made["source_digest"]).matches(inputs, directory):
        raise ConfigError("the source has changed")
