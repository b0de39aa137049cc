"""`compare_methods`: all methods of the papers, trained and measured side by side."""

from __future__ import annotations

import sys

from scmpr_ros.cli.training_command import run_experiment_command
from scmpr_ros.training.method_comparison import ComparisonConfig, compare_methods

_DESCRIPTION = """Train several place recognition methods on the same recordings with every seed,
measure them on the same queries, and write the paper's tables and figures with paired differences.
Finished runs are skipped and interrupted ones resume. config/rivals.yaml compares SCM-PR with LC2,
I2P-Rec, VXP, ModaLink and LIP-Loc. Select methods with --only '[SCM-PR, VXP]'."""


def main(arguments: list[str] | None = None) -> int:
    """Entry point of the console script."""
    return run_experiment_command(
        "compare_methods", _DESCRIPTION, ComparisonConfig, compare_methods, arguments,
        ", results.json and figures",
    )  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
