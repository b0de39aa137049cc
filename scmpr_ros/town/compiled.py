"""Loops over rays and hits, compiled by numba on their first call.

Machine code is cached in ~/.cache/scmpr_ros (or where NUMBA_CACHE_DIR says), in a folder named
after the sources: numba does not notice that a called function changed, nor that an older version
of this package left code behind.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, cached_property, update_wrapper
from pathlib import Path
from threading import Lock
from types import ModuleType
from typing import Any, TypeVar

from scmpr_ros import semantics
from scmpr_ros.atomic_files import cache_folder
from scmpr_ros.errors import ConfigError
from scmpr_ros.town.extras import import_extra

Function = TypeVar("Function", bound=Callable)

_cache_dir_lock = Lock()


@cache
def sources_digest() -> str:
    """Digest of the sources of the town and its classes: changes whenever the looks may change."""
    digest = hashlib.sha256()
    for source in [*sorted(Path(__file__).parent.rglob("*.py")), Path(semantics.__file__)]:
        digest.update(source.read_bytes())
    return digest.hexdigest()[:16]


def compiled(function: Function) -> Function:
    """Compile a function of numpy arrays and numbers on its first call.

    Floating point follows numpy: no error on division by zero, and no reordering of sums, so
    results do not depend on the machine.
    """
    return _Compiled(function)  # type: ignore[return-value]


class _Compiled:
    """A function that compiles itself when it is called, or when its caller is compiled."""

    def __init__(self, function: Callable) -> None:
        update_wrapper(self, function)
        self._function = function

    @cached_property
    def _dispatcher(self) -> Any:
        numba = import_extra("numba")
        with _our_cache_dir(numba):
            return numba.njit(cache=True, error_model="numpy", nogil=True)(self._function)

    @property
    def _numba_type_(self) -> Any:
        """Numba's protocol for values that compiled functions refer to."""
        return self._dispatcher._numba_type_

    def __call__(self, *arguments: Any) -> Any:
        return self._dispatcher(*arguments)


@contextmanager
def _our_cache_dir(numba: ModuleType) -> Iterator[None]:
    """Let functions declared in this block cache in our folder, unless NUMBA_CACHE_DIR is set."""
    with _cache_dir_lock:
        before = numba.config.CACHE_DIR
        numba.config.CACHE_DIR = before or _cache_folder()
        try:
            yield
        finally:
            numba.config.CACHE_DIR = before


def _cache_folder() -> str:
    """The user's folder for these sources; empty (numba's own choice) for a user without a home."""
    try:
        return str(cache_folder() / f"town-{sources_digest()}")
    except ConfigError:
        return ""
