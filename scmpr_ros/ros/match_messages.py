"""What the localizer says about a `PlaceMatch`: pose with covariance, candidates, markers, JSON."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
from builtin_interfaces.msg import Time
from geometry_msgs.msg import PoseArray, PoseWithCovarianceStamped, Vector3
from numpy.typing import NDArray
from std_msgs.msg import ColorRGBA, Header
from visualization_msgs.msg import Marker, MarkerArray

from scmpr_ros.errors import ConfigError
from scmpr_ros.geometry import camera_yaw, wrap_angle
from scmpr_ros.records import Candidate, PlaceMatch
from scmpr_ros.ros.conversions import body_from_optical, pose_message

LOST, LOCALIZED = "LOST", "LOCALIZED"


@dataclass(frozen=True)
class StateConfig:
    """When a match counts as an answer; between the two the state stays as it was."""

    localized_confidence: float = 0.7
    """From this confidence upwards the state is LOCALIZED."""
    lost_confidence: float = 0.5
    """Below this confidence the state is LOST."""

    def __post_init__(self) -> None:
        if not self.lost_confidence <= self.localized_confidence <= 1:
            raise ConfigError(
                f"state.lost_confidence {self.lost_confidence} must not exceed "
                f"state.localized_confidence {self.localized_confidence}, and that not 1"
            )


class StateGate:
    """LOST or LOCALIZED by the confidence alone, with hysteresis."""

    def __init__(self, config: StateConfig) -> None:
        self._config = config
        self.state = LOST

    def update(self, confidence: float) -> str:
        """Take the next confidence and return the state."""
        if confidence >= self._config.localized_confidence:
            self.state = LOCALIZED
        elif confidence < self._config.lost_confidence:
            self.state = LOST
        return self.state

    def reset(self) -> None:
        """Forget: LOST until a match says otherwise."""
        self.state = LOST


@dataclass(frozen=True)
class CovarianceConfig:
    """How the spread of the candidates becomes the covariance of the pose."""

    position_floor_m: float = 1.3
    """Standard deviation of each position axis about the best candidate if it is right; 1.1 to 1.5
    in towns that no training saw."""
    angle_floor_rad: float = 0.1
    """Standard deviation of each angle about the best candidate if it is right."""

    def __post_init__(self) -> None:
        for name in ("position_floor_m", "angle_floor_rad"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"covariance.{name} must be positive, got {getattr(self, name)}")


def covariance(match: PlaceMatch, config: CovarianceConfig) -> NDArray[np.float64]:
    """Covariance (6, 6) of x, y, z (metres), roll, pitch, yaw (radians) about the best candidate.

    Second moments of the candidates about the best one, weighted by their confidence, plus a floor.
    Unlike a spread about the mean, this grows when the best candidate stands alone. Roll and pitch
    are those of the ground, and get the floor.
    """
    weight = np.array([c.confidence for c in match])
    weight /= weight.sum()
    poses = np.stack([c.T_map_camera for c in match])
    yaw = camera_yaw(poses)
    offset = np.zeros((len(poses), 6))
    offset[:, :3] = poses[:, :3, 3] - poses[0, :3, 3]
    offset[:, 5] = wrap_angle(yaw - yaw[0])
    floor = np.repeat([config.position_floor_m**2, config.angle_floor_rad**2], 3)
    return np.einsum("n,ni,nj->ij", weight, offset, offset) + np.diag(floor)


def pose_with_covariance(
    T_map_base: NDArray[np.floating], spread: NDArray[np.floating], header: Header
) -> PoseWithCovarianceStamped:
    """Pose of the base (or of the camera's body axes) with a (6, 6) covariance."""
    message = PoseWithCovarianceStamped(header=header)
    message.pose.pose = pose_message(T_map_base)
    message.pose.covariance = spread.reshape(-1).tolist()
    return message


def candidate_poses(match: PlaceMatch, header: Header) -> PoseArray:
    """Poses of the camera's body axes, best first."""
    return PoseArray(header=header, poses=[_camera_pose(c) for c in match])


def markers(match: PlaceMatch, header: Header) -> MarkerArray:
    """An arrow for each candidate: the best one green and longer, the others the redder the lower
    their confidence."""
    arrows = [Marker(header=header, action=Marker.DELETEALL)]
    for rank, candidate in enumerate(match):
        green = candidate.confidence / match.best.confidence
        length = 4.0 if rank == 0 else 2.0
        arrows.append(
            Marker(
                header=header, ns="candidates", id=rank, type=Marker.ARROW, action=Marker.ADD,
                pose=_camera_pose(candidate), scale=Vector3(x=length, y=0.5, z=0.5),
                color=ColorRGBA(r=1.0 - green, g=green, b=0.1, a=1.0 if rank == 0 else 0.5),
            )
        )  # fmt: skip
    return MarkerArray(markers=arrows)


def match_summary(match: PlaceMatch, state: str, stamp: Time) -> str:
    """JSON with outcome, score, confidence, the image's stamp, and candidates: `~/relocalize`."""
    return json.dumps(
        {
            "outcome": state,
            "score": match.best.score,
            "confidence": match.confidence,
            "stamp": {"sec": stamp.sec, "nanosec": stamp.nanosec},
            "candidates": [_summary(c) for c in match],
        }
    )


def _summary(candidate: Candidate) -> dict[str, Any]:
    return {
        "position": [round(float(v), 3) for v in candidate.T_map_camera[:3, 3]],
        "yaw_rad": round(float(camera_yaw(candidate.T_map_camera)), 4),
        "score": candidate.score,
        "phi": candidate.phi,
        "psi": candidate.psi,
        "confidence": candidate.confidence,
        "place_index": candidate.place_index,
        "heading_index": candidate.heading_index,
    }


def _camera_pose(candidate: Candidate) -> Any:
    return pose_message(body_from_optical(candidate.T_map_camera))
