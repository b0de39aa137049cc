"""Files and folders that are whole, or not there: written under another name, then renamed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from scmpr_ros.errors import DatasetError


def write_file(path: Path, data: bytes) -> None:
    """Write a file, in a folder that is made where it is missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_bytes(data)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def new_folder(path: Path, workplace: Path | None = None) -> Iterator[Path]:
    """Give a path to write to, of the same name as `path`, which the folder has afterwards.

    workplace: a folder that holds it until then, on the same disk; by default one beside `path`.
    Where writing fails nothing is left. Raises DatasetError where `path` exists.
    """
    if path.exists():
        raise DatasetError(f"{path} exists already: remove it, or choose another name")
    workplace = workplace or path.with_name(f".{path.name}.partial")
    shutil.rmtree(workplace, ignore_errors=True)  # of a process that was killed
    is_first = not workplace.parent.exists()
    workplace.mkdir(parents=True)
    try:
        yield workplace / path.name
        path.parent.mkdir(parents=True, exist_ok=True)
        os.replace(workplace / path.name, path)
    finally:
        shutil.rmtree(workplace, ignore_errors=True)
        if is_first and not any(workplace.parent.iterdir()):
            workplace.parent.rmdir()
