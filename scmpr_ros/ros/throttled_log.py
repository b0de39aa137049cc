"""Decide which of many repeated messages are logged."""

from __future__ import annotations

import time
from collections.abc import Callable


class ThrottledLog:
    """Lets each text through once per period, and few different ones.

    rclpy throttles per line of code: there, one error hides all others of that line. Texts may
    hold numbers that always differ, hence the second limit. Not thread-safe.
    """

    def __init__(
        self, period_s: float = 30.0, max_texts: int = 10, clock: Callable[[], float] | None = None
    ) -> None:
        """max_texts: different texts per period. clock: returns steady seconds."""
        self._period_s, self._max_texts = period_s, max_texts
        self._now = clock or time.monotonic
        self._logged_s: dict[str, float] = {}

    def is_due(self, text: str) -> bool:
        """Whether to log a text now; counts it as logged if so."""
        now = self._now()
        recent = {t: s for t, s in self._logged_s.items() if now - s < self._period_s}
        self._logged_s = recent
        if text in recent or len(recent) >= self._max_texts:
            return False
        recent[text] = now
        return True
