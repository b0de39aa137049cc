"""`ablate`: what each module is worth, trained and measured row by row."""

from __future__ import annotations

import sys

from rich.console import Console
from rich.markdown import Markdown

from scmpr_ros.cli.training_command import run_training_command
from scmpr_ros.training.ablation import AblationConfig, ablate

_DESCRIPTION = """Train every row of an ablation on every seed, measure Recall@1 in towns that no
training saw, and write the table. What is done is not done again: a run that was stopped goes on
when it is started again. So processes and machines can share the work: give each its own --seeds
and the same --out, and start it once more with all of them for the table. --only '[no semantics, +
SAFF]' takes some rows. config/ablation.yaml is table 3 of the paper and more; LIP-Loc is a row."""


def main(arguments: list[str] | None = None) -> int:
    """Entry point of the console script."""
    return run_training_command(
        "ablate", _DESCRIPTION, AblationConfig, _ablate, arguments, "start it again to go on"
    )


def _ablate(config: AblationConfig) -> None:
    path = ablate(config)
    Console().print(Markdown(path.read_text()), f"written to {path}, .json and .png")


if __name__ == "__main__":
    sys.exit(main())
