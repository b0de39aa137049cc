"""Convert a `PlaceMatch` to messages: pose with covariance, candidates, markers, JSON."""

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


@dataclass(frozen=True)
class CovarianceConfig:
    """Covariance of the pose: the spread of the candidates plus a floor."""

    position_floor_m: float = 1.3
    """Standard deviation of each position axis if the best candidate is right; 1.1 to 1.5 in
    unseen towns."""
    angle_floor_rad: float = 0.1
    """Standard deviation of each angle if the best candidate is right."""

    def __post_init__(self) -> None:
        for name in ("position_floor_m", "angle_floor_rad"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"covariance.{name} must be positive, got {getattr(self, name)}")


def covariance(match: PlaceMatch, config: CovarianceConfig) -> NDArray[np.float64]:
    """Return the covariance (6, 6) of x, y, z (metres), roll, pitch, yaw (radians).

    Second moments of the candidates about the best one, weighted by confidence, plus a floor.
    Unlike a spread about the mean, this grows when the best candidate stands alone. Roll and pitch
    follow the ground and get the floor only.
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
    """Return the pose of the base (or of the camera's body axes) with a (6, 6) covariance."""
    message = PoseWithCovarianceStamped(header=header)
    message.pose.pose = pose_message(T_map_base)
    message.pose.covariance = spread.reshape(-1).tolist()
    return message


def candidate_poses(match: PlaceMatch, header: Header) -> PoseArray:
    """Return the poses of the camera's body axes, best first."""
    return PoseArray(header=header, poses=[_camera_pose(c) for c in match])


def markers(match: PlaceMatch, header: Header) -> MarkerArray:
    """Return an arrow per candidate: the best is green and longer, unlikely ones are red."""
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
    """Return the JSON answer of `~/relocalize`: outcome, score, confidence, stamp, candidates."""
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
