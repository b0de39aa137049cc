"""Counts and latencies of the localizer, as diagnostic messages."""

from __future__ import annotations

from collections import Counter, deque

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from std_msgs.msg import Header

from scmpr_ros.pipeline.states import LOCALIZED

_OUTCOMES = ("received", "localized", "dropped", "failed")
OK, WARN, ERROR, STALE = (
    DiagnosticStatus.OK,
    DiagnosticStatus.WARN,
    DiagnosticStatus.ERROR,
    DiagnosticStatus.STALE,
)


class Statistics:
    """Outcomes of the images received since the node was configured."""

    def __init__(self, window: int = 200) -> None:
        """window: number of recent latencies that the percentiles cover."""
        self.count: Counter[str] = Counter()
        self.last_error = ""
        self._latency_s: deque[float] = deque(maxlen=window)

    def localized(self, latency_s: float) -> None:
        """Count an image that was answered `latency_s` after it was received."""
        self.count["localized"] += 1
        self.last_error = ""
        self._latency_s.append(latency_s)

    def failed(self, error: str) -> None:
        """Count an image that could not be answered."""
        self.count["failed"] += 1
        self.last_error = error

    def health(
        self, state: str, reason: str, age_s: float | None, max_age_s: float
    ) -> tuple[bytes, str]:
        """Return level and message of a localizer that has a map and a camera.

        reason: for the state, in words. age_s: time since the last answer; None without one.
        """
        if self.last_error:
            return ERROR, self.last_error
        if age_s is None:
            return WARN, f"{state}: no image localised yet"
        if age_s > max_age_s:
            return STALE, f"{state}: no image localised for {age_s:.0f} s"
        return (OK if state == LOCALIZED else WARN), f"{state}: {reason}"

    def message(
        self, header: Header, node: str, health: tuple[bytes, str], values: dict[str, str]
    ) -> DiagnosticArray:
        """Return one DiagnosticArray.

        node: fully qualified name, which tells the robots of a fleet apart. values: to be shown
        beside counts and latencies.
        """
        counts = {f"images {outcome}": str(self.count[outcome]) for outcome in _OUTCOMES}
        values = counts | values
        latency_s = np.array(self._latency_s)
        if len(latency_s):
            p50, p95 = np.percentile(latency_s, (50, 95)) * 1e3
            values |= {"latency p50 (ms)": f"{p50:.1f}", "latency p95 (ms)": f"{p95:.1f}"}
        status = DiagnosticStatus(
            level=health[0], name=f"{node}: localization", hardware_id="camera", message=health[1],
            values=[KeyValue(key=key, value=value) for key, value in values.items()],
        )  # fmt: skip
        return DiagnosticArray(header=header, status=[status])
