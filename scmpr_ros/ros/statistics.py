"""Counts and latencies of the localizer, as diagnostic messages."""

from __future__ import annotations

from collections import Counter, deque

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from std_msgs.msg import Header

_OUTCOMES = ("received", "localized", "dropped", "failed")
_LEVELS = {"ok": DiagnosticStatus.OK, "warn": DiagnosticStatus.WARN,
           "error": DiagnosticStatus.ERROR}  # fmt: skip


class Statistics:
    """What happened to the images since the node was configured."""

    def __init__(self, window: int = 200) -> None:
        """window: how many latencies the percentiles look back on."""
        self.count: Counter[str] = Counter()
        self.last_error = ""
        self._latency_s: deque[float] = deque(maxlen=window)

    def localized(self, latency_s: float) -> None:
        """An image was answered, `latency_s` after it was received."""
        self.count["localized"] += 1
        self.last_error = ""
        self._latency_s.append(latency_s)

    def failed(self, error: str) -> None:
        """An image could not be answered."""
        self.count["failed"] += 1
        self.last_error = error

    def message(self, header: Header, name: str, state: str, problem: str) -> DiagnosticArray:
        """One DiagnosticArray; the level follows from the problem, the last error and the state.

        problem: why no image can be answered now (no map, no camera_info), or empty.
        """
        level = "error" if problem or self.last_error else "ok" if state == "LOCALIZED" else "warn"
        values = {f"images {outcome}": str(self.count[outcome]) for outcome in _OUTCOMES}
        values["state"] = state
        if self._latency_s:
            p50, p95 = np.percentile(np.array(self._latency_s), (50, 95)) * 1e3
            values |= {"latency p50 (ms)": f"{p50:.1f}", "latency p95 (ms)": f"{p95:.1f}"}
        status = DiagnosticStatus(
            level=_LEVELS[level], name=f"{name}: localization", hardware_id="camera",
            message=problem or self.last_error or state,
            values=[KeyValue(key=key, value=value) for key, value in values.items()],
        )  # fmt: skip
        return DiagnosticArray(header=header, status=[status])
