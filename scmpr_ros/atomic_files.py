"""Files and folders that are whole, or not there: written under another name, then renamed; and
folders that one process has to itself."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from scmpr_ros.errors import ConfigError, DatasetError


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Give a path to write to, which becomes `path` at the end; its folder is made if missing.

    Where writing fails nothing is left, and what `path` held before stays.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_file(path: Path, data: bytes | str) -> None:
    """Write bytes, or text as UTF-8."""
    with atomic_write(path) as temporary:
        temporary.write_bytes(data.encode() if isinstance(data, str) else data)


def write_json(path: Path, content: object) -> None:
    """Write JSON for people and programs; what JSON does not know, such as a path, as text.

    Raises ValueError for NaN and infinity, which JSON has no words for.
    """
    write_file(path, json.dumps(content, indent=2, default=str, allow_nan=False) + "\n")


@contextmanager
def atomic_directory(path: Path, workplace: Path | None = None) -> Iterator[Path]:
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


@contextmanager
def exclusive_lock(folder: Path, wait: bool = False) -> Iterator[None]:
    """Work in a folder, made if missing, in which no other process does so at the same time.

    Where one does, `wait` for it, or raise ConfigError. A process that was killed holds nothing.
    """
    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder, os.O_RDONLY)
    try:
        _lock(handle, folder, wait)
        yield
    finally:
        os.close(handle)


def _lock(handle: int, folder: Path, wait: bool) -> None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError as error:
        raise ConfigError(
            f"another process is at work in {folder}: wait for it, or choose another folder"
        ) from error
