"""The localisation state: hysteresis over confidence, and age."""

from __future__ import annotations

import pytest

from scmpr_ros.errors import ConfigError
from scmpr_ros.pipeline.states import LOCALIZED, LOST, StateConfig, StateGate


def test_hysteresis() -> None:
    gate = StateGate(StateConfig(localized_confidence=0.6, lost_confidence=0.4))
    assert gate.state == LOST
    states = [gate.update(confidence, 0.0) for confidence in (0.5, 0.6, 0.5, 0.39, 0.5, 0.9)]
    assert states == [LOST, LOCALIZED, LOCALIZED, LOST, LOST, LOCALIZED]


def test_becomes_lost_when_the_last_answer_is_too_old() -> None:
    gate = StateGate(StateConfig(max_age_s=5.0))
    assert not gate.expire(1e6) and gate.age_s(1e6) is None
    gate.update(0.9, now_s=100.0)
    assert not gate.expire(105.0) and gate.state == LOCALIZED
    assert gate.expire(105.1) and gate.state == LOST
    assert not gate.expire(105.2), "the state changes once"
    assert gate.is_stale(105.2) and gate.age_s(105.2) == pytest.approx(5.2)
    assert gate.update(0.6, now_s=106.0) == LOST, "an old LOCALIZED does not survive"
    assert gate.update(0.9, now_s=107.0) == LOCALIZED


def test_every_answer_renews_the_state() -> None:
    gate = StateGate(StateConfig(max_age_s=5.0))
    for now_s in (0.0, 4.0, 8.0):
        assert gate.update(0.6 if now_s else 0.9, now_s) == LOCALIZED
    assert not gate.expire(12.0)


def test_reset_forgets_the_last_answer() -> None:
    gate = StateGate(StateConfig())
    gate.update(0.9, 0.0)
    gate.reset()
    assert gate.state == LOST and gate.age_s(1.0) is None


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"localized_confidence": 0.3, "lost_confidence": 0.4}, "must not exceed"),
        ({"localized_confidence": 1.5}, "must not exceed 1"),
        ({"max_age_s": 0.0}, r"state\.max_age_s must be positive"),
    ],
)
def test_invalid_thresholds(values: dict[str, float], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        StateConfig(**values)
