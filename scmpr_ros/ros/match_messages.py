"""Convert answers to messages: pose with covariance, hypotheses, markers, status, JSON."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from geometry_msgs.msg import PoseArray, PoseWithCovarianceStamped, Vector3
from numpy.typing import NDArray
from std_msgs.msg import ColorRGBA, Header
from visualization_msgs.msg import Marker, MarkerArray

from scmpr_ros.geometry import camera_yaw
from scmpr_ros.pipeline.states import LOCALIZED
from scmpr_ros.pipeline.tracked_pose import PoseHypothesis, TrackedPose
from scmpr_ros.pipeline.tracking_localizer import TrackedAnswer
from scmpr_ros.records import Candidate
from scmpr_ros.ros.conversions import body_from_optical, pose_message


def pose_with_covariance(
    T_map_base: NDArray[np.floating], covariance: NDArray[np.floating], header: Header
) -> PoseWithCovarianceStamped:
    """Return the pose of the base with a (6, 6) covariance."""
    message = PoseWithCovarianceStamped(header=header)
    message.pose.pose = pose_message(T_map_base)
    message.pose.covariance = covariance.reshape(-1).tolist()
    return message


def hypothesis_poses(pose: TrackedPose, header: Header) -> PoseArray:
    """Return the hypotheses as poses of the camera's body axes, best first."""
    return PoseArray(header=header, poses=[_camera_pose(h) for h in pose.hypotheses])


def markers(pose: TrackedPose, header: Header) -> MarkerArray:
    """Return an arrow per hypothesis, and the state as text above the best.

    The best arrow is longer, improbable ones are red.
    """
    arrows = [Marker(header=header, action=Marker.DELETEALL)]
    for rank, hypothesis in enumerate(pose.hypotheses):
        green = hypothesis.probability
        length = 4.0 if rank == 0 else 2.0
        arrows.append(
            Marker(
                header=header, ns="hypotheses", id=rank, type=Marker.ARROW, action=Marker.ADD,
                pose=_camera_pose(hypothesis), scale=Vector3(x=length, y=0.5, z=0.5),
                color=ColorRGBA(r=1.0 - green, g=green, b=0.1, a=1.0 if rank == 0 else 0.5),
            )
        )  # fmt: skip
    return MarkerArray(markers=[*arrows, _state_text(pose, header)])


def _state_text(pose: TrackedPose, header: Header) -> Marker:
    above = _camera_pose(pose.hypotheses[0])
    above.position.z += 4.0
    return Marker(
        header=header, ns="state", id=0, type=Marker.TEXT_VIEW_FACING, action=Marker.ADD,
        pose=above, scale=Vector3(z=3.0), color=ColorRGBA(r=1.0, g=1.0, b=1.0, a=1.0),
        text=f"{pose.state} {pose.near_probability:.0%}",
    )  # fmt: skip


def answer_status(
    answer: TrackedAnswer, header: Header, node: str, latency_s: float
) -> DiagnosticArray:
    """Return state, score and probabilities of an answer, with the header of its pose.

    `image_candidates` is JSON: the poses of the image alone, best first.

    node: fully qualified name. latency_s: from the receipt of the image to the answer.
    """
    pose = answer.pose
    values = {
        "state": pose.state,
        "reason": pose.reason,
        "score": f"{answer.match.best.score:.4f}",
        "near_probability": f"{pose.near_probability:.4f}",
        "off_map_probability": f"{pose.off_map_probability:.4f}",
        "latency_ms": f"{1e3 * latency_s:.1f}",
        "image_candidates": json.dumps(
            [{**_place(c), "confidence": round(c.confidence, 4)} for c in answer.match]
        ),
    }
    status = DiagnosticStatus(
        level=DiagnosticStatus.OK if pose.state == LOCALIZED else DiagnosticStatus.WARN,
        name=f"{node}: answer", hardware_id="camera", message=f"{pose.state}: {pose.reason}",
        values=[KeyValue(key=key, value=value) for key, value in values.items()],
    )  # fmt: skip
    return DiagnosticArray(header=header, status=[status])


def answer_summary(answer: TrackedAnswer, stamp: Time) -> str:
    """Return the JSON answer of `~/relocalize`.

    `hypotheses` are those of the tracker, `candidates` those of the single image.
    """
    pose = answer.pose
    return json.dumps(
        {
            "outcome": pose.state,
            "reason": pose.reason,
            "score": answer.match.best.score,
            "confidence": pose.near_probability,
            "off_map_probability": pose.off_map_probability,
            "stamp": {"sec": stamp.sec, "nanosec": stamp.nanosec},
            "hypotheses": [{**_place(h), "probability": h.probability} for h in pose.hypotheses],
            "candidates": [_summary(c) for c in answer.match],
        }
    )


def _summary(candidate: Candidate) -> dict[str, Any]:
    return {
        **_place(candidate),
        "score": candidate.score,
        "phi": candidate.phi,
        "psi": candidate.psi,
        "confidence": candidate.confidence,
        "place_index": candidate.place_index,
        "heading_index": candidate.heading_index,
    }


def _place(of: Candidate | PoseHypothesis) -> dict[str, Any]:
    return {
        "position": [round(float(v), 3) for v in of.T_map_camera[:3, 3]],
        "yaw_rad": round(float(camera_yaw(of.T_map_camera)), 4),
    }


def _camera_pose(hypothesis: PoseHypothesis) -> Any:
    return pose_message(body_from_optical(hypothesis.T_map_camera))
