"""Runs ROS nodes as processes that start together and always end together.

It takes the place of ROS's launch, which pip does not have. Nothing of ROS is imported here.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

import yaml

from scmpr_ros.errors import ScmprError

_POLL_S = 0.1
_TAIL_LINES = 15


class NodeProcessError(ScmprError):
    """A node ended early, failed, or was not ready in time."""


@dataclass(frozen=True)
class NodeCommand:
    """How to start a node.

    name: of its log file. command: command line without ROS arguments.
    parameters: as in ROS's YAML files, possibly nested. remappings: topic names, from and to.
    may_end: the node ends by itself, as the player of a bag does.
    """

    name: str
    command: tuple[str, ...]
    parameters: Mapping[str, Any] = field(default_factory=dict)
    remappings: Mapping[str, str] = field(default_factory=dict)
    may_end: bool = False


class NodeProcesses:
    """A context manager; leaving it sends SIGINT to every process and SIGKILL to those that stay.

    Each process writes stdout and stderr to `<log_folder>/<name>.log`; the parameters of a node are
    in `<name>.yaml` beside it.
    """

    def __init__(self, log_folder: Path, environment: Mapping[str, str] | None = None) -> None:
        """environment: added to that of this process for every node."""
        self._log_folder = log_folder
        self._environment = {**os.environ, "PYTHONUNBUFFERED": "1", **(environment or {})}
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._may_end: set[str] = set()
        self._log_folder.mkdir(parents=True, exist_ok=True)

    def __enter__(self) -> NodeProcesses:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def start_node(self, node: NodeCommand) -> None:
        """Start a node with its parameters and remappings."""
        path = self._log_folder / f"{node.name}.yaml"
        path.write_text(yaml.safe_dump({"/**": {"ros__parameters": dict(node.parameters)}}))
        arguments = ["--ros-args", "--params-file", str(path)]
        for old, new in node.remappings.items():
            arguments += ["-r", f"{old}:={new}"]
        self.start(node.name, [*node.command, *arguments], node.may_end)

    def start(self, name: str, command: Sequence[str], may_end: bool = False) -> None:
        """Start a command in its own session, so that Ctrl-C reaches it only through `stop`."""
        if may_end:
            self._may_end.add(name)
        with self._log(name).open("wb") as log:
            self._processes[name] = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self._environment,
                start_new_session=True,
            )

    def pid(self, name: str) -> int:
        """Process id of a command that was started."""
        return self._processes[name].pid

    def wait_until(self, ready: Callable[[], bool], timeout_s: float, purpose: str) -> None:
        """Wait for a condition while all processes run; `purpose` completes "waiting for".

        Raises NodeProcessError, with the last lines of a log, if a process ends or time runs out.
        """
        deadline = time.monotonic() + timeout_s
        while not ready():
            self.check()
            if time.monotonic() > deadline:
                logs = "\n".join(self._tail(name, lines=3) for name in self._processes)
                raise NodeProcessError(f"timed out after {timeout_s:.0f} s: {purpose}\n{logs}")
            time.sleep(_POLL_S)

    def wait_for_end(self, name: str, timeout_s: float) -> None:
        """Wait until a process that may end has succeeded, while all others run."""
        process = self._processes[name]
        self.wait_until(lambda: process.poll() is not None, timeout_s, f"the end of {name}")
        if process.returncode:
            raise self._failure(name)

    def check(self) -> None:
        """Raise NodeProcessError if a process failed, or ended although it should still run."""
        for name, process in self._processes.items():
            code = process.poll()
            if code or (code == 0 and name not in self._may_end):
                raise self._failure(name)

    def stop(self, patience_s: float = 10.0) -> None:
        """End all processes, in reverse order of their start."""
        processes = list(reversed(self._processes.values()))
        self._processes.clear()
        for process in processes:
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
        deadline = time.monotonic() + patience_s
        for process in processes:
            try:
                process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _log(self, name: str) -> Path:
        return self._log_folder / f"{name}.log"

    def _tail(self, name: str, lines: int = _TAIL_LINES) -> str:
        last = self._log(name).read_text(errors="replace").splitlines()[-lines:]
        return "\n".join([f"--- end of {self._log(name)}:", *last])

    def _failure(self, name: str) -> NodeProcessError:
        code = self._processes[name].returncode
        return NodeProcessError(f"{name} ended with exit code {code}\n{self._tail(name)}")
