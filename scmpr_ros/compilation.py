"""Compile a C++ kernel on first use and cache the library for this machine.

The library is stored in the user's cache folder, under a name derived from the source, the compiler
and the processor's vector instructions. Failures are cached as text files with the compiler's
output, so that programs do not retry at every start; delete the file to try again.
"""

from __future__ import annotations

import ctypes
import hashlib
import logging
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import torch

from scmpr_ros.atomic_files import cache_folder
from scmpr_ros.errors import ConfigError, ScmprError

FLAGS = ("-std=c++17", "-O3", "-fopenmp", "-fPIC", "-shared")
VECTOR_FLAGS = {
    "AVX512": ("-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mfma"),
    "AVX2": ("-mavx2", "-mfma"),
}
"""By torch's name of the CPU capability; others use the compiler's default."""

_log = logging.getLogger(__name__)


class CompilationError(ScmprError):
    """The kernel could not be compiled or loaded; the message gives cause and remedy."""


def load_library(
    source: Path,
    capability: str | None = None,
    cache: Path | None = None,
    flags: tuple[str, ...] = (),
) -> ctypes.CDLL:
    """Load the compiled kernel of a source file, compiling it first if necessary.

    capability: a key of `VECTOR_FLAGS`; None for torch's choice for this processor.
    cache: folder for the library; None for the user's cache folder.
    flags: of the compiler, besides `FLAGS` and those of the vectors.

    Raises CompilationError; if compilation failed before, without trying again.
    """
    capability = capability or torch.backends.cpu.get_cpu_capability()
    flags = (*FLAGS, *VECTOR_FLAGS.get(capability, ()), *flags)
    compiler = find_compiler()
    if compiler is None:
        named = os.environ.get("CXX")
        raise CompilationError(
            f"CXX is {named!r}, which is not a program" if named
            else "no C++ compiler (install g++, or set CXX)"
        )  # fmt: skip
    name = (
        f"{source.stem}-{_digest(source, compiler, flags)}-{capability.lower().replace(' ', '-')}"
    )
    library = _library_folder(cache) / f"{name}.so"
    if not library.exists():
        _compile(source, compiler, flags, library)
    try:
        return ctypes.CDLL(str(library))
    except OSError as error:
        raise CompilationError(
            f"{library} does not load ({error}); delete it to compile again"
        ) from error


def find_compiler() -> str | None:
    """Find the C++ compiler: $CXX, or the first of g++, c++ and clang++."""
    names = [os.environ["CXX"]] if os.environ.get("CXX") else ["g++", "c++", "clang++"]
    return next(filter(None, map(shutil.which, names)), None)


def _library_folder(cache: Path | None) -> Path:
    try:
        return cache or cache_folder()
    except ConfigError as error:
        raise CompilationError(str(error)) from error


def _compile(source: Path, compiler: str, flags: tuple[str, ...], library: Path) -> None:
    failure = library.with_suffix(".failed")
    if failure.exists():
        raise CompilationError(f"compilation failed before, see {failure}; delete it to retry")
    try:
        library.parent.mkdir(parents=True, exist_ok=True)
        handle, partial = tempfile.mkstemp(prefix=f".{library.stem}.", dir=library.parent)
        os.close(handle)
    except OSError as error:
        raise CompilationError(f"cannot write to {library.parent}: {error.strerror}") from error
    began_s = time.perf_counter()
    command = [compiler, *flags, str(source), "-o", partial]
    try:
        # A new session, so that Ctrl-C in the terminal does not kill the compiler.
        result = subprocess.run(
            command, capture_output=True, text=True, timeout=300, start_new_session=True
        )
        if result.returncode < 0:
            raise CompilationError("the compiler was killed; the next start tries again")
        if result.returncode:
            report = f"{' '.join(command)}\nexit code {result.returncode}\n\n{result.stderr}"
            failure.write_text(report)
            raise CompilationError(f"compilation failed, see {failure}; delete it to retry")
        Path(partial).chmod(0o755)
        os.replace(partial, library)
    except (OSError, subprocess.TimeoutExpired) as error:
        failure.write_text(f"{' '.join(command)}\n\n{error}")
        raise CompilationError(f"{compiler} cannot be run: {error}") from error
    finally:
        Path(partial).unlink(missing_ok=True)
    _log.info("compiled %s in %.1f s: %s", source.name, time.perf_counter() - began_s, library)


def _digest(source: Path, compiler: str, flags: tuple[str, ...]) -> str:
    """Hash of what affects the library; a compiler is identified by its file's size and time."""
    stat = Path(compiler).resolve().stat()
    key = f"{compiler} {stat.st_size} {stat.st_mtime_ns} {flags} {os.uname().machine}"
    return hashlib.sha256(key.encode() + source.read_bytes()).hexdigest()[:16]
