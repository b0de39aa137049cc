"""Nodes as processes of their own, started together and always ended together.

This is for evaluation without ROS's launch, which pip does not have. Nodes are named by module;
nothing of ROS is imported here.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import yaml

from scmpr_ros.errors import ScmprError

_POLL_S = 0.1
_TAIL_LINES = 15


class NodeProcessError(ScmprError):
    """A node ended early, failed, or did not get ready in time."""


class NodeProcesses:
    """A context manager; leaving it sends SIGINT to every process, and SIGKILL to the stubborn.

    Each process writes stdout and stderr to `<log_folder>/<name>.log`, and its parameters lie
    beside that as `<name>.yaml`.
    """

    def __init__(self, log_folder: Path, environment: Mapping[str, str] | None = None) -> None:
        """environment: added to this process' own for every node."""
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

    def start_node(
        self,
        name: str,
        module: str,
        parameters: Mapping[str, Any],
        remappings: Mapping[str, str] | None = None,
        may_end: bool = False,
    ) -> None:
        """Start a node's module; `parameters` may be nested, as in ROS's YAML files.

        may_end: the node has an end of its own, such as that of a bag.
        """
        path = self._log_folder / f"{name}.yaml"
        path.write_text(yaml.safe_dump({"/**": {"ros__parameters": dict(parameters)}}))
        arguments = ["--ros-args", "--params-file", str(path)]
        for old, new in (remappings or {}).items():
            arguments += ["-r", f"{old}:={new}"]
        self.start(name, [sys.executable, "-m", module, *arguments], may_end)

    def start(self, name: str, command: Sequence[str], may_end: bool = False) -> None:
        """Start a command in a session of its own, so that Ctrl-C reaches it through `stop`."""
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

    def wait_until(self, ready: Callable[[], bool], timeout_s: float, purpose: str) -> None:
        """Wait for a condition while every process lives; `purpose` completes 'waiting for'.

        Raises NodeProcessError, with the last lines of a log, where a process has ended or the
        time is over.
        """
        deadline = time.monotonic() + timeout_s
        while not ready():
            self.check()
            if time.monotonic() > deadline:
                logs = "\n".join(self._tail(name, lines=3) for name in self._processes)
                raise NodeProcessError(f"waited {timeout_s:.0f} s for {purpose}, in vain\n{logs}")
            time.sleep(_POLL_S)

    def wait_for_end(self, name: str, timeout_s: float) -> None:
        """Wait until a process that may end has ended well, while all others live."""
        process = self._processes[name]
        self.wait_until(lambda: process.poll() is not None, timeout_s, f"the end of {name}")
        if process.returncode:
            raise self._failure(name)

    def check(self) -> None:
        """Raise NodeProcessError where a process has failed, or ended that should still run."""
        for name, process in self._processes.items():
            code = process.poll()
            if code or (code == 0 and name not in self._may_end):
                raise self._failure(name)

    def stop(self, patience_s: float = 10.0) -> None:
        """End all processes, the last one started first."""
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
