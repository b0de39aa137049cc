"""The localisation state: LOST or LOCALIZED, from the confidence of the answers and their age."""

from __future__ import annotations

from dataclasses import dataclass

from scmpr_ros.errors import ConfigError

LOST, TENTATIVE, LOCALIZED = "LOST", "TENTATIVE", "LOCALIZED"


@dataclass(frozen=True)
class StateConfig:
    """Thresholds of the localisation state."""

    localized_confidence: float = 0.7
    """The state becomes LOCALIZED at this confidence or above."""
    lost_confidence: float = 0.5
    """The state becomes LOST below this confidence; between the two it does not change."""
    max_age_s: float = 5.0
    """The state becomes LOST when no image has been localised for this many seconds."""

    def __post_init__(self) -> None:
        if not self.lost_confidence <= self.localized_confidence <= 1:
            raise ConfigError(
                f"state.lost_confidence {self.lost_confidence} must not exceed "
                f"state.localized_confidence {self.localized_confidence}, which must not exceed 1"
            )
        if not self.max_age_s > 0:
            raise ConfigError(f"state.max_age_s must be positive, got {self.max_age_s}")


class StateGate:
    """State machine over confidences, with hysteresis. Times are seconds of one steady clock."""

    def __init__(self, config: StateConfig) -> None:
        self._config = config
        self._updated_s: float | None = None
        self.state = LOST

    def use(self, config: StateConfig) -> None:
        """Take other thresholds; the state changes with the next answer."""
        self._config = config

    def update(self, confidence: float, now_s: float) -> str:
        """Take the confidence of a new answer and return the state."""
        self._updated_s = now_s
        if confidence >= self._config.localized_confidence:
            self.state = LOCALIZED
        elif confidence < self._config.lost_confidence:
            self.state = LOST
        return self.state

    def age_s(self, now_s: float) -> float | None:
        """Time since the last answer; None without one."""
        return None if self._updated_s is None else now_s - self._updated_s

    def is_stale(self, now_s: float) -> bool:
        """Whether there was an answer and the last one is older than `max_age_s`."""
        age_s = self.age_s(now_s)
        return age_s is not None and age_s > self._config.max_age_s

    def expire(self, now_s: float) -> bool:
        """Become LOST if the last answer is stale; True if that changed the state."""
        if self.state == LOST or not self.is_stale(now_s):
            return False
        self.state = LOST
        return True

    def reset(self) -> None:
        """Become LOST and forget the last answer."""
        self.state = LOST
        self._updated_s = None
