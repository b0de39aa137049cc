"""Loops over rays and hits, compiled by numba on first use.

What was compiled is kept in ~/.cache/scmpr_ros (or where NUMBA_CACHE_DIR says), in a folder named
by the sources: numba itself would trip over what older versions of this package left behind.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numba

from scmpr_ros import semantics

Function = TypeVar("Function", bound=Callable)


def _digest() -> str:
    """Of everything that a town is made from: its own sources, and the classes."""
    digest = hashlib.sha256()
    for source in [*sorted(Path(__file__).parent.rglob("*.py")), Path(semantics.__file__)]:
        digest.update(source.read_bytes())
    return digest.hexdigest()[:16]


SOURCES = _digest()
"""Changes whenever the code that makes towns does."""


def _cache_folder() -> str:
    """The user's folder for these sources; empty (numba's own choice) for a user without a home."""
    try:
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    except RuntimeError:
        return ""
    return str(cache / "scmpr_ros" / f"town-{SOURCES}")


numba.config.CACHE_DIR = numba.config.CACHE_DIR or _cache_folder()  # type: ignore[attr-defined]


def compiled(function: Function) -> Function:
    """Compile a function that knows numpy arrays and numbers only.

    Floating point follows numpy: no error on division by zero, and no reordering of sums, so that
    results do not depend on the machine.
    """
    return numba.njit(cache=True, error_model="numpy", nogil=True)(function)  # type: ignore[return-value]
