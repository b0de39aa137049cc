"""What is let through of many repeated messages."""

from __future__ import annotations

import pytest

pytest.importorskip("rclpy", reason="no ROS 2: source one, or install the rclpy wheels")

from scmpr_ros.ros.throttled_log import ThrottledLog


def test_each_text_once_per_period_and_few_in_all() -> None:
    now_s = [0.0]
    log = ThrottledLog(period_s=10.0, max_texts=3, clock=lambda: now_s[0])
    assert [log.is_due("a"), log.is_due("b"), log.is_due("a")] == [True, True, False]
    now_s[0] = 5.0
    assert sum(log.is_due(f"{n} bytes") for n in range(1000)) == 1
    now_s[0] = 10.0
    assert [log.is_due("a"), log.is_due("b"), log.is_due("0 bytes")] == [True, True, False]
