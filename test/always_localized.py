"""Parameters of the localizer node for images of noise."""

from __future__ import annotations

ALWAYS_LOCALIZED = {
    "tracking.state.localized_probability": 0.0,
    "tracking.state.doubted_probability": 0.0,
    "tracking.state.tentative_probability": 0.0,
    "tracking.state.lost_probability": 0.0,
    "tracking.state.max_deviation_m": 1e9,
    "tracking.state.min_distance_m": 0.0,
    "tracking.state.min_named": 0.0,
}
"""With these, every image is LOCALIZED."""
