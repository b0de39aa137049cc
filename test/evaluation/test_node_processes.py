"""Real processes that get ready, fail or hang, and are always gone at the end."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest
import yaml

from scmpr_ros.evaluation.node_processes import NodeCommand, NodeProcessError, NodeProcesses

WAITS = "import time; print('here', flush=True); time.sleep(60)"
STUBBORN = f"import signal; signal.signal(signal.SIGINT, signal.SIG_IGN); {WAITS}"


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def logged(folder: Path, name: str, word: str) -> bool:
    return word in (folder / f"{name}.log").read_text()


def test_waits_until_ready_and_leaves_nothing_behind(tmp_path: Path) -> None:
    with NodeProcesses(tmp_path) as nodes:
        nodes.start("node", python(WAITS))
        nodes.wait_until(lambda: logged(tmp_path, "node", "here"), 20.0, "the node")
        process = nodes._processes["node"]
    assert process.poll() is not None


def test_process_that_ignores_sigint_is_killed(tmp_path: Path) -> None:
    nodes = NodeProcesses(tmp_path)
    nodes.start("stubborn", python(STUBBORN))
    nodes.wait_until(lambda: logged(tmp_path, "stubborn", "here"), 20.0, "the node")
    process = nodes._processes["stubborn"]
    began = time.monotonic()
    nodes.stop(patience_s=0.3)
    assert process.poll() == -9
    assert time.monotonic() - began < 5.0


def test_failure_shows_the_last_lines_of_the_log(tmp_path: Path) -> None:
    with NodeProcesses(tmp_path) as nodes:
        nodes.start("node", python("print('no such map'); raise SystemExit(3)"))
        with pytest.raises(
            NodeProcessError, match=r"node ended with exit code 3\n(.|\n)*no such map"
        ):
            nodes.wait_until(lambda: False, 20.0, "the map")


def test_process_that_should_run_may_not_end_even_successfully(tmp_path: Path) -> None:
    with NodeProcesses(tmp_path) as nodes:
        nodes.start("node", python("pass"))
        with pytest.raises(NodeProcessError, match="node ended with exit code 0"):
            nodes.wait_until(lambda: False, 20.0, "the map")


def test_timeout_says_what_was_awaited(tmp_path: Path) -> None:
    with NodeProcesses(tmp_path) as nodes:
        nodes.start("node", python(WAITS))
        with pytest.raises(NodeProcessError, match="timed out after 0 s: the map"):
            nodes.wait_until(lambda: False, 0.2, "the map")


def test_wait_for_end(tmp_path: Path) -> None:
    with NodeProcesses(tmp_path, {"WORD": "hello"}) as nodes:
        nodes.start("good", python("import os; print(os.environ['WORD'])"), may_end=True)
        nodes.wait_for_end("good", 20.0)
        nodes.check()
        assert logged(tmp_path, "good", "hello")
        nodes.start("bad", python("raise SystemExit(1)"), may_end=True)
        with pytest.raises(NodeProcessError, match="bad ended with exit code 1"):
            nodes.wait_for_end("bad", 20.0)


def test_parameters_and_remappings_reach_a_node(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "echo_node.py").write_text("import sys; print(sys.argv[1:])")
    with NodeProcesses(tmp_path / "logs", {"PYTHONPATH": str(tmp_path)}) as nodes:
        command = (sys.executable, "-m", "echo_node")
        parameters = {"map": "0005", "a": {"b": 1.5}}
        nodes.start_node(NodeCommand("echo", command, parameters, {"image": "/i"}, may_end=True))
        nodes.wait_for_end("echo", 20.0)
    written = yaml.safe_load((tmp_path / "logs" / "echo.yaml").read_text())
    assert written == {"/**": {"ros__parameters": {"map": "0005", "a": {"b": 1.5}}}}
    log = (tmp_path / "logs" / "echo.log").read_text()
    assert "'--params-file'" in log and "'-r', 'image:=/i'" in log
