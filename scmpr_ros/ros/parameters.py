"""Declare ROS parameters from a (nested) frozen dataclass, and read them back into it.

The dataclass is the only home of names, defaults, types and checks. Parameters are declared with
dynamic typing because `config.from_dict` checks types better than ROS: it accepts `1` for a float,
and its message names the parameter and what is allowed. Parameters of a configured node are fixed:
clean it up (lifecycle), set them, and configure it again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar

from rcl_interfaces.msg import ParameterDescriptor, SetParametersResult
from rclpy.node import Node
from rclpy.parameter import Parameter

from scmpr_ros.config import descriptions, flatten, from_dict, unflatten
from scmpr_ros.errors import ConfigError

T = TypeVar("T")

# Parameters that rclpy declares itself, or that configure it.
_OF_RCLPY = ("use_sim_time", "start_type_description_service", "qos_overrides.")


class NodeParameters(Generic[T]):
    """The parameters of one node as one dataclass."""

    def __init__(self, node: Node, cls: type[T], frozen: Callable[[], bool] = lambda: True):
        """Declare all fields of `cls` on `node` and check the node's overrides.

        The node must be created with `automatically_declare_parameters_from_overrides=True`, the
        only public way to learn of overrides that are not declared.
        frozen: called when a parameter is set; returns True to refuse it.
        Raises ConfigError for an unknown parameter, a wrong type, or a value that `cls` refuses.
        """
        self._node, self._cls, self._frozen = node, cls, frozen
        defaults = flatten(cls())
        texts = descriptions(cls)
        self._names = list(defaults)
        given = self._take_overrides()
        from_dict(cls, unflatten(given), source=self._source)
        for name, default in defaults.items():
            descriptor = ParameterDescriptor(description=texts[name], dynamic_typing=True)
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
        if ours and self._frozen():
            return SetParametersResult(
                successful=False,
                reason=f"{', '.join(ours)}: fixed while the node is configured; clean it up first",
            )
        try:
            from_dict(self._cls, unflatten(self._values() | ours), source=self._source)
        except ConfigError as error:
            return SetParametersResult(successful=False, reason=str(error))
        return SetParametersResult(successful=True)


def _value(parameter: Parameter) -> Any:
    """Return a parameter's value, arrays as lists: rclpy gives `array.array` and tuples."""
    value = parameter.value
    return value if value is None or isinstance(value, (bool, int, float, str)) else list(value)
