"""How the C library hands out the memory of tensors on a CPU."""

from __future__ import annotations

import ctypes
import logging

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h
_UP_TO_BYTES = 1 << 30

_log = logging.getLogger(__name__)


def keep_freed_memory() -> None:
    """Let this process reuse the memory of freed tensors instead of giving it back each time.

    By default glibc returns large blocks to the kernel at once, and the next tensor of that size
    faults them in again, page by page: a fifth of a query's time. The price is that the process
    stays as large as it once was. For programs to call at their start; where the C library is
    another one, nothing happens.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        _log.debug("no mallopt: freed memory goes back to the system")
        return
    mallopt(_M_MMAP_THRESHOLD, _UP_TO_BYTES)
    mallopt(_M_TRIM_THRESHOLD, _UP_TO_BYTES)
