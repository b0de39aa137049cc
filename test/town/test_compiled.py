"""Compiled functions and the packages behind the extra `town` load on first use only."""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
from pathlib import Path

import numba
import numpy as np
import pytest

from scmpr_ros.errors import ConfigError
from scmpr_ros.town import compiled as compiled_module
from scmpr_ros.town.compiled import compiled, sources_digest
from scmpr_ros.town.extras import import_extra


@compiled
def double(values, out):  # type: ignore[no-untyped-def]
    for i in range(len(values)):
        out[i] = 2 * values[i]


@compiled
def quadruple(values, out):  # type: ignore[no-untyped-def]
    double(values, out)
    double(out, out)


def test_compiled_functions_call_each_other() -> None:
    out = np.zeros(3)
    quadruple(np.array([1.0, 2.0, 3.0]), out)
    assert out.tolist() == [4.0, 8.0, 12.0]


def test_import_leaves_numba_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(numba.config, "CACHE_DIR", "")
    runpy.run_path(compiled_module.__file__)
    assert numba.config.CACHE_DIR == ""  # type: ignore[attr-defined]


def test_cache_goes_to_our_folder_and_numba_keeps_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(numba.config, "CACHE_DIR", "")

    @compiled
    def half(value):  # type: ignore[no-untyped-def]
        return value / 2

    assert half(5.0) == 2.5
    assert numba.config.CACHE_DIR == ""  # type: ignore[attr-defined]
    assert list((tmp_path / "scmpr_ros" / f"town-{sources_digest()}").rglob("*.nbi"))


def test_missing_package_is_one_sentence() -> None:
    with pytest.raises(
        ConfigError, match=r'needs no_such_package: pip install "scmpr_ros\[town\]"'
    ):
        import_extra("no_such_package")


WITHOUT_EXTRAS = """
import sys
sys.modules["numba"] = sys.modules["open3d"] = None
from scmpr_ros.cli import make_town
try:
    make_town.main(["--help"])
except SystemExit as end:
    assert end.code == 0
sys.exit(make_town.main(["--seeds", "5", "--out", sys.argv[1]]))
"""


def test_make_town_without_numba_prints_help_and_one_line(tmp_path: Path) -> None:
    command = [sys.executable, "-c", WITHOUT_EXTRAS, str(tmp_path / "towns")]
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(root)}
    )
    assert done.returncode == 1
    assert "mesh_map.ply" in done.stdout, "the help is complete"
    assert done.stderr.startswith(
        'make_town: making towns needs numba: pip install "scmpr_ros[town]"'
    )
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "towns").exists()
