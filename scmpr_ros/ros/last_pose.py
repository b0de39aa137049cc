"""Keep the last pose in a file, to start from it again in the same map."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from scmpr_ros.atomic_files import write_json
from scmpr_ros.retrieval.place_map import PlaceMap
from scmpr_ros.ros.localizer_config import LastPoseConfig

_FORMAT = "scmpr_ros last pose/1"


class KnownPose(NamedTuple):
    """A pose of the base.

    T_map_base: (4, 4). covariance: (6, 6) of x, y, z in metres and rotations in radians. stamp_ns:
    of the image.
    """

    T_map_base: NDArray[np.float64]
    covariance: NDArray[np.float64]
    stamp_ns: int


def map_identity(place_map: PlaceMap) -> str:
    """Return a digest that differs between maps of different places or checkpoints."""
    digest = hashlib.blake2b(place_map.fingerprint.encode(), digest_size=16)
    digest.update(np.ascontiguousarray(place_map.positions).tobytes())
    return digest.hexdigest()


class LastPoseFile:
    """The file of one map's last pose. Methods may be called from any thread."""

    def __init__(
        self, config: LastPoseConfig, place_map: PlaceMap, warn: Callable[[str], None]
    ) -> None:
        """warn: called with what is wrong with the file, which stops nobody."""
        self._config, self._identity, self._warn = config, map_identity(place_map), warn
        self._path = Path(config.path).expanduser()
        self._lock = threading.Lock()
        self._unwritten: KnownPose | None = None
        self._written_s = -np.inf

    def note(self, pose: KnownPose) -> None:
        """Take a pose that the localizer is sure of; write it if the last writing is long ago."""
        with self._lock:
            self._unwritten = pose
            if time.monotonic() - self._written_s >= self._config.period_s:
                self._write()

    def flush(self) -> None:
        """Write the latest pose, if it is not written yet."""
        with self._lock:
            self._write()

    def read(self) -> KnownPose | None:
        """Return the pose, with the covariance of a vehicle that may have moved since.

        None, with a warning unless there is no file, if it is damaged or of another map.
        """
        try:
            content = json.loads(self._path.read_text())
            pose = _parse(content)
            identity = content["map"]
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            self._warn(f"{self._path} is not used: it is no last pose ({error!r})")
            return None
        if identity != self._identity:
            self._warn(f"{self._path} is not used: it is of another map")
            return None
        variance = np.repeat([self._config.position_std_m**2, self._config.angle_std_rad**2], 3)
        return pose._replace(covariance=pose.covariance + np.diag(variance))

    def _write(self) -> None:
        pose, self._unwritten = self._unwritten, None
        if pose is None:
            return
        self._written_s = time.monotonic()  # after a failure, too: the next would be no better
        content = {
            "format": _FORMAT,
            "map": self._identity,
            "stamp_ns": pose.stamp_ns,
            "T_map_base": pose.T_map_base.tolist(),
            "covariance": pose.covariance.tolist(),
        }
        try:
            write_json(self._path, content)
        except (OSError, ValueError) as error:
            self._warn(f"cannot write the last pose to {self._path}: {error}")


def _parse(content: Any) -> KnownPose:
    """Return the pose of a file's content; raises ValueError, KeyError or TypeError."""
    if content["format"] != _FORMAT:
        raise ValueError(f"format {content['format']!r}")
    T = np.array(content["T_map_base"], np.float64).reshape(4, 4)
    covariance = np.array(content["covariance"], np.float64).reshape(6, 6)
    if not (np.isfinite(T).all() and np.isfinite(covariance).all()):
        raise ValueError("numbers are not finite")
    return KnownPose(T, covariance, int(content["stamp_ns"]))
