"""The C++ scan is compiled once, fails loudly once, and is the same in every vector width."""

from __future__ import annotations

import logging
import stat
from pathlib import Path

import pytest
import torch

from scmpr_ros.networks.selective_scan import compilation, cpp, ss2d
from scmpr_ros.networks.selective_scan.compilation import (
    VECTOR_FLAGS,
    CompilationError,
    cache_folder,
    find_compiler,
    load_library,
)

pytestmark = pytest.mark.skipif(find_compiler() is None, reason="no C++ compiler")


def processor_can(capability: str) -> bool:
    levels = ["DEFAULT", "AVX2", "AVX512"]
    own = torch.backends.cpu.get_cpu_capability()
    return own in levels and levels.index(capability) <= levels.index(own)


@pytest.mark.parametrize("capability", ["DEFAULT", *VECTOR_FLAGS])
def test_every_vector_width_agrees(
    capability: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not processor_can(capability):
        pytest.skip(f"this processor has no {capability}")
    library = load_library(capability, tmp_path)
    assert library.lanes() == {"AVX512": 16, "AVX2": 8}.get(capability, 4)
    monkeypatch.setattr(cpp, "_library", lambda: (library, None))
    torch.manual_seed(0)
    grid = (4, 2, 5, 6)
    arguments = [
        torch.randn(*grid[1:], 21), torch.randn(*grid, 21), -torch.rand(4, 21, 2),
        torch.randn(*grid, 2), torch.randn(*grid, 2), torch.randn(4, 21), torch.randn(4, 21),
    ]  # fmt: skip
    ours = [a.requires_grad_() for a in arguments]
    exact = [a.detach().double().requires_grad_() for a in arguments]
    y = ss2d(*ours, True, backend="cpp")
    expected = ss2d(*exact, True, backend="reference")
    torch.testing.assert_close(y.double(), expected, rtol=1e-5, atol=1e-4)
    gradients = torch.autograd.grad(y.sum(), ours)
    for got, want in zip(gradients, torch.autograd.grad(expected.sum(), exact), strict=True):
        torch.testing.assert_close(got.double(), want, rtol=1e-4, atol=1e-3)


def test_compiled_once_and_found_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        load_library(cache=tmp_path / "new")
        load_library(cache=tmp_path / "new")
    assert sum("compiled" in record.message for record in caplog.records) == 1
    (library,) = (tmp_path / "new").iterdir()  # and no temporary file is left
    assert library.suffix == ".so"


def broken_compiler(folder: Path) -> Path:
    """A compiler that counts its calls and fails."""
    path = folder / "c++"
    path.write_text(
        f'#!/bin/sh\necho called >> "{folder}/calls"\necho "out of ideas" >&2\nexit 1\n'
    )
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def test_a_failure_is_kept_and_not_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CXX", str(broken_compiler(tmp_path)))
    for _ in range(2):
        with pytest.raises(CompilationError, match=r"failed.* delete it to retry"):
            load_library(cache=tmp_path / "cache")
    assert (tmp_path / "calls").read_text() == "called\n"
    (record,) = (tmp_path / "cache").iterdir()
    assert record.suffix == ".failed"
    assert "exit code 1" in record.read_text() and "out of ideas" in record.read_text()
    record.unlink()
    with pytest.raises(CompilationError):
        load_library(cache=tmp_path / "cache")
    assert (tmp_path / "calls").read_text() == "called\n" * 2


def test_a_killed_compiler_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compiler = broken_compiler(tmp_path)
    compiler.write_text(compiler.read_text().replace("exit 1", "kill -9 $$"))
    monkeypatch.setenv("CXX", str(compiler))
    for _ in range(2):
        with pytest.raises(CompilationError, match="try again"):
            load_library(cache=tmp_path / "cache")
    assert (tmp_path / "calls").read_text() == "called\n" * 2
    assert not list((tmp_path / "cache").iterdir())


def test_no_compiler_no_cache_and_a_damaged_library(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CXX", str(tmp_path / "missing"))
    with pytest.raises(CompilationError, match=r"CXX names .*missing"):
        load_library(cache=tmp_path)
    monkeypatch.delenv("CXX")
    with monkeypatch.context() as without, pytest.raises(CompilationError, match="install g"):
        without.setenv("PATH", str(tmp_path))
        load_library(cache=tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(CompilationError, match="cannot write"):
        load_library(cache=tmp_path / "file" / "cache")
    load_library(cache=tmp_path / "cache")
    (library,) = (tmp_path / "cache").iterdir()
    damaged = tmp_path / "damaged" / library.name
    damaged.parent.mkdir()
    damaged.write_bytes(b"")  # as after a power cut
    with pytest.raises(CompilationError, match="delete it"):
        load_library(cache=damaged.parent)


def test_the_cache_follows_xdg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "scmpr_ros"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == Path.home() / ".cache" / "scmpr_ros"
    assert compilation.SOURCE.is_file()
