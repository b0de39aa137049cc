"""Published numbers, to print beside ours.

Values are as printed in the papers. The papers often do not state their protocols, so the numbers
give an impression only; a fair comparison runs both methods in this harness.
"""

from __future__ import annotations

from collections.abc import Mapping

_SCM_PR = "SCM-PR (arXiv 2509.13474)"

RECALL_AT_1: Mapping[str, Mapping[str, float]] = {
    "kitti": {"LC2": 41.86, "I2P-Rec": 43.67, "VXP": 58.91, "ModaLink": 61.22, _SCM_PR: 62.58},
    "kitti360": {"LC2": 34.77, "I2P-Rec": 37.86, "VXP": 49.54, "ModaLink": 52.18, _SCM_PR: 53.45},
}
"""Percent, tables 1 and 2 of SCM-PR: KITTI and KITTI-360, within "e.g. 5 meters"."""

ABLATION: Mapping[str, float] = {
    "no semantics": 57.35, "+ SAFF": 59.81, "+ attention": 61.05, "+ consistency loss": 62.58,
}  # fmt: skip
"""Percent, table 3 of SCM-PR; each row adds a module, the last is the full model."""

CONDITIONS: Mapping[str, Mapping[str, float]] = {
    "ModaLink": {"night": 39.55, "winter": 40.21}, _SCM_PR: {"night": 43.19, "winter": 44.50},
}  # fmt: skip
"""Percent, section 4.5 of SCM-PR, on subsets of KITTI-360."""

LATENCY_MS: Mapping[str, float] = {
    "RGB branch": 19.0, "LiDAR branch": 26.3, "matching": 1.2, "total": 46.5,
}  # fmt: skip
"""Figure 3 of SCM-PR: means of 1,000 KITTI queries on an A100."""
