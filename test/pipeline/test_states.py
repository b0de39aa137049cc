"""The localisation state: thresholds, hysteresis, and the reasons."""

from __future__ import annotations

import pytest

from scmpr_ros.errors import ConfigError
from scmpr_ros.pipeline.states import LOCALIZED, LOST, TENTATIVE, Belief, StateConfig, StateGate

CONFIG = StateConfig(
    localized_probability=0.9, doubted_probability=0.7, tentative_probability=0.5,
    lost_probability=0.3, max_deviation_m=2.0, min_distance_m=10.0,
)  # fmt: skip


def belief(
    near: float, *, off_map: float = 0.0, deviation_m: float = 1.0, followed_m: float = 50.0,
    named: float = 1.0,
):  # fmt: skip
    return Belief(near, off_map, deviation_m, followed_m, named)


def states(gate: StateGate, *near: float) -> list[str]:
    return [gate.update(belief(each)) for each in near]


def test_begins_lost_and_climbs_with_the_probability() -> None:
    gate = StateGate(CONFIG)
    assert gate.state == LOST and gate.reason == "no image yet"
    assert states(gate, 0.49, 0.5, 0.89, 0.9) == [LOST, TENTATIVE, TENTATIVE, LOCALIZED]


def test_each_state_is_left_at_a_lower_probability_than_it_is_entered_with() -> None:
    gate = StateGate(CONFIG)
    assert states(gate, 0.95, 0.7, 0.69) == [LOCALIZED, LOCALIZED, TENTATIVE]
    assert states(gate, 0.89, 0.9) == [TENTATIVE, LOCALIZED]
    assert states(gate, 0.4, 0.3, 0.29) == [TENTATIVE, TENTATIVE, LOST]
    assert states(gate, 0.49, 0.5) == [LOST, TENTATIVE]


def test_goes_from_lost_to_localized_and_back_at_once() -> None:
    gate = StateGate(CONFIG)
    assert states(gate, 0.95, 0.1, 0.95) == [LOCALIZED, LOST, LOCALIZED]


@pytest.mark.parametrize("before", [0.0, 0.99])
def test_a_probable_pose_that_is_not_well_known_is_not_localized(before: float) -> None:
    gate = StateGate(CONFIG)
    states(gate, before)
    assert gate.update(belief(0.99, deviation_m=2.5)) == TENTATIVE
    assert gate.reason.endswith("but the position is known to 2.5 m only")


def test_a_pose_becomes_localized_once_it_has_been_followed() -> None:
    gate = StateGate(CONFIG)
    assert gate.update(belief(0.99, followed_m=9.0)) == TENTATIVE
    assert gate.reason.endswith("but it has been followed for 9 m only")
    assert gate.update(belief(0.99, followed_m=10.0)) == LOCALIZED


def test_reasons_name_where_else_the_camera_may_be() -> None:
    gate = StateGate(CONFIG)
    gate.update(belief(0.6, off_map=0.1))
    assert gate.reason == "the pose is right with 60% (off the map 10%, elsewhere 30%)"
    gate.update(belief(0.2, off_map=0.75))
    assert gate.reason == (
        "the camera is probably not on the map (75%); the pose is right with 20%"
    )


def test_other_thresholds_hold_from_the_next_belief_on() -> None:
    gate = StateGate(CONFIG)
    assert states(gate, 0.85) == [TENTATIVE]
    gate.use(StateConfig(localized_probability=0.8, doubted_probability=0.7))
    assert gate.state == TENTATIVE
    assert states(gate, 0.85) == [LOCALIZED]


def test_reset_becomes_lost_without_hysteresis() -> None:
    gate = StateGate(CONFIG)
    states(gate, 0.95)
    gate.reset()
    assert gate.state == LOST and gate.reason == "no image yet"
    assert states(gate, 0.8) == [TENTATIVE]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"lost_probability": 0.9}, "must rise in this order"),
        ({"localized_probability": 1.5}, "from 0 to 1"),
        ({"lost_probability": -0.1}, "from 0 to 1"),
        ({"max_age_s": 0.0}, r"state\.max_age_s.* must be positive"),
        ({"max_deviation_m": 0.0}, "must be positive"),
        ({"min_distance_m": -1.0}, "min_distance_m not negative"),
    ],
)
def test_invalid_thresholds(values: dict[str, float], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        StateConfig(**values)


def test_a_pose_that_few_images_name_by_themselves_is_not_localized() -> None:
    gate = StateGate(StateConfig(min_named=0.7))
    assert gate.update(belief(0.99, named=0.69)) == TENTATIVE
    assert "only 69% of the last images name it" in gate.reason
    assert gate.update(belief(0.99, named=0.7)) == LOCALIZED
    with pytest.raises(ConfigError, match="min_named"):
        StateConfig(min_named=1.5)
