"""What a localizer answered on a drive, as a file: exported once, scored as often as one likes.

One safetensors file holds truth, candidates and the database's places; its header tells what the
answers depended on. Scoring by other radii or axes needs no network. Scoring by rules that would
have let other places answer is refused.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from scmpr_ros.atomic_files import atomic_write
from scmpr_ros.errors import ConfigError, DatasetError
from scmpr_ros.evaluation.iou import told
from scmpr_ros.evaluation.localized_drive import LocalizedDrive
from scmpr_ros.evaluation.metrics import near_places
from scmpr_ros.evaluation.protocols import Protocol

FORMAT = "scmpr_ros predictions/2"
_CLASSES = ("image_classes", "map_classes")


@dataclass(frozen=True)
class Predictions:
    """Answers to the N images of a drive, and the P places that could have been the answer.

    positions: (P, 3); headings_rad: (V,) of all places. allowed: (N, P) which places each query was
    let choose from. facts: what the answers depended on, ready for JSON; `include_self` and
    `min_gap_s` of the protocol among them. image_classes, map_classes: (C, C) cells and points by
    true and predicted class, where that was measured.
    """

    drive: LocalizedDrive
    positions: NDArray[np.float64]
    headings_rad: NDArray[np.float64]
    allowed: NDArray[np.bool_]
    facts: dict[str, Any]
    image_classes: NDArray[np.int64] | None = None
    map_classes: NDArray[np.int64] | None = None

    def score(self, protocol: Protocol) -> dict[str, Any]:
        """The numbers by a protocol, with its rules and the facts beside them.

        Raises ConfigError where the answers were given by other rules than the protocol's, and
        DatasetError where no query is left to score.
        """
        for rule in ("include_self", "min_gap_s"):
            if self.facts[rule] != getattr(protocol, rule):
                raise ConfigError(
                    f"these answers were given with {rule} {self.facts[rule]}, protocol "
                    f"{protocol.name} asks for {getattr(protocol, rule)}: predict them again"
                )
        asked = self._asked(protocol)
        if not asked.any():
            raise DatasetError(
                f"drive {self.facts.get('drive')}: none of its {len(asked)} queries is a revisit "
                f"by protocol {protocol.name}: it needs a drive that passes a place twice"
            )
        drive = self.drive.select(asked)
        numbers = drive.summary(
            self.positions, self.headings_rad, protocol.tolerance, self.allowed[asked]
        )
        read = {**told("image", self.image_classes), **told("map", self.map_classes)}
        return {**self.facts, **protocol.rules(), **numbers, **read}

    def _asked(self, protocol: Protocol) -> NDArray[np.bool_]:
        """Queries (N,) that count."""
        if not protocol.only_revisits:
            return np.ones(len(self.drive.frames), bool)
        true = self.drive.T_map_camera[:, :3, 3]
        near = near_places(true, self.positions, protocol.tolerance)
        return np.asarray((near & self.allowed).any(axis=1))

    def save(self, path: Path) -> None:
        """Write the file."""
        drive = self.drive
        arrays: dict[str, NDArray[Any]] = {
            "frames": np.asarray(drive.frames, np.int64), "T_map_camera": drive.T_map_camera,
            "candidates": drive.candidates, "latency_s": drive.latency_s,
            "confidences": drive.confidences,
            "positions": self.positions, "headings_rad": self.headings_rad,
            "allowed": np.packbits(self.allowed, axis=1),
        }  # fmt: skip
        for name in _CLASSES:
            counted = getattr(self, name)
            if counted is not None:
                arrays[name] = counted
        header = {"format": FORMAT, "facts": json.dumps(self.facts)}
        with atomic_write(path) as temporary:
            arrays = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
            save_file(arrays, temporary, header)

    @classmethod
    def load(cls, path: Path) -> Predictions:
        """Read a file; raises DatasetError where it is none."""
        try:
            with safe_open(path, framework="np") as file:
                header = file.metadata() or {}
                arrays = {name: file.get_tensor(name) for name in file.keys()}
        except (SafetensorError, OSError) as error:
            raise DatasetError(f"{path} holds no predictions: {error}") from error
        if header.get("format") != FORMAT:
            raise DatasetError(
                f"{path}: format {header.get('format')!r}, expected {FORMAT!r}: predict again"
            )
        places = len(arrays["positions"])
        drive = LocalizedDrive(
            tuple(arrays["frames"].tolist()), arrays["T_map_camera"], arrays["candidates"],
            arrays["latency_s"], arrays["confidences"],
        )  # fmt: skip
        allowed = np.unpackbits(arrays["allowed"], axis=1, count=places).astype(bool)
        return cls(drive, arrays["positions"], arrays["headings_rad"], allowed,
                   json.loads(header["facts"]), *map(arrays.get, _CLASSES))  # fmt: skip
