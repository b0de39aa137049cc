"""How commands end: with 0 when done, 1 and one line when something is wrong, 130 after Ctrl-C."""

from __future__ import annotations

import sys
from collections.abc import Callable
from concurrent.futures.process import BrokenProcessPool

from scmpr_ros.errors import ScmprError


def run_command(name: str, body: Callable[[], None], after_interrupt: str = "") -> int:
    """Call what a command does and return the exit code.

    What a user can mend (a `ScmprError`, a file or disk that refuses, a process that the system
    killed) is one line on stderr, without a traceback; a bug keeps its traceback.

    after_interrupt: what to know after Ctrl-C, such as how to go on.
    """
    try:
        body()
    except (ScmprError, OSError) as error:
        print(f"{name}: {error}", file=sys.stderr)
        return 1
    except BrokenProcessPool:
        print(
            f"{name}: one of its processes was killed, probably for lack of memory: "
            "try fewer of them",
            file=sys.stderr,
        )
        return 1
    except KeyboardInterrupt:
        print(f"\n{name}: stopped{f'; {after_interrupt}' if after_interrupt else ''}",
              file=sys.stderr)  # fmt: skip
        return 130
    return 0
