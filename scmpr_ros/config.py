"""Strict conversion between YAML and (nested) frozen dataclasses.

Defaults live in the dataclass, and its `__post_init__` validates values. This module checks names
and types: an unknown key or a value of another type raises a `ConfigError` that names the file, the
dotted key and what is allowed. The only conversions are from integers to floats, lists to tuples
and strings to paths.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import re
import textwrap
import types
import typing
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import yaml

from scmpr_ros.atomic_files import write_file
from scmpr_ros.errors import ConfigError

T = TypeVar("T")


def load_yaml(cls: type[T], path: Path) -> T:
    """Read the dataclass `cls` from a YAML file; missing keys keep their defaults."""
    try:
        mapping = yaml.load(Path(path).read_text(), Loader=_StrictLoader)
    except OSError as error:
        raise ConfigError(f"{path}: cannot read the configuration: {error.strerror}") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: not valid YAML: {error}") from None
    return from_dict(cls, {} if mapping is None else mapping, source=str(path))


def save_yaml(instance: Any, path: Path) -> None:
    """Write a dataclass as YAML."""
    write_file(path, yaml.safe_dump(to_dict(instance), sort_keys=False))


def from_dict(cls: type[T], mapping: Mapping[str, Any], source: str = "configuration") -> T:
    """Build the dataclass `cls` from nested mappings.

    source: where the mapping came from, for error messages.
    """
    return _build(cls, mapping, source, "")


def to_dict(instance: Any) -> dict[str, Any]:
    """Convert to nested dicts of plain YAML types; the inverse of `from_dict`."""
    return {f.name: _plain(getattr(instance, f.name)) for f in dataclasses.fields(instance)}


def flatten(instance: Any) -> dict[str, Any]:
    """Return `{dotted key: plain value}` of all leaves, in field order."""
    leaves: dict[str, Any] = {}
    for field in dataclasses.fields(instance):
        value = getattr(instance, field.name)
        if dataclasses.is_dataclass(value):
            leaves |= {f"{field.name}.{key}": leaf for key, leaf in flatten(value).items()}
        else:
            leaves[field.name] = _plain(value)
    return leaves


def unflatten(leaves: Mapping[str, Any]) -> dict[str, Any]:
    """Nest `{dotted key: value}` for `from_dict`; the inverse of `flatten`."""
    nested: dict[str, Any] = {}
    for dotted, value in leaves.items():
        *parents, name = dotted.split(".")
        node = nested
        for parent in parents:
            node = node.setdefault(parent, {})
        node[name] = value
    return nested


def descriptions(cls: type) -> dict[str, str]:
    """Return `{dotted key: description}` of the fields of `cls`.

    A description is the string after the field, else the line `name: text` in the docstring of the
    class, else empty; inherited fields keep theirs.
    """
    documented: dict[str, str] = {}
    for base in filter(dataclasses.is_dataclass, reversed(cls.__mro__)):
        documented |= _documented_lines(base) | _strings_after_fields(base)
    hints = typing.get_type_hints(cls)
    result: dict[str, str] = {}
    for field in dataclasses.fields(cls):
        nested = hints[field.name]
        if dataclasses.is_dataclass(nested) and isinstance(nested, type):
            result |= {f"{field.name}.{key}": d for key, d in descriptions(nested).items()}
        else:
            result[field.name] = documented.get(field.name, "")
    return result


class _StrictLoader(yaml.SafeLoader):
    """Safe YAML that rejects duplicate keys and reads `1e-3` as a number."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for key in keys:
            if keys.count(key) > 1:
                raise yaml.constructor.ConstructorError(
                    None, None, f"key {key!r} is given twice", node.start_mark
                )
        return super().construct_mapping(node, deep)


_StrictLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+$"), list("-+0123456789")
)


def _build(cls: type[T], mapping: Any, source: str, prefix: str) -> T:
    if not isinstance(mapping, Mapping):
        where = prefix.rstrip(".") or "the top level"
        raise ConfigError(f"{source}: {where} should be a mapping, got {mapping!r}")
    hints = typing.get_type_hints(cls)
    names = [f.name for f in dataclasses.fields(cls) if f.init]  # type: ignore[arg-type]
    for key in mapping:
        if key not in names:
            allowed = ", ".join(prefix + name for name in names)
            raise ConfigError(f"{source}: unknown key '{prefix}{key}'; allowed are: {allowed}")
    values = {
        key: _convert(hints[key], value, source, prefix + key) for key, value in mapping.items()
    }
    missing = [
        f.name
        for f in dataclasses.fields(cls)  # type: ignore[arg-type]
        if f.init and f.name not in values
        and f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
    ]  # fmt: skip
    if missing:
        raise ConfigError(f"{source}: '{prefix}{missing[0]}' is missing and has no default")
    try:
        return cls(**values)
    except ConfigError as error:
        raise ConfigError(f"{source}: {error}") from None


def _convert(hint: Any, value: Any, source: str, key: str) -> Any:
    """Check a value against a type hint, with the conversions listed in the module docstring."""
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        return value if isinstance(value, hint) else _build(hint, value, source, f"{key}.")
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in arguments:
            return None
        (inner,) = (a for a in arguments if a is not type(None))
        return _convert(inner, value, source, key)
    if origin is typing.Literal and value in arguments:
        return value
    if origin in (tuple, list) and isinstance(value, (list, tuple)):
        if origin is list or arguments[-1] is Ellipsis:
            return origin(_convert(arguments[0], v, source, f"{key}[{i}]")
                          for i, v in enumerate(value))  # fmt: skip
        if len(arguments) == len(value):
            return tuple(
                _convert(a, v, source, f"{key}[{i}]")
                for i, (a, v) in enumerate(zip(arguments, value, strict=True))
            )
    if origin is None:
        if hint is float and isinstance(value, int) and not isinstance(value, bool):
            return float(value)
        if hint is Path and isinstance(value, str):
            return Path(value)
        if isinstance(value, hint) and not (hint is int and isinstance(value, bool)):
            return value
    raise ConfigError(f"{source}: '{key}' should be {_type_name(hint)}, got {value!r}")


def _type_name(hint: Any) -> str:
    if typing.get_origin(hint) is typing.Literal:
        return "one of " + ", ".join(repr(a) for a in typing.get_args(hint))
    return hint.__name__ if isinstance(hint, type) and not typing.get_args(hint) else str(hint)


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return to_dict(value)
    if isinstance(value, (tuple, list)):
        return [_plain(v) for v in value]
    return str(value) if isinstance(value, Path) else value


@cache  # reads and parses the source of the class
def _strings_after_fields(cls: type) -> dict[str, str]:
    try:
        (tree,) = ast.parse(textwrap.dedent(inspect.getsource(cls))).body
    except (OSError, TypeError):  # no source, as for a class defined interactively
        return {}
    assert isinstance(tree, ast.ClassDef)
    found: dict[str, str] = {}
    for field, text in zip(tree.body, tree.body[1:], strict=False):
        if not (isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)):
            continue
        if isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant):
            found[field.target.id] = " ".join(str(text.value.value).split())
    return found


def _documented_lines(cls: type) -> dict[str, str]:
    """Fields described in the docstring as `name: text` or `name, name: text`.

    The text continues on indented lines.
    """
    pattern = r"^(\w+(?:, \w+)*): (.+(?:\n {2,}\S.*)*)"
    entries = re.findall(pattern, inspect.getdoc(cls) or "", re.MULTILINE)
    return {name: " ".join(text.split()) for names, text in entries for name in names.split(", ")}
