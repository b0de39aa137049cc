"""Build the place map of a LiDAR map of any size: from files to a directory, tile by tile.

Points are streamed into tiles on disk, and each tile is labelled and described by itself
(`tile_tasks`), here or on the workers of a Dask cluster. Neither how many workers there are nor an
interruption changes the result. The one tile of a small map is computed by all cores, and their
number may change the last digit of a descriptor.
"""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import shutil
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray

from scmpr_ros.config import to_dict
from scmpr_ros.errors import ConfigError, DatasetError
from scmpr_ros.lidar.place_checks import check_trajectory_on_map, heights_above_ground
from scmpr_ros.lidar.places import (
    Places,
    check_grid_places,
    has_borders_only,
    trajectory_places,
    warn_of_borders,
    with_borders,
)
from scmpr_ros.lidar.point_tiles import Box, PointTiles, Tile, TileGrid
from scmpr_ros.lidar.segmentation import point_confusion
from scmpr_ros.methods.checkpoint import fingerprint, load_checkpoint
from scmpr_ros.methods.network import PlaceNetwork
from scmpr_ros.pipeline.build_config import MapBuildConfig
from scmpr_ros.pipeline.build_folder import (
    allow_borders,
    are_borders_allowed,
    build_folder,
    gathered,
    set_gathered,
)
from scmpr_ros.pipeline.map_builder import map_header
from scmpr_ros.pipeline.map_directory import check_writable
from scmpr_ros.pipeline.map_points import GatheredPoints, gather_points
from scmpr_ros.pipeline.map_source import (
    MapSource,
    MapSourceConfig,
    check_trajectory,
    find_positions,
    input_files,
    open_map_source,
)
from scmpr_ros.pipeline.map_to_update import MapToUpdate
from scmpr_ros.pipeline.source_digest import SourceDigest
from scmpr_ros.pipeline.task_runner import Progress, local_workers, task_runner
from scmpr_ros.pipeline.tile_tasks import (
    LABELLED,
    RAW,
    TileSummary,
    TileTask,
    describe_tile,
    label_tile,
    needed_around_m,
    release,
)
from scmpr_ros.pipeline.viewer_points import keep_viewer_points
from scmpr_ros.retrieval.place_map.manifest import Manifest
from scmpr_ros.retrieval.place_map.writing import write_place_map
from scmpr_ros.semantics import label_confusion

_log = logging.getLogger(__name__)

_WHOLE_UP_TO_M = 2000.0  # grids of the ground grow with the area
_ROUND_M = 100.0
_PROBES, _PROBE_M = 50, 15.0  # places of a trajectory that are compared with the ground
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_VERSION = 1  # of the tasks: with another one, unchanged points are described anew


@dataclass(frozen=True)
class BuildRequest:
    """A place map to be built.

    source: LiDAR map or recording. directory: of the place map. checkpoint: weights of the network.
    update: keep the tiles of the existing map that the source does not cover or change.
    """

    source: Path
    directory: Path
    checkpoint: Path
    config: MapBuildConfig
    update: bool = False


@dataclass(frozen=True)
class BuildReport:
    """What was built. kept: tiles of the existing map that were left as they are."""

    manifest: Manifest
    points: int
    kept: int
    dropped: Counter[str]


def build_place_map(
    request: BuildRequest, scheduler: str = "", workers: int = 0, progress: Progress | None = None
) -> BuildReport:
    """Build or update a place map.

    scheduler: address of a Dask scheduler whose workers see the same folders; empty for this
        machine. workers: local processes; 0 for as many as suit. Neither changes the result.

    Raises DatasetError for a source that cannot be used, ConfigError if another process builds the
    same map or if Dask is missing.
    """
    source, config = Path(request.source), request.config
    if not source.exists():
        raise DatasetError(f"no LiDAR map {source}: check the path")
    check_trajectory(config.source)
    check_writable(request.directory)
    network = load_checkpoint(request.checkpoint)
    digest = SourceDigest.of(input_files(source, config.source), request.directory)
    # Not of the index: one that does not suit is found at the end, and must not cost the tiles.
    described = to_dict(replace(config, builder=replace(config.builder, index="")))
    plan = _digest(_VERSION, digest.listing, described, fingerprint(network), request.update)
    origin = open_map_source(source, config.source)
    try:
        with build_folder(request.directory, plan) as folder:
            build = _Build(request, network, plan, folder, origin)
            return build.run(digest, scheduler, workers, progress)
    except OSError as error:
        advice = "; make room there" if error.errno in _NO_SPACE else ""
        raise ConfigError(
            f"cannot build the place map {request.directory}: {error}{advice}"
        ) from None
    finally:
        release()


