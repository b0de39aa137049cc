"""The place map: everything the localizer must know of a LiDAR map, as a directory.

    metadata.json      format, fingerprint of the checkpoint, grids, map frame, counts
    positions.npy      (P, 3) float64  viewpoints, map frame
    axes.npy           (P, 3, 3) float64  ahead, left and up of who stands there, as columns
    headings.npy       (V,) float64    yaw of the heading windows
    descriptors.npy    (P, V, D) float16, unit length
    panorama_labels.npy (P, H, W) uint8 semantic panoramas, joint ids
    confusion.npy      (S, S) float32  how labels differ from the truth, see `PlaceMap`
    context.npy        (S, C) float32  semantic context, eq. 7

Written to a temporary name, then renamed; memory-mapped when loaded.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scmpr_ros.errors import MapFormatError
from scmpr_ros.geometry import AngularGrid
from scmpr_ros.semantics import STATIC_IDS

FORMAT = "scmpr_ros place map/3"
_ARRAYS = {
    "positions": (2, np.float64),
    "axes": (3, np.float64),
    "headings": (1, np.float64),
    "descriptors": (3, np.float16),
    "panorama_labels": (3, np.uint8),
    "confusion": (2, np.float32),
    "context": (2, np.float32),
}


@dataclass(frozen=True)
class PlaceMap:
    """Descriptors and semantic panoramas of P places with V headings each.

    axes: see `geometry.upright_axes`; panoramas are upright in them, and so are their headings.
    fingerprint: of the checkpoint that made the descriptors; no other can read them.
    confusion: shares of the labels (columns) that things of each static class (rows) have in the
        panoramas; one on the diagonal where somebody labelled the map.
    grid: the panoramas' cells.
    """

    positions: NDArray[np.float64]
    axes: NDArray[np.float64]
    headings_rad: NDArray[np.float64]
    descriptors: NDArray[np.float16]
    panorama_labels: NDArray[np.uint8]
    confusion: NDArray[np.float32]
    context: NDArray[np.float32]
    grid: AngularGrid
    fingerprint: str

    def __post_init__(self) -> None:
        places, headings = len(self.positions), len(self.headings_rad)
        expected = {
            "positions": (places, 3),
            "axes": (places, 3, 3),
            "descriptors": (places, headings, self.descriptors.shape[-1]),
            "panorama_labels": (places, self.grid.height, self.grid.width),
            "confusion": (len(STATIC_IDS), len(STATIC_IDS)),
        }
        for name, shape in expected.items():
            if getattr(self, name).shape != shape:
                raise MapFormatError(
                    f"place map: {name} is {getattr(self, name).shape}, expected {shape}"
                )
        if places == 0:
            raise MapFormatError("place map: it holds no places")

    def __len__(self) -> int:
        return len(self.positions)

    def check_made_by(self, fingerprint: str) -> None:
        """Raise MapFormatError unless the checkpoint with this fingerprint made the map."""
        if fingerprint != self.fingerprint:
            raise MapFormatError(
                f"the place map was made by checkpoint {self.fingerprint[:12]}, but the network "
                f"is {fingerprint[:12]}: build the map again with this checkpoint"
            )

    def save(self, directory: Path) -> None:
        """Write the map; a map that was there before is replaced as a whole or not at all."""
        directory = Path(directory)
        directory.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{directory.name}.", dir=directory.parent))
        try:
            for name, (_, dtype) in _ARRAYS.items():
                np.save(temporary / f"{name}.npy", np.asarray(self._array(name), dtype=dtype))
            (temporary / "metadata.json").write_text(json.dumps(self._metadata(), indent=2))
            temporary.chmod(0o755)
            _replace(temporary, directory)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)

    @classmethod
    def load(cls, directory: Path) -> PlaceMap:
        """Memory-map a map; raises MapFormatError with the file and the cause."""
        directory = Path(directory)
        metadata = _read_metadata(directory)
        arrays = {name: _read_array(directory, name, metadata) for name in _ARRAYS}
        return cls(
            positions=arrays["positions"],
            axes=arrays["axes"],
            headings_rad=arrays["headings"],
            descriptors=arrays["descriptors"],
            panorama_labels=arrays["panorama_labels"],
            confusion=arrays["confusion"],
            context=arrays["context"],
            grid=AngularGrid(**metadata["grid"]),
            fingerprint=metadata["fingerprint"],
        )

    def _array(self, name: str) -> NDArray[Any]:
        return self.headings_rad if name == "headings" else getattr(self, name)

    def _metadata(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "fingerprint": self.fingerprint,
            "grid": asdict(self.grid),
            "shapes": {name: list(self._array(name).shape) for name in _ARRAYS},
        }


def _replace(temporary: Path, directory: Path) -> None:
    """Rename a finished folder into place; a folder cannot be renamed over a full one."""
    if not directory.exists():
        os.rename(temporary, directory)
        return
    if not (directory / "metadata.json").is_file():
        raise MapFormatError(f"{directory} exists and is not a place map: it is left alone")
    old = directory.with_name(f".{directory.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    os.rename(directory, old)
    os.rename(temporary, directory)
    shutil.rmtree(old, ignore_errors=True)


def _read_metadata(directory: Path) -> dict[str, Any]:
    path = directory / "metadata.json"
    if not path.is_file():
        raise MapFormatError(f"{directory}: no place map there (no metadata.json); build one first")
    try:
        metadata: dict[str, Any] = json.loads(path.read_text())
    except ValueError as error:
        raise MapFormatError(f"{path}: not valid JSON ({error}); build the map again") from error
    if metadata.get("format") != FORMAT:
        raise MapFormatError(
            f"{path}: format {metadata.get('format')!r}, expected {FORMAT!r}; build the map again"
        )
    missing = {"fingerprint", "grid", "shapes"} - metadata.keys()
    if missing:
        raise MapFormatError(f"{path}: lacks {', '.join(sorted(missing))}; build the map again")
    return metadata


def _read_array(directory: Path, name: str, metadata: dict[str, Any]) -> NDArray[Any]:
    path = directory / f"{name}.npy"
    ndim, dtype = _ARRAYS[name]
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise MapFormatError(f"{path} is missing; build the map again") from None
    except (ValueError, OSError, EOFError) as error:
        raise MapFormatError(f"{path} is truncated or damaged ({error}); build it again") from error
    shape = tuple(metadata["shapes"][name])
    if array.ndim != ndim or array.dtype != dtype or array.shape != shape:
        raise MapFormatError(
            f"{path}: {array.dtype} {array.shape}, expected {np.dtype(dtype)} {shape}; "
            "build the map again"
        )
    return array
