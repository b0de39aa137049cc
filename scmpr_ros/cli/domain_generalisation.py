"""`domain_generalisation`: what pretraining is worth in conditions that were not trained in."""

from __future__ import annotations

import sys

from rich.console import Console
from rich.markdown import Markdown

from scmpr_ros.cli.training_command import chosen_method, run_training_command
from scmpr_ros.training.domain_generalisation import (
    DomainConfig,
    domain_config_class,
    measure_domain_generalisation,
)

_DESCRIPTION = """Train image encoders, with and without contrastive pretraining on camera and
LiDAR, to segment images of clear days, and measure mIoU there and by night, in fog, rain and
winter. Writes the table of mIoU and of their quotient, rPD. Finished runs are skipped and
interrupted ones resume. config/domain_generalisation.yaml holds the rows."""


def main(arguments: list[str] | None = None) -> int:
    """Entry point of the console script."""
    return run_training_command(
        "domain_generalisation", _DESCRIPTION,
        lambda: domain_config_class(chosen_method(arguments)), _measure, arguments,
        "start it again to resume",
    )  # fmt: skip


def _measure(config: DomainConfig) -> None:
    path = measure_domain_generalisation(config)
    Console().print(Markdown(path.read_text()), f"written to {path} and results.json")


if __name__ == "__main__":
    sys.exit(main())
