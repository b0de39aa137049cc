"""`ablate`: what each module is worth, trained and measured row by row."""

from __future__ import annotations

import sys

from scmpr_ros.cli.training_command import run_experiment_command
from scmpr_ros.training.ablation import AblationConfig, ablate

_DESCRIPTION = """Train every row of an ablation with every seed, measure Recall@1 in unseen towns,
and write the table. Finished runs are skipped and interrupted ones resume. Processes and machines
can share the work: give each its own --seeds and the same --out, then run it once more with all.
Select rows with --only '[no semantics, + SAFF]'. config/ablation.yaml holds table 3 of the paper
and further rows. Rows are compared with the full model, `+ consistency loss`, image by image."""


def main(arguments: list[str] | None = None) -> int:
    """Entry point of the console script."""
    return run_experiment_command(
        "ablate", _DESCRIPTION, AblationConfig, ablate, arguments, ", .json and .png"
    )  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
