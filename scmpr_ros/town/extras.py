"""Heavy packages of the simulator, imported on first use: numba (extra `town`) and Open3D."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

from scmpr_ros.errors import ConfigError

_PACKAGES = ("numba", "open3d")


def import_extra(name: str) -> ModuleType:
    """Import a package; ConfigError with the remedy if it is missing or does not load."""
    try:
        return import_module(name)
    except (ImportError, OSError) as error:  # OSError: a system library is missing
        raise ConfigError(
            f'making towns needs {name}: pip install "scmpr_ros[town]" ({error})'
        ) from error


def check_extras() -> None:
    """Raise ConfigError now rather than after minutes of work if a package is missing."""
    for name in _PACKAGES:
        import_extra(name)
