"""Exit codes of commands: 0 on success, 1 with a one-line error, 130 after Ctrl-C."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from concurrent.futures.process import BrokenProcessPool

from scmpr_ros.errors import ScmprError


def show_log(level: int = logging.WARNING) -> None:
    """Print log lines to stderr, and always what the readers of recordings choose and leave out."""
    logging.basicConfig(level=level, format="%(levelname)s %(message)s")
    logging.getLogger("scmpr_ros.datasets").setLevel(logging.INFO)


def run_command(name: str, body: Callable[[], None], after_interrupt: str = "") -> int:
    """Run the body of a command and return the exit code.

    Errors that a user can fix (a `ScmprError`, a file or disk error, a killed worker process) are
    printed to stderr in one line, without a traceback; bugs keep their traceback.

    after_interrupt: hint to print after Ctrl-C, such as how to continue.
    """
    try:
        body()
    except (ScmprError, OSError) as error:
        print(f"{name}: {error}", file=sys.stderr)
        return 1
    except BrokenProcessPool:
        print(
            f"{name}: a worker process was killed, probably for lack of memory: use fewer",
            file=sys.stderr,
        )
        return 1
    except KeyboardInterrupt:
        print(f"\n{name}: stopped{f'; {after_interrupt}' if after_interrupt else ''}",
              file=sys.stderr)  # fmt: skip
        return 130
    return 0
