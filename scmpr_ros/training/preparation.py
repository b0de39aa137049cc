"""Recordings prepared for training: views, masks and depth of the images, panoramas of the map.

A recording is prepared once, see `rendering`, and kept as one safetensors file in a cache that all
trainings share.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from scmpr_ros.atomic_files import atomic_write, exclusive_lock
from scmpr_ros.datasets.bags.options import BagReaderConfig, load_options
from scmpr_ros.datasets.recordings import is_bag, is_recording, open_drives
from scmpr_ros.datasets.town_files import is_unfinished, town_split
from scmpr_ros.errors import ConfigError, DatasetError
from scmpr_ros.geometry import body_axes, camera_yaw
from scmpr_ros.lidar.panorama import Panoramas
from scmpr_ros.methods.network import PlaceNetworkConfig
from scmpr_ros.methods.pair_batch import map_tensors
from scmpr_ros.pipeline.map_source import PREBUILT_MAP, drives_share_frame, makes_map
from scmpr_ros.process_pool import run_all
from scmpr_ros.semantics import class_id
from scmpr_ros.training.rendering import PreparationConfig, render_recording

__all__ = [
    "PreparationConfig", "PreparedRecording", "RecordingSource", "find_recordings",
    "finished_recordings", "load_recording", "load_recordings",
]  # fmt: skip

PREPARATION = 7
"""Version of the prepared files; those of other versions are not used."""

_SKY = class_id("sky")


@dataclass(frozen=True)
class PreparedRecording:
    """One prepared recording, with Q views of C cameras, and P places.

    views: (Q, 3, H, W) uint8 RGB, levelled; black where the camera does not look.
    masks: (Q, H/4, W/4) uint8 joint class ids, `ignore` where the camera does not look.
    depth: (Q, H/4, W/4) float16, metres to the map's surface, also outside the camera's image; 0
        where the map is empty.
    poses: (Q, 4, 4) float64, T_map_camera of the levelled views (optical axes).
    camera: (Q,) int64, number of each view's camera.
    seen: (C, H/4, W/4) bool, mask cells whose centre lies in the camera's image.
    seen_pixels: (C, H, W) bool, likewise for the pixels of views.
    geometric_masks: (C,) bool, whether a camera's masks come from a map segmented by its geometry.
    positions: (P, 3) float64, map frame. axes: (P, 3, 3) float64, see `ground_aligned_axes`.
    panorama: P panoramas of the map; metres and normals are float16.
    segmented: those of the map that would be built without labels, see `label_free_map`.
    """

    views: Tensor
    masks: Tensor
    depth: Tensor
    poses: Tensor
    camera: Tensor
    seen: Tensor
    seen_pixels: Tensor
    geometric_masks: Tensor
    positions: Tensor
    axes: Tensor
    panorama: Panoramas
    segmented: Panoramas

    @cached_property
    def yaw_rad(self) -> Tensor:
        """Heading of each view, (Q,)."""
        return torch.from_numpy(camera_yaw(self.poses.numpy()))

    @cached_property
    def view_axes(self) -> Tensor:
        """Forward, left and up of each view in the map frame, as columns (Q, 3, 3)."""
        return torch.from_numpy(body_axes(self.poses.numpy()))

    @property
    def has_true_masks(self) -> bool:
        """Whether the masks show what the camera saw, and not the map: no map shows the sky."""
        return bool((self.masks == _SKY).any())

    def seen_by(self, views: slice | Tensor) -> Tensor:
        """Mask cells (N, H/4, W/4) inside the camera's image, for some views."""
        return self.seen[self.camera[views]]

    def panoramas(self, places: slice | Tensor, device: torch.device) -> Panoramas:
        """Panoramas of some places in single precision, on a device."""
        return in_single_precision(map_tensors(lambda x: x[places].to(device), self.panorama))


def in_single_precision(panoramas: Panoramas) -> Panoramas:
    """Convert metres and normals to float32; labels stay."""
    return map_tensors(lambda x: x.float() if x.is_floating_point() else x, panoramas)


class RecordingSource(NamedTuple):
    """A recording whose drives share the frame of its map.ply, or, without one, a single drive with
    scans and images."""

    folder: Path
    drive: str = ""
    bag: BagReaderConfig = BagReaderConfig()

    @property
    def name(self) -> str:
        """Name for files and messages."""
        return f"{self.folder.name}-{self.drive}" if self.drive else self.folder.name


def find_recordings(
    folder: Path, sequences: str = "", bag: BagReaderConfig | None = None
) -> list[RecordingSource]:
    """Find the recordings that can be trained on in a folder, or the folder itself.

    sequences: names of drives, separated by commas, of a folder that is one recording without a
        map.ply; all of its drives if empty. Raises ConfigError if they cannot be chosen, and
        DatasetError if there is no such drive, or if it lacks images or scans.
    bag: options of all recordings that are bags.
    """
    bag = bag or BagReaderConfig()
    if sequences:
        return _named_drives(folder, [name.strip() for name in sequences.split(",")], bag)
    found = []
    for recording in finished_recordings(folder):
        if drives_share_frame(recording):
            found.append(RecordingSource(recording, bag=bag))
            continue
        for drive in open_drives(recording, bag=bag):
            if makes_map(drive) and len(drive.image_frames):
                found.append(RecordingSource(recording, drive.name, bag))
    return found


