"""Colours of localisation states, the same in figures and in recordings."""

from __future__ import annotations

from scmpr_ros.pipeline.states import LOCALIZED, LOST, TENTATIVE

STATE_COLOURS = {LOST: "#d1352b", TENTATIVE: "#e0a100", LOCALIZED: "#0a8f5b"}
"""Hexadecimal RGB of each state, from the least to the most certain."""
