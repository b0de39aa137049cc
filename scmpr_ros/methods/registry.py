"""The methods of place recognition, by name: the one door through which all of them go.

A method is a folder `methods/<name>/` whose `__init__.py` defines `METHOD`. Nothing else knows its
name: training, checkpoints, maps, localizer and evaluation look it up here. A method that lives in
another package calls `register` before it is used.
"""

from __future__ import annotations

import importlib
import pkgutil
from dataclasses import dataclass

import scmpr_ros.methods
from scmpr_ros.errors import ConfigError
from scmpr_ros.methods.network import PlaceNetwork, PlaceNetworkConfig
from scmpr_ros.methods.objective import Objective, ObjectiveConfig


@dataclass(frozen=True)
class Method:
    """One method.

    network, config: how it describes images and places; the network is built from its config alone.
    objective, objective_config: what it learns from.
    """

    network: type[PlaceNetwork]
    config: type[PlaceNetworkConfig]
    objective: type[Objective]
    objective_config: type[ObjectiveConfig]

    @property
    def name(self) -> str:
        """As in `train --method`, and in checkpoints."""
        return self.network.method


_registered: dict[str, Method] = {}


def register(method: Method) -> None:
    """Make a method of another package known; ConfigError if its name is taken."""
    if method.name in method_names():
        raise ConfigError(f"there is a method {method.name!r} already: choose another name")
    _registered[method.name] = method


def unregister(name: str) -> None:
    """Forget a method that was registered."""
    _registered.pop(name, None)


def find_method(name: str) -> Method:
    """The method of a name; ConfigError that lists all where there is none."""
    if name in _registered:
        return _registered[name]
    if name not in _folders():
        raise ConfigError(f"no method {name!r}; there are {', '.join(method_names())}")
    method: Method = importlib.import_module(f"scmpr_ros.methods.{name}").METHOD
    return method


def method_names() -> list[str]:
    """Names of all methods."""
    return [*_folders(), *_registered]


def _folders() -> list[str]:
    found = pkgutil.iter_modules(scmpr_ros.methods.__path__)
    return sorted(module.name for module in found if module.ispkg)