def finished_recordings(folder: Path) -> list[Path]:
    """The recordings in a folder, or the folder itself; unfinished towns are skipped."""
    below = sorted(path for path in folder.glob("*") if path.is_dir())
    recordings = [folder] if is_recording(folder) else filter(is_recording, below)
    return [recording for recording in recordings if not is_unfinished(recording)]


def _named_drives(
    recording: Path, names: Sequence[str], bag: BagReaderConfig
) -> list[RecordingSource]:
    if not is_recording(recording) or drives_share_frame(recording):
        raise ConfigError(
            f"cannot choose the sequences {', '.join(names)} of {recording}: it must be a single "
            f"recording without a {PREBUILT_MAP}, whose drives each make a map of their own"
        )
    for name in names:
        (drive,) = open_drives(recording, name, bag)
        if not (makes_map(drive) and len(drive.image_frames)):
            raise DatasetError(f"{recording}: sequence {name} has no images, or no scans for a map")
    return [RecordingSource(recording, name, bag) for name in dict.fromkeys(names)]


def load_recording(
    source: RecordingSource, network: PlaceNetworkConfig, config: PreparationConfig, cache: Path
) -> PreparedRecording:
    """Load a recording from `cache`, preparing it first if necessary."""
    path = _prepared_file(source, network, config, cache)
    if not path.is_file():
        _prepare(source, network, config, cache)
    return _load(path)


def load_recordings(
    sources: Sequence[RecordingSource], network: PlaceNetworkConfig,
    config: PreparationConfig, cache: Path, jobs: int, name: str,
) -> list[PreparedRecording]:  # fmt: skip
    """Load recordings as `load_recording` does, preparing them in `jobs` processes.

    If several trainings, or processes of one, share a cache, the first prepares and the others
    wait.

    name: of all recordings together, for the progress bar.
    """
    with exclusive_lock(cache / ".preparing", wait=True):
        missing = [s for s in sources if not _prepared_file(s, network, config, cache).is_file()]
        prepare = partial(_prepare, network=network, config=config, cache=cache)
        run_all(prepare, missing, jobs, f"preparing {name}", "recording")
    return [load_recording(source, network, config, cache) for source in sources]


def _prepared_file(
    source: RecordingSource, network: PlaceNetworkConfig, config: PreparationConfig, cache: Path
) -> Path:
    return cache / f"{source.name}-{_settings_digest(source, network, config)}.safetensors"


def _prepare(
    source: RecordingSource, network: PlaceNetworkConfig, config: PreparationConfig, cache: Path
) -> None:
    tensors = render_recording(*source, network, config)
    with atomic_write(_prepared_file(source, network, config, cache)) as temporary:
        save_file(tensors, temporary)


def _load(path: Path) -> PreparedRecording:
    tensors = load_file(path)

    def panoramas(name: str) -> Panoramas:
        prefix = f"{name}."
        keys = [key for key in tensors if key.startswith(prefix)]
        return Panoramas(**{key.removeprefix(prefix): tensors.pop(key) for key in keys})

    panorama = panoramas("panorama")
    has_labels = "segmented.label" in tensors
    segmented = panoramas("segmented") if has_labels else panorama
    tensors.setdefault("geometric_masks", torch.zeros(len(tensors["seen"]), dtype=torch.bool))
    return PreparedRecording(**tensors, panorama=panorama, segmented=segmented)


def _settings_digest(
    source: RecordingSource, network: PlaceNetworkConfig, config: PreparationConfig
) -> str:
    """Hash of everything that a prepared recording depends on."""
    preparation = asdict(config)
    if town_split(source.folder) is not None:
        del preparation["min_label_confidence"]  # towns have labels of their own
    settings = {
        "preparation": PREPARATION,
        "folder": str(source.folder.resolve()),
        "drive": source.drive,
        "files": _files_digest(source.folder),
        **_bag_options(source),
        "view": asdict(network.view),
        "panorama": asdict(network.panorama),
        "max_range_m": network.max_range_m,
        "config": preparation,
    }
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16]


def _bag_options(source: RecordingSource) -> dict[str, Any]:
    """Options of a bag, with those of its file, which need not be in its folder."""
    if not is_bag(source.folder):
        return {}
    return {"bag": asdict(load_options(source.folder, source.bag))}


def _files_digest(folder: Path) -> str:
    """Hash of the names, sizes and modification times of a recording's files."""
    digest = hashlib.sha256()
    paths = folder.rglob("*") if folder.is_dir() else [folder]
    for path in sorted(path for path in paths if path.is_file()):
        stat = path.stat()
        digest.update(f"{path.relative_to(folder)} {stat.st_size} {stat.st_mtime_ns}".encode())
    return digest.hexdigest()
