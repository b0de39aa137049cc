"""Answers recorded as JSON lines by a node of its own, and for Rerun by the localizer."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from tracked_answers import CAMERA, tracked_answer

pytest.importorskip("rclpy", reason="no ROS 2: source one, or install the rclpy wheels")

from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseArray, PoseWithCovarianceStamped
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from scmpr_ros.evaluation.trajectory import read_tracked_drive
from scmpr_ros.geometry import make_transform
from scmpr_ros.ros.answer_recording import AnswerRecording
from scmpr_ros.ros.conversions import image_message, stamp_ns
from scmpr_ros.ros.localizer_node import LocalizerNode
from scmpr_ros.ros.managed_node import SUCCESS
from scmpr_ros.ros.match_messages import answer_status, hypothesis_poses, pose_with_covariance
from scmpr_ros.ros.vehicle_localizer import move_pose

IMAGE = np.full((CAMERA.height, CAMERA.width, 3), 90, np.uint8)


def header(index: int) -> Header:
    result = Header(frame_id="map")
    result.stamp.sec = 100 + index
    return result


@pytest.mark.end_to_end
def test_recorder_pairs_poses_with_their_status(start_node, graph, tmp_path: Path) -> None:
    """Of the last but one image the status is lost, of the last one the candidates."""
    poses = graph.publisher(PoseWithCovarianceStamped, "/localizer/pose")
    candidates = graph.publisher(PoseArray, "/localizer/candidates")
    statuses = graph.publisher(DiagnosticArray, "/localizer/status")
    images = graph.publisher(Image, "/image")
    path = tmp_path / "answers.jsonl"
    recorder = start_node("record_answers", "-p", f"output:={path}", "-p", "count:=4")
    for publisher in (poses, candidates, statuses, images):
        graph.until(publisher.get_subscription_count, publisher.topic_name, 60)
    T_camera_base = make_transform(np.eye(3), np.array([0.3, 1.2, -0.4]))
    for index in range(4):
        answer = tracked_answer(index)
        images.publish(image_message(IMAGE, header(index)))
        if index < 2:
            statuses.publish(answer_status(answer, header(index), "/localizer", 0.1))
        if index < 3:
            candidates.publish(hypothesis_poses(answer.pose, header(index)))
        moved = move_pose(answer.pose.T_map_camera, answer.pose.covariance, T_camera_base)
        poses.publish(pose_with_covariance(*moved, header(index)))
    assert recorder.wait() == 0, recorder.output
    assert "1 answers came without ~/candidates: left out" in recorder.output

    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["stamp_ns"] for line in lines] == [stamp_ns(header(i)) for i in range(3)]
    assert [line["state"] for line in lines] == ["LOST", "TENTATIVE", None]
    assert lines[2]["candidates"] is lines[2]["confidence"] is None
    truth = {index: tracked_answer(index).pose.T_map_camera for index in range(3)}
    drive = read_tracked_drive(path, truth, {i: stamp_ns(header(i)) for i in range(3)})
    np.testing.assert_allclose(drive.T_tracked, drive.T_true, atol=1e-9)
    single = [tracked_answer(index).match.best.T_map_camera for index in range(2)]
    np.testing.assert_allclose(drive.T_single, single, atol=1e-3)
    np.testing.assert_allclose(drive.covariance[0], tracked_answer(0).pose.covariance, atol=1e-9)
    assert drive.near_probability.tolist() == [0.8, 0.8]
    assert drive.single_confidence.tolist() == [0.4, 0.4]


def test_localizer_records_its_map_and_answers(make_node, street, street_map, tmp_path) -> None:
    rr = pytest.importorskip("rerun", reason='no rerun-sdk: pip install "scmpr_ros[viewer]"')
    path = tmp_path / "out.rrd"
    node = make_node(
        LocalizerNode, checkpoint=str(street.checkpoint), map=str(street_map), rerun=str(path)
    )
    assert node.trigger_configure() == SUCCESS
    assert not path.exists()
    assert node.close()
    reader = getattr(rr, "chunk", rr.experimental).RrdReader(path)
    assert "/map/points" in {chunk.entity_path for chunk in reader.stream().to_chunks()}

    recording = AnswerRecording(str(path))
    recording.add(0.0, IMAGE, CAMERA, tracked_answer(0))
    recording.close()
    reader = getattr(rr, "chunk", rr.experimental).RrdReader(path)
    entities = {chunk.entity_path for chunk in reader.stream().to_chunks()}
    assert {"/estimate/camera", "/hypotheses", "/mask", "/state", "/belief/near"} <= entities


def test_without_a_path_nothing_is_recorded() -> None:
    """No rerun-sdk is needed."""
    recording = AnswerRecording("")
    recording.add(0.0, IMAGE, CAMERA, tracked_answer(0))
    recording.close()
