"""The place map that an update starts from: what of it holds on, and what fits to it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from scmpr_ros.errors import DatasetError, MapFormatError
from scmpr_ros.lidar.point_tiles import TileGrid
from scmpr_ros.pipeline.map_points import GatheredPoints
from scmpr_ros.pipeline.map_source import MapSourceConfig
from scmpr_ros.retrieval.place_map.manifest import Manifest, read_manifest


@dataclass(frozen=True)
class MapToUpdate:
    """A place map whose tiles are replaced where a source covers or changes them."""

    directory: Path
    manifest: Manifest

    @classmethod
    def open(cls, directory: Path, fingerprint: str) -> MapToUpdate:
        """Read the map; fingerprint: of the network that describes the tiles.

        Raises MapFormatError if another network made the map, or if it was edited since.
        """
        manifest = read_manifest(directory)
        if manifest.fingerprint != fingerprint:
            raise MapFormatError(
                f"{directory} was made by checkpoint {manifest.fingerprint[:12]}: update it "
                "with the same weights, or build it anew without --update"
            )
        if "tiles" not in manifest.provenance:
            raise MapFormatError(
                f"{directory} does not say how its tiles were made, as after `edit_map`: build it "
                "anew without --update"
            )
        return cls(directory, manifest)

    @property
    def grid(self) -> TileGrid:
        """The tiling."""
        return TileGrid(**self.manifest.provenance["grid"])

    @property
    def digests(self) -> dict[str, str]:
        """What each tile's description depends on, by key; also of tiles without places."""
        return dict(self.manifest.provenance["tiles"])

    @property
    def files(self) -> dict[str, Path]:
        """The files of the tiles with places, by key."""
        return {tile.key: self.directory / tile.file.name for tile in self.manifest.tiles}

    def source_config(self, config: MapSourceConfig) -> MapSourceConfig:
        """How a source is read so that it has the origin of this map."""
        origin = ",".join(repr(value) for value in self.manifest.provenance["origin"])
        return replace(config, cloud=replace(config.cloud, origin=origin))

    def check_fits(self, points: GatheredPoints, source: Path) -> None:
        """Raise DatasetError unless points of a source lie and are labelled as those of the map."""
        before, origin = self.manifest.provenance, points.tiles.origin.tolist()
        if origin != before["origin"]:
            raise DatasetError(
                f"{source} has its origin at {origin}, the map in {self.directory} at "
                f"{before['origin']}: build it as a map of its own, and merge them with "
                "`edit_map merge`"
            )
        georeference = self.manifest.georeference
        if georeference and points.georeference not in ("", georeference):
            raise DatasetError(
                f"{source} has the georeference {points.georeference}, the map in "
                f"{self.directory} {georeference}: project it to that of the map, or, if they are "
                "the same, name the map's with --georeference"
            )
        if points.by_geometry != before["by_geometry"]:
            how = {True: "by geometry", False: "by its labels"}
            raise DatasetError(
                f"{source} is classified {how[points.by_geometry]}, the map in {self.directory} "
                f"{how[before['by_geometry']]}: choose alike with --settings.source.classes.source"
            )
