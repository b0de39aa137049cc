"""Entry points of the console scripts.

Each script first looks for the packages that its extra brings. If some are missing it ends with one
line that says how to install them, instead of a traceback.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from dataclasses import dataclass

_EVALUATION = ("jsonargparse", "matplotlib", "rich")
EXTRAS: dict[str, tuple[str, ...]] = {
    "": (),
    "ros": ("rclpy",),
    "evaluation": _EVALUATION,
    "export": (*_EVALUATION, "onnx", "onnxruntime", "onnxscript"),
    "town": (*_EVALUATION, "numba", "open3d"),
    "training": (*_EVALUATION, "lightning", "tensorboard"),
}
"""Modules that an extra of `setup.py` adds to the base installation."""

NODES = ("check", "localizer", "map_loader", "play_bag", "record_answers", "soak_localizer")
COMMANDS = {
    "ablate": "training",
    "adapt": "training",
    "benchmark": "town",
    "build_map": "",
    "compare_drives": "evaluation",
    "compare_methods": "town",
    "convert": "evaluation",
    "demo": "town",
    "diagnose": "training",
    "domain_generalisation": "training",
    "edit_map": "",
    "evaluate": "evaluation",
    "export_onnx": "export",
    "inspect_map": "",
    "make_town": "town",
    "train": "training",
    "train_segmenter": "training",
    "verify_map": "",
}
"""Extra that each command needs."""


@dataclass(frozen=True)
class ConsoleScript:
    """A console script: the module whose `main` it calls, and the extra it needs."""

    name: str
    module: str
    extra: str

    def __call__(self) -> int:
        """Run the script and return its exit code."""
        try:
            missing = [module for module in EXTRAS[self.extra] if not _is_installed(module)]
            if missing:
                return self._report(missing)
            return int(importlib.import_module(self.module).main())
        except ModuleNotFoundError as error:
            package = (error.name or "").partition(".")[0]
            if package in ("", "scmpr_ros"):
                raise  # a bug, not an incomplete installation
            return self._report([package])
        except KeyboardInterrupt:  # while importing; commands handle it themselves
            print(f"\n{self.name}: stopped", file=sys.stderr)
            return 130

    def _report(self, missing: list[str]) -> int:
        verb = "is" if len(missing) == 1 else "are"
        source = "source ROS 2, or " if self.extra == "ros" else ""
        package = f"scmpr_ros[{self.extra}]" if self.extra else "scmpr_ros"
        print(
            f"{self.name}: {', '.join(missing)} {verb} not installed: "
            f'{source}pip install "{package}"',
            file=sys.stderr,
        )
        return 1


def __getattr__(name: str) -> ConsoleScript:
    """Return the entry point of a script: `from scmpr_ros.cli.console_scripts import train`."""
    if name in NODES:
        return ConsoleScript(name, f"scmpr_ros.ros.commands.{name}", "ros")
    if name in COMMANDS:
        return ConsoleScript(name, f"scmpr_ros.cli.{name}", COMMANDS[name])
    raise AttributeError(f"there is no console script {name}")


def _is_installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False
