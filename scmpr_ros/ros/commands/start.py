"""Start a node's command: quiet on Ctrl-C during the imports, and with `--help`."""

from __future__ import annotations

import importlib
import os
import signal
import sys
import textwrap

from scmpr_ros.config import descriptions, flatten

_INTERRUPTED = 130  # 128 + SIGINT, as shells report it


def start(command: str, node_module: str, config_class: str, description: str) -> int:
    """Import `scmpr_ros.ros.<node_module>` and run its `main`, or print the help.

    config_class: name of the dataclass of the node's parameters.
    """
    signal.signal(signal.SIGINT, lambda *_: os._exit(_INTERRUPTED))
    module = importlib.import_module(f"scmpr_ros.ros.{node_module}")
    arguments = sys.argv[1:]
    if "--ros-args" in arguments:
        arguments = arguments[: arguments.index("--ros-args")]
    if {"-h", "--help"} & set(arguments):
        sys.stdout.write(help_text(command, description, getattr(module, config_class)))
        return 0
    return int(module.main())


def help_text(command: str, description: str, config_class: type) -> str:
    """Usage, description, and every parameter with type, default and meaning."""
    lines = [
        f"usage: {command} [-h] [--ros-args [-p NAME:=VALUE ...] [-r FROM:=TO ...]",
        f"       {' ' * len(command)} [--params-file FILE]]",
        "",
        description.strip(),
        "",
        "parameters:",
    ]
    meanings = descriptions(config_class)
    for name, default in flatten(config_class()).items():
        lines.append(f"  {name} ({type(default).__name__}, default {default!r})")
        lines += textwrap.wrap(meanings[name], 92, initial_indent=" " * 6,
                               subsequent_indent=" " * 6)  # fmt: skip
    return "\n".join(lines) + "\n"
