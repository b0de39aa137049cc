"""`train_segmenter`: train the networks that classify the points of unlabelled maps."""

from __future__ import annotations

import sys

from rich import box
from rich.console import Console
from rich.table import Table

from scmpr_ros.cli.training_command import run_training_command
from scmpr_ros.evaluation.iou import named_iou
from scmpr_ros.lidar.segmentation import WEIGHTS
from scmpr_ros.training.point_segmentation import PointSegmentationConfig, fit_point_network

_DESCRIPTION = f"""Train the small networks that classify map points by geometry on labelled scans
of towns, and report the IoU on held-out towns. The weights shipped with the package are
{WEIGHTS.name} beside scmpr_ros.lidar.segmentation."""


def main(arguments: list[str] | None = None) -> int:
    """Entry point of the console script."""
    return run_training_command(
        "train_segmenter", _DESCRIPTION, lambda: PointSegmentationConfig, _fit, arguments,
        "start it again",
    )  # fmt: skip


def _fit(config: PointSegmentationConfig) -> None:
    counts = fit_point_network(config)
    table = Table(title=f"{counts.sum():,} points of held-out towns", box=box.SIMPLE_HEAD)
    table.add_column("")
    table.add_column("IoU", justify="right")
    for name, iou in named_iou(counts).items():
        table.add_row(name, f"{iou:.1%}")
    Console().print(table, f"written to {config.out}")


if __name__ == "__main__":
    sys.exit(main())
