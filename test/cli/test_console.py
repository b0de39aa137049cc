"""Exit codes of commands: one-line errors, tracebacks for bugs, 130 after Ctrl-C."""

from __future__ import annotations

import signal
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest

from scmpr_ros.cli import build_map, compare_drives, evaluate, export_onnx
from scmpr_ros.cli.console import run_command
from scmpr_ros.errors import ConfigError


def test_success_prints_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command("tool", lambda: None) == 0
    assert capsys.readouterr() == ("", "")


def test_user_errors_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def fail() -> None:
        raise ConfigError("set the option")

    assert run_command("tool", fail) == 1
    assert capsys.readouterr().err == "tool: set the option\n"
    assert run_command("tool", lambda: tmp_path.joinpath("none", "file").write_text("")) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("tool: ") and str(tmp_path / "none") in line


def test_a_killed_worker_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    def lose_a_worker() -> None:
        with ProcessPoolExecutor(1) as pool:
            pool.submit(signal.raise_signal, signal.SIGKILL).result()

    assert run_command("tool", lose_a_worker) == 1
    assert "was killed" in capsys.readouterr().err


def test_ctrl_c_prints_how_to_continue(capsys: pytest.CaptureFixture[str]) -> None:
    def stop() -> None:
        raise KeyboardInterrupt

    assert run_command("tool", stop, "start it again") == 130
    assert capsys.readouterr().err == "\ntool: stopped; start it again\n"


def test_a_bug_keeps_its_traceback() -> None:
    def fail() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run_command("tool", fail)


@pytest.mark.parametrize("command", [build_map, compare_drives, evaluate, export_onnx])
def test_missing_files_are_one_line(
    command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    missing = str(tmp_path / "missing")
    arguments = {
        build_map: [missing, str(tmp_path / "map")],
        compare_drives: [missing, missing],
        evaluate: [missing, "--checkpoint", missing],
        export_onnx: [str(tmp_path / "file.onnx"), "--checkpoint", missing],
    }[command]
    assert command.main(arguments) == 1
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith(f"{command.__name__.rpartition('.')[2]}: ") and missing in last
