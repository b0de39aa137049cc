"""`compare_methods`: all methods of the papers, trained and measured side by side."""

from __future__ import annotations

import sys

from rich.console import Console
from rich.markdown import Markdown

from scmpr_ros.cli.training_command import chosen_method, run_training_command
from scmpr_ros.training.method_comparison import (
    ComparisonConfig,
    compare_methods,
    comparison_config_class,
)

_DESCRIPTION = """Train several place recognition methods on the same recordings with every seed,
measure them on the same queries, and write the paper's tables and figures with paired differences.
Finished runs are skipped and interrupted ones resume. config/rivals.yaml compares SCM-PR with LC2,
I2P-Rec, VXP, ModaLink and LIP-Loc. Select methods with --only '[SCM-PR, VXP]'."""


def main(arguments: list[str] | None = None) -> int:
    """Entry point of the console script."""
    return run_training_command(
        "compare_methods", _DESCRIPTION,
        lambda: comparison_config_class(chosen_method(arguments)), _compare, arguments,
        "start it again to resume",
    )  # fmt: skip


def _compare(config: ComparisonConfig) -> None:
    path = compare_methods(config)
    Console().print(Markdown(path.read_text()), f"written to {path}, results.json and figures")


if __name__ == "__main__":
    sys.exit(main())
