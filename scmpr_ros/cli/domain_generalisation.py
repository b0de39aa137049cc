"""`domain_generalisation`: what pretraining is worth in other light and weather."""

from __future__ import annotations

import sys

from scmpr_ros.cli.training_command import run_experiment_command
from scmpr_ros.training.domain_generalisation import DomainConfig, measure_domain_generalisation

_DESCRIPTION = """Train image encoders, with and without contrastive pretraining on camera and
LiDAR, to segment images of clear days, and measure mIoU there and by night, in fog, rain and
winter. Writes the table of mIoU and of their quotient, rPD. Finished runs are skipped and
interrupted ones resume. config/domain_generalisation.yaml holds the rows."""


def main(arguments: list[str] | None = None) -> int:
    """Entry point of the console script."""
    return run_experiment_command(
        "domain_generalisation", _DESCRIPTION, DomainConfig, measure_domain_generalisation,
        arguments, " and results.json",
    )  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