class _Build:
    """One build in its folder."""

    def __init__(
        self, request: BuildRequest, network: PlaceNetwork, plan: str, folder: Path,
        origin: MapSource,
    ) -> None:  # fmt: skip
        self.request, self.network, self.plan, self.folder = request, network, plan, folder
        self.config = request.config
        self.existing = (
            MapToUpdate.open(request.directory, fingerprint(network)) if request.update else None
        )
        self.gathered = _gather(origin, self._source_config(), folder)
        self.points = self.gathered.tiles
        if self.existing is not None:
            self.existing.check_fits(self.gathered, request.source)
        self.checksums = {tile: self.points.digest(tile) for tile in self.points.tiles}
        self.grid = self._grid()
        self.along = self._places_along(find_positions(request.source, origin, self.config.source))

    def _source_config(self) -> MapSourceConfig:
        source = self.config.source
        return source if self.existing is None else self.existing.source_config(source)

    def run(
        self, source: SourceDigest, scheduler: str, workers: int, progress: Progress | None
    ) -> BuildReport:
        """Describe the tiles that have changed, and write the map."""
        tasks = self._tasks()
        digests = {task.tile.key: self._tile_digest(task) for task in tasks}
        before = {} if self.existing is None else self.existing.digests
        changed = [task for task in tasks if digests[task.tile.key] != before.get(task.tile.key)]
        pending = [task for task in changed if not task.summary_file.is_file()]
        is_whole = self.existing is None and len(tasks) == 1
        count = 1 if is_whole else workers or local_workers(len(pending))
        with task_runner(scheduler, count, not is_whole, progress) as runner:
            runner.run(label_tile, self._unlabelled(pending), "labelling points")
            self._finish_labels()
            runner.run(describe_tile, pending, "describing places")
            if self._has_borders_only(changed):
                allow_borders(self.folder)
                changed = [self._task(task.tile) for task in changed]
                runner.run(describe_tile, changed, "describing places")
        return self._write(source, changed, digests, before)

    def _has_borders_only(self, changed: Sequence[TileTask]) -> bool:
        """Whether this new map would have no places but those at its border; warn if so."""
        if self.existing is not None or are_borders_allowed(self.folder):
            return False
        summaries = [task.summary() for task in changed]
        dropped = _all_dropped(summaries)
        only = has_borders_only(sum(summary.places for summary in summaries), dropped)
        if only:
            warn_of_borders(dropped)
        return only

    def _grid(self) -> TileGrid:
        """The tiles of the map: one that holds everything, if it is small."""
        if self.existing is not None:
            return self.existing.grid
        tile_m, bounds = self.config.builder.tile_m, self.points.bounds
        extent_m = max(bounds.high[axis] - bounds.low[axis] for axis in (0, 1))
        is_small = self.points.num_points() <= self.config.builder.whole_up_to_points
        if not is_small or extent_m > _WHOLE_UP_TO_M:
            return TileGrid(tile_m)
        x, y = (float(np.floor(low / _ROUND_M) * _ROUND_M) for low in bounds.low)
        return TileGrid(float(np.ceil(extent_m / _ROUND_M) + 1) * _ROUND_M, (x, y))

    def _places_along(
        self, trajectory: NDArray[np.float64] | None
    ) -> dict[Tile, NDArray[np.float64]] | None:
        """Places along the trajectory by tile; None without one."""
        if trajectory is None:
            return None
        trajectory = trajectory - self.points.origin
        places = trajectory_places(trajectory, self.config.builder.places.spacing_m)
        probes = places[:: max(1, len(places) // _PROBES)]
        heights_m = [
            heights_above_ground(self.points.points_in(Box.around(p).grown(_PROBE_M)).xyz, p)[0]
            for p in probes[:, None]
        ]
        low, high = self.points.bounds
        bounds = np.array([[*low, 0.0], [*high, 0.0]]) + self.points.origin
        check_trajectory_on_map(probes + self.points.origin, np.array(heights_m), bounds)
        return _by_tile(places, self.grid)

    def _tasks(self) -> list[TileTask]:
        """All tiles that may have places."""
        tiles = {
            tile
            for stored in self.points.tiles
            for tile in self.grid.tiles_of(self.points.grid.box(stored))
        }
        if self.along is not None:
            tiles &= self.along.keys()
        return [self._task(tile) for tile in sorted(tiles)]

    def _task(self, tile: Tile) -> TileTask:
        places = None if self.along is None else self.along.get(tile, np.empty((0, 3)))
        builder = self.config.builder
        if are_borders_allowed(self.folder):
            builder = replace(builder, places=with_borders(builder.places))
        return TileTask(
            self.folder, self.plan, tile, self.grid, self.request.checkpoint,
            self.request.source, self.config.source, builder,
            self.gathered.carve, self.gathered.by_geometry, places,
        )  # fmt: skip

    def _unlabelled(self, pending: Sequence[TileTask]) -> list[TileTask]:
        """The tiles that pending ones see, as far as they are not labelled."""
        reach_m = needed_around_m(self.network)
        seen = {
            tile
            for task in pending
            for tile in self.grid.tiles_of(self.grid.box(task.tile).grown(reach_m))
        }
        done = {path.stem for path in (self.folder / LABELLED).glob("*.points")}
        missing = (tile for tile in sorted(seen) if tile.key not in done)
        return [self._task(tile) for tile in missing if self._has_points(self.grid.box(tile))]

    def _has_points(self, box: Box) -> bool:
        return any(tile in self.checksums for tile in self.points.grid.tiles_of(box))

    def _finish_labels(self) -> None:
        """Declare the labelled tiles complete."""
        like = self.points.points_of(self.points.tiles[0]).select(np.empty(0, np.int64))
        labelled = type(like)(like.xyz, np.empty(0, np.uint8), like.intensity, like.origin)
        (self.folder / LABELLED).mkdir(exist_ok=True)
        PointTiles.finish(self.folder / LABELLED, self.grid, labelled)

    def _tile_digest(self, task: TileTask) -> str:
        """Digest of all that a tile's description depends on."""
        area = self.grid.box(task.tile).grown(needed_around_m(self.network))
        stored = [tile for tile in self.points.grid.tiles_of(area) if tile in self.checksums]
        points = [(tile.key, self.checksums[tile].hex()) for tile in stored]
        places = b"" if task.places is None else task.places.tobytes()
        source, builder = self.config.source, self.config.builder
        settings = (source.classes, source.ghosts, source.ground_ghosts, builder.places)
        return _digest(
            _VERSION, points, places.hex(), self.gathered.carve, builder.splat_radius_m,
            [to_dict(part) for part in settings], fingerprint(self.network),
        )  # fmt: skip

    def _write(
        self, source: SourceDigest, changed: Sequence[TileTask], digests: dict[str, str],
        before: dict[str, str],
    ) -> BuildReport:  # fmt: skip
        """Write the map of changed tiles and those that are kept."""
        new = {task.tile.key: task.described for task in changed if task.described.stat().st_size}
        old = {} if self.existing is None else self.existing.files
        replaced = {task.tile.key for task in changed}
        kept = {key: path for key, path in old.items() if key not in replaced}
        dropped = _all_dropped([task.summary() for task in changed])
        if not new and not kept:
            self._refuse(dropped)
        provenance = {
            "source": str(self.request.source),
            "source_digest": to_dict(source),
            "config": to_dict(self.config),
            "grid": to_dict(self.grid),
            "origin": self.points.origin.tolist(),
            "by_geometry": self.gathered.by_geometry,
            "tiles": {**before, **digests},
        }
        confusion = point_confusion() if self.gathered.by_geometry else label_confusion()
        header = map_header(
            self.network, confusion, georeference=self._georeference(), provenance=provenance,
            sensor_height_m=self._sensor_height_m(has_kept=bool(kept)),
        )  # fmt: skip
        paths: Iterable[Path] = [path for _, path in sorted({**kept, **new}.items())]
        manifest = write_place_map(self.request.directory, header, paths, self.config.builder.index)
        labelled = PointTiles(self.folder / LABELLED)
        keep_viewer_points(
            self.request.directory, labelled, replaced, self.existing is not None,
            self.config.max_points,
        )  # fmt: skip
        return BuildReport(manifest, self.points.num_points(), len(kept), dropped)

    def _georeference(self) -> str:
        """Of the source; many formats have none, and an update leaves the map's coordinates."""
        before = "" if self.existing is None else self.existing.manifest.georeference
        return self.gathered.georeference or before

    def _sensor_height_m(self, has_kept: bool) -> float | None:
        """Height of all places above the ground; None if they differ, or if it is unknown."""
        if self.along is not None:
            return None
        height_m = self.config.builder.places.sensor_height_m
        if has_kept and self.existing is not None:
            before_m = self.existing.manifest.sensor_height_m
            return height_m if before_m == height_m else None
        return height_m

    def _refuse(self, dropped: Counter[str]) -> NoReturn:
        """Say why there is no place in the whole map."""
        try:
            check_grid_places(Places(np.empty((0, 3)), dropped), self.config.builder.places)
        except DatasetError as error:
            raise DatasetError(f"{self.request.source}: {error}") from None
        raise AssertionError("a map without places passed")


def _all_dropped(summaries: Sequence[TileSummary]) -> Counter[str]:
    """Number of positions that make no place, by reason."""
    return sum((Counter(summary.dropped) for summary in summaries), Counter())


def _gather(origin: MapSource, config: MapSourceConfig, folder: Path) -> GatheredPoints:
    """Gather the points of a source, unless an interrupted build has done so."""
    raw = folder / RAW
    facts = gathered(folder)
    if facts is None:
        shutil.rmtree(raw, ignore_errors=True)
        points = gather_points(origin, config, raw)
        set_gathered(folder, points._asdict() | {"tiles": RAW})
    else:
        points = GatheredPoints(**{**facts, "tiles": PointTiles(raw)})
    _log.info("%d points in %d tiles", points.tiles.num_points(), len(points.tiles.tiles))
    return points


def _by_tile(positions: NDArray[np.float64], grid: TileGrid) -> dict[Tile, NDArray[np.float64]]:
    index = grid.index(positions)
    return {
        Tile(*tile): positions[(index == tile).all(axis=1)]
        for tile in np.unique(index, axis=0).tolist()
    }


def _digest(*parts: object) -> str:
    text = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
