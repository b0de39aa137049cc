"""Declare ROS parameters from a (nested) frozen dataclass, and read them back into it.

The dataclass is the only home of names, defaults, types and checks. Parameters are declared with
dynamic typing because `config.from_dict` checks types better than ROS: it accepts `1` for a float,
and its message names the parameter and what is allowed. While a node is configured, only those
parameters can be set that its dataclass names in `RUNTIME`; for others, clean it up (lifecycle),
set them, and configure it again.
"""

from __future__ import annotations

from collections.abc import Callable
from fnmatch import fnmatchcase
from typing import Any, Generic, TypeVar

from rcl_interfaces.msg import ParameterDescriptor, SetParametersResult
from rclpy.node import Node
from rclpy.parameter import Parameter

from scmpr_ros.config import descriptions, flatten, from_dict, unflatten
from scmpr_ros.errors import ConfigError

T = TypeVar("T")

_FIXED = "fixed while the node is configured"

# Parameters that rclpy declares itself, or that configure it.
_OF_RCLPY = ("use_sim_time", "start_type_description_service", "qos_overrides.")


class NodeParameters(Generic[T]):
    """The parameters of one node as one dataclass."""

    def __init__(
        self,
        node: Node,
        cls: type[T],
        frozen: Callable[[], bool] = lambda: True,
        on_change: Callable[[T], None] = lambda config: None,
    ) -> None:
        """Declare all fields of `cls` on `node` and check the node's overrides.

        The node must be created with `automatically_declare_parameters_from_overrides=True`, the
        only public way to learn of overrides that are not declared.
        frozen: called when a parameter is set; returns True to refuse all but those in
            `cls.RUNTIME`, a tuple of names, in which `*` stands for any text.
        on_change: called with the new values of parameters that were set while frozen.
        Raises ConfigError for an unknown parameter, a wrong type, or a value that `cls` refuses.
        """
        self._node, self._cls, self._frozen, self._on_change = node, cls, frozen, on_change
        defaults = flatten(cls())
        texts = descriptions(cls)
        self._names = list(defaults)
        given = self._take_overrides()
        from_dict(cls, unflatten(given), source=self._source)
        for name, default in defaults.items():
            descriptor = ParameterDescriptor(
                description=texts[name],
                dynamic_typing=True,
                additional_constraints="" if is_runtime(cls, name) else _FIXED,
            )
            value = given.get(name, default)
            node.declare_parameter(name, value, descriptor, ignore_override=True)
        node.add_on_set_parameters_callback(self._on_set)

    def read(self) -> T:
        """Return the dataclass with the current values."""
        return from_dict(self._cls, unflatten(self._values()), source=self._source)

    @property
    def _source(self) -> str:
        return f"parameters of node {self._node.get_fully_qualified_name()}"

    def _values(self) -> dict[str, Any]:
        return {p.name: _value(p) for p in self._node.get_parameters(self._names)}

    def _take_overrides(self) -> dict[str, Any]:
        """Undeclare what rclpy declared from overrides; return the values by name."""
        given = {
            name: _value(parameter)
            for name, parameter in self._node.get_parameters_by_prefix("").items()
            if not name.startswith(_OF_RCLPY)
        }
        for name in given:
            self._node.undeclare_parameter(name)
        unknown = sorted(set(given) - set(self._names))
        if unknown:
            raise ConfigError(
                f"{self._source}: unknown parameter {', '.join(map(repr, unknown))}; "
                f"allowed are: {', '.join(self._names)}"
            )
        return given

    def _on_set(self, changes: list[Parameter]) -> SetParametersResult:
        ours = {p.name: _value(p) for p in changes if p.name in self._names}
        if not ours:
            return SetParametersResult(successful=True)
        deleted = [p.name for p in changes if p.name in ours and p.type_ == Parameter.Type.NOT_SET]
        if deleted:
            return _refused(f"{', '.join(deleted)}: cannot be deleted")
        fixed = [name for name in ours if not is_runtime(self._cls, name)]
        is_frozen = self._frozen()
        if fixed and is_frozen:
            return _refused(f"{', '.join(fixed)}: {_FIXED}; clean it up first")
        try:
            config = from_dict(self._cls, unflatten(self._values() | ours), source=self._source)
        except ConfigError as error:
            return _refused(str(error))
        if is_frozen:
            self._on_change(config)
        return SetParametersResult(successful=True)


def is_runtime(cls: type, name: str) -> bool:
    """Whether a parameter of the dataclass may be set while the node is configured."""
    return any(fnmatchcase(name, pattern) for pattern in getattr(cls, "RUNTIME", ()))


def _refused(reason: str) -> SetParametersResult:
    return SetParametersResult(successful=False, reason=reason)


def _value(parameter: Parameter) -> Any:
    """Return a parameter's value, arrays as lists: rclpy gives `array.array` and tuples."""
    value = parameter.value
    return value if value is None or isinstance(value, (bool, int, float, str)) else list(value)
