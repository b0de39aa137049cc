"""Decompress LZF, the compression of binary PCD files.

The format is that of liblzf (Marc Lehmann). A control byte below 32 is followed by that many bytes
and one more to copy. Any other holds the length of a match in its upper three bits (7: the next
byte is added) and, with the byte after, how far back the match starts, at most 8 KiB.
"""

from __future__ import annotations

from mmap import mmap
from typing import BinaryIO

_WINDOW = 1 << 13
_FLUSH = 1 << 20
MAX_RATIO = 88
"""A match of three bytes gives 264 bytes at most."""


def decompress(data: bytes | mmap, at: int, target: BinaryIO, limit: int) -> int:
    """Write what LZF data holds, from byte `at` to its end, to `target`; return the size in bytes.

    Raises ValueError for data that ends in the middle, points before its beginning, or gives more
    than `limit` bytes.
    """
    out, flushed, end = bytearray(), 0, len(data)
    try:
        while at < end:
            control = data[at]
            at += 1
            if control < 32:
                stop = at + control + 1
                if stop > end:
                    raise ValueError("LZF data ends within a literal")
                out += data[at:stop]
                at = stop
            else:
                length = (control >> 5) + 2
                if length == 9:
                    length += data[at]
                    at += 1
                back = ((control & 31) << 8) + data[at] + 1
                at += 1
                start = len(out) - back
                if start < 0:
                    raise ValueError("LZF data refers to what is before its beginning")
                if back >= length:
                    out += out[start : start + length]
                else:  # the match overlaps what it produces: a repeated pattern
                    out += (out[start:] * (length // back + 1))[:length]
            if len(out) > _FLUSH:
                target.write(out[:-_WINDOW])
                flushed += len(out) - _WINDOW
                out = out[-_WINDOW:]  # appending to a shortened bytearray would copy it
                if flushed > limit:
                    raise ValueError("LZF data gives more than its header promises")
    except IndexError:
        raise ValueError("LZF data ends within a match") from None
    target.write(out)
    return flushed + len(out)
