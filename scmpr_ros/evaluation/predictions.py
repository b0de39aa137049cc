"""The answers to a drive's images as a file: predicted once, scored as often as needed.

One safetensors file holds truth, candidates and the database's places; its header holds what the
answers depend on. Other radii or axes need no new prediction. Rules that let other places answer
are refused.
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
from scmpr_ros.config import from_dict, to_dict
from scmpr_ros.errors import ConfigError, DatasetError
from scmpr_ros.evaluation.iou import iou_summary
from scmpr_ros.evaluation.localized_drive import LocalizedDrive
from scmpr_ros.evaluation.metrics import near_places
from scmpr_ros.evaluation.protocols import Protocol
from scmpr_ros.evaluation.result import Provenance, Result

FORMAT = "scmpr_ros predictions/2"
_CLASSES = ("image_classes", "map_classes")


@dataclass(frozen=True)
class Predictions:
    """Answers to the N images of a drive, and the P places of the database.

    positions: (P, 3) of the places.
    headings_rad: (V,) of all places, or (P, V) of each.
    allowed: (N, P) which places each query could choose from.
    include_self, min_gap_s: the protocol's rules that `allowed` follows.
    image_classes, map_classes: (C, C) counts of mask cells and of map points by true and predicted
        class; None if not measured.
    """

    drive: LocalizedDrive
    positions: NDArray[np.float64]
    headings_rad: NDArray[np.float64]
    allowed: NDArray[np.bool_]
    provenance: Provenance
    include_self: bool
    min_gap_s: float | None
    image_classes: NDArray[np.int64] | None = None
    map_classes: NDArray[np.int64] | None = None

    def score(self, protocol: Protocol) -> Result:
        """Score the answers by a protocol.

        Raises ConfigError if the answers were predicted under other rules than the protocol's, and
        DatasetError if no query is left to score.
        """
        for rule in ("include_self", "min_gap_s"):
            if getattr(self, rule) != getattr(protocol, rule):
                raise ConfigError(
                    f"these answers were predicted with {rule} {getattr(self, rule)}, but protocol "
                    f"{protocol.name} needs {getattr(protocol, rule)}: predict them again"
                )
        scored = self._scored_queries(protocol)
        if not scored.any():
            raise DatasetError(
                f"drive {self.provenance.drive}: none of its {len(scored)} queries is a revisit "
                f"by protocol {protocol.name}: it needs a drive that passes a place twice"
            )
        drive = self.drive.select(scored)
        scores = drive.score(
            self.positions, self.headings_rad, protocol.tolerance, self.allowed[scored]
        )
        ious = (iou_summary(self.image_classes), iou_summary(self.map_classes))
        return Result(self.provenance, protocol.rules(), scores, *ious)

    def _scored_queries(self, protocol: Protocol) -> NDArray[np.bool_]:
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
            counts = getattr(self, name)
            if counts is not None:
                arrays[name] = counts
        facts = {
            **to_dict(self.provenance), "include_self": self.include_self,
            "min_gap_s": self.min_gap_s,
        }  # fmt: skip
        header = {"format": FORMAT, "facts": json.dumps(facts, default=str)}
        with atomic_write(path) as temporary:
            arrays = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
            save_file(arrays, temporary, header)

    @classmethod
    def load(cls, path: Path) -> Predictions:
        """Read a file; raises DatasetError if it holds no predictions."""
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
        drive = LocalizedDrive(
            tuple(arrays["frames"].tolist()), arrays["T_map_camera"], arrays["candidates"],
            arrays["latency_s"], arrays["confidences"],
        )  # fmt: skip
        allowed = np.unpackbits(arrays["allowed"], axis=1, count=len(arrays["positions"]))
        facts = json.loads(header["facts"])
        rules = facts.pop("include_self"), facts.pop("min_gap_s")
        return cls(
            drive, arrays["positions"], arrays["headings_rad"], allowed.astype(bool),
            from_dict(Provenance, facts, str(path)), *rules, *map(arrays.get, _CLASSES),
        )  # fmt: skip
