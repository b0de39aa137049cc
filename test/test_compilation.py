"""A kernel compiles once, failures are cached, and what is missing is named."""

from __future__ import annotations

import logging
import stat
from pathlib import Path

import pytest

from scmpr_ros.compilation import CompilationError, find_compiler, load_library

pytestmark = pytest.mark.skipif(find_compiler() is None, reason="no C++ compiler")

SOURCE = Path(__file__)
"""Fake compilers do not read it, and names only depend on its bytes."""


@pytest.fixture
def compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeCompiler:
    fake = FakeCompiler(tmp_path)
    monkeypatch.setenv("CXX", str(fake.path))
    return fake


class FakeCompiler:
    """A script in place of the compiler, which counts its calls."""

    def __init__(self, folder: Path) -> None:
        self.path, self._calls = folder / "c++", folder / "calls"

    def runs(self, command: str) -> None:
        """Let each call run a shell command; `$out` is the library to write."""
        self.path.write_text(
            f'#!/bin/sh\necho called >> "{self._calls}"\nfor out; do :; done\n{command}\n'
        )
        self.path.chmod(self.path.stat().st_mode | stat.S_IXUSR)

    @property
    def calls(self) -> int:
        return len(self._calls.read_text().splitlines())


def test_the_library_is_compiled_once(
    tmp_path: Path, compiler: FakeCompiler, caplog: pytest.LogCaptureFixture
) -> None:
    compiler.runs(f'{find_real_compiler()} -x c -shared -fPIC /dev/null -o "$out"')
    with caplog.at_level(logging.INFO):
        load_library(SOURCE, cache=tmp_path / "new")
        load_library(SOURCE, cache=tmp_path / "new")
    assert compiler.calls == 1
    assert sum("compiled" in record.message for record in caplog.records) == 1
    (library,) = (tmp_path / "new").iterdir()  # and no temporary file
    assert library.suffix == ".so"


def find_real_compiler() -> str:
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("CXX")
        compiler = find_compiler()
    assert compiler is not None
    return compiler


def test_a_failure_is_cached(tmp_path: Path, compiler: FakeCompiler) -> None:
    compiler.runs("echo out of ideas >&2; exit 1")
    for _ in range(2):
        with pytest.raises(CompilationError, match=r"failed.* delete it to retry"):
            load_library(SOURCE, cache=tmp_path / "cache")
    assert compiler.calls == 1
    (record,) = (tmp_path / "cache").iterdir()
    assert record.suffix == ".failed"
    assert "exit code 1" in record.read_text() and "out of ideas" in record.read_text()
    record.unlink()
    with pytest.raises(CompilationError):
        load_library(SOURCE, cache=tmp_path / "cache")
    assert compiler.calls == 2


def test_a_killed_compiler_is_tried_again(tmp_path: Path, compiler: FakeCompiler) -> None:
    compiler.runs("kill -9 $$")
    for _ in range(2):
        with pytest.raises(CompilationError, match="killed; the next start tries again"):
            load_library(SOURCE, cache=tmp_path / "cache")
    assert compiler.calls == 2
    assert not list((tmp_path / "cache").iterdir())


def test_a_damaged_library_is_named(tmp_path: Path, compiler: FakeCompiler) -> None:
    compiler.runs('printf "" > "$out"')  # as after a power cut
    with pytest.raises(CompilationError, match=r"test_compilation-.* does not load .*delete it"):
        load_library(SOURCE, cache=tmp_path / "cache")


def test_a_missing_compiler_and_an_unwritable_cache_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CXX", str(tmp_path / "missing"))
    with pytest.raises(CompilationError, match=r"CXX is .*missing', which is not a program"):
        load_library(SOURCE, cache=tmp_path)
    monkeypatch.delenv("CXX")
    (tmp_path / "file").touch()
    with pytest.raises(CompilationError, match="cannot write"):
        load_library(SOURCE, cache=tmp_path / "file" / "cache")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(CompilationError, match="install g"):
        load_library(SOURCE, cache=tmp_path)


def test_a_missing_cache_folder_is_a_compilation_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", classmethod(_no_home))
    with pytest.raises(CompilationError, match="XDG_CACHE_HOME"):
        load_library(SOURCE)


def _no_home(cls: type[Path]) -> Path:
    raise RuntimeError("Could not determine home directory.")
