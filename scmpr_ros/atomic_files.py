"""Atomic writes of files and folders, locks on folders, and the user's cache folder.

A file or folder is written under a temporary name and renamed when it is complete.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from scmpr_ros.errors import ConfigError, DatasetError

# From linux/fs.h and fcntl.h.
_RENAME_EXCHANGE = 2
_AT_FDCWD = -100


def cache_folder() -> Path:
    """Return the folder for compiled code: `scmpr_ros` in $XDG_CACHE_HOME or ~/.cache.

    Raises ConfigError for a user without a home folder, as in some containers.
    """
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "scmpr_ros"
    except RuntimeError as error:
        raise ConfigError("no home folder for a cache: set XDG_CACHE_HOME") from error


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Give a temporary path to write to, and rename it to `path` at the end.

    Missing parent folders are created. On failure the temporary file is removed and `path` keeps
    its old content.
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
    """Write indented JSON; types unknown to JSON, such as paths, are written as text.

    Raises ValueError for NaN and infinity, which JSON cannot represent.
    """
    write_file(path, json.dumps(content, indent=2, default=str, allow_nan=False) + "\n")


@contextmanager
def atomic_directory(
    path: Path, workplace: Path | None = None, replace: bool = False
) -> Iterator[Path]:
    """Give a path at which to create a folder, and rename it to `path` at the end.

    workplace: folder that holds the new one until then, on the same disk; by default
        `.NAME.partial` beside `path`. It is locked while in use, and removed at the end. What a
        killed process left in it is removed first.
    replace: replace an existing folder. Readers always find either the old folder or the new one,
        complete, if the file system can exchange two names (local Linux file systems can, NFS
        cannot: there, `path` is missing between two renames). While another process replaces the
        same folder, wait for it.

    On failure nothing is left behind, and an existing `path` is unchanged. Raises DatasetError if
    `path` exists (with `replace`: if it is not a folder), and ConfigError if another process is
    writing it.
    """
    path = Path(path)
    if os.path.lexists(path) and not replace:
        raise _exists_already(path)
    if path.exists() and not path.is_dir():
        raise DatasetError(f"{path} is not a folder: remove it, or choose another name")
    workplace = workplace or path.with_name(f".{path.name}.partial")
    creates_parent = not workplace.parent.exists()
    try:
        with exclusive_lock(workplace, wait=replace):
            _clear(workplace, path)
            try:
                yield workplace / path.name
                path.parent.mkdir(parents=True, exist_ok=True)
                _publish(workplace / path.name, path, replace)
            finally:
                shutil.rmtree(workplace, ignore_errors=True)
    finally:
        if creates_parent:
            with suppress(OSError):  # not empty
                workplace.parent.rmdir()


@contextmanager
def exclusive_lock(folder: Path, wait: bool = False) -> Iterator[None]:
    """Lock a folder against other processes, creating it if missing.

    wait: wait until the folder is free; otherwise raise ConfigError if it is locked. The lock of a
        killed process is released.
    """
    handle = _open_locked(folder, wait)
    try:
        yield
    finally:
        os.close(handle)


def _open_locked(folder: Path, wait: bool) -> int:
    """Open and lock a folder; again if its last user removed it in the meantime."""
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        with suppress(FileNotFoundError):
            handle = os.open(folder, os.O_RDONLY)
            try:
                _lock(handle, folder, wait)
                if os.path.samestat(os.fstat(handle), folder.stat()):
                    return handle
            except BaseException:
                os.close(handle)
                raise
            os.close(handle)


def _lock(handle: int, folder: Path, wait: bool) -> None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError as error:
        raise ConfigError(
            f"another process is at work in {folder}: wait for it, or choose another folder"
        ) from error


def _exists_already(path: Path) -> DatasetError:
    return DatasetError(f"{path} exists already: remove it, or choose another name")


def _replaced(workplace: Path, path: Path) -> Path:
    """Where the old folder waits for its removal if names cannot be exchanged."""
    return workplace / f"{path.name}.replaced"


def _clear(workplace: Path, path: Path) -> None:
    """Remove what a killed process left, and restore the folder that it was about to replace."""
    if not os.path.lexists(path) and _replaced(workplace, path).is_dir():
        path.parent.mkdir(parents=True, exist_ok=True)
        os.rename(_replaced(workplace, path), path)
    for leftover in workplace.iterdir():
        if leftover.is_dir() and not leftover.is_symlink():
            shutil.rmtree(leftover)
        else:
            leftover.unlink()


def _publish(finished: Path, path: Path, replace: bool) -> None:
    """Give a finished folder its final name."""
    try:
        os.rename(finished, path)
        return
    except OSError as error:  # a folder cannot be renamed over a file, link or non-empty folder
        if error.errno not in (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR):
            raise
        if not replace:
            raise _exists_already(path) from error
    if _exchange(finished, path):
        return
    replaced = _replaced(finished.parent, path)
    os.rename(path, replaced)
    try:
        os.rename(finished, path)
    except BaseException:
        os.rename(replaced, path)
        raise


def _exchange(first: Path, second: Path) -> bool:
    """Exchange two names in one step; return False if the system or file system cannot."""
    try:
        renameat2 = ctypes.CDLL(None, use_errno=True).renameat2
    except (AttributeError, OSError, TypeError):  # not Linux, or an old C library
        return False
    paths = os.fsencode(first), os.fsencode(second)
    if renameat2(_AT_FDCWD, paths[0], _AT_FDCWD, paths[1], _RENAME_EXCHANGE) == 0:
        return True
    code = ctypes.get_errno()
    if code in (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP):
        return False
    raise OSError(code, os.strerror(code), str(first), None, str(second))
