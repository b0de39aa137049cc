"""Base of the package's lifecycle nodes: parameters, guarded transitions, start and shutdown."""

from __future__ import annotations

import signal
import traceback
from abc import abstractmethod
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any, Generic, NoReturn, Protocol, TypeVar

from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn

from scmpr_ros.cancellation import Cancelled
from scmpr_ros.errors import MapFormatError, ScmprError
from scmpr_ros.resources import DEFAULT_CHECKPOINT, resource
from scmpr_ros.ros.executor import NodeExecutor
from scmpr_ros.ros.heartbeat import Heartbeat
from scmpr_ros.ros.parameters import NodeParameters
from scmpr_ros.ros.process import run
from scmpr_ros.ros.throttled_log import ThrottledLog
from scmpr_ros.ros.worker import Job, Worker

SUCCESS, FAILURE = TransitionCallbackReturn.SUCCESS, TransitionCallbackReturn.FAILURE
ERROR = TransitionCallbackReturn.ERROR

_DEACTIVATION_PATIENCE_S = 1.0
_SHUTDOWN_PATIENCE_S = 5.0  # `ros2 launch` sends SIGKILL ten seconds after SIGINT


class NodeConfig(Protocol):
    """Fields that a managed node's parameter dataclass must have."""

    @property
    def autostart(self) -> bool:
        """Configure and activate at start; set to false if a lifecycle manager does it."""

    @property
    def bond(self) -> bool:
        """Publish a heartbeat for a lifecycle manager while the node is active."""

    @property
    def checkpoint(self) -> str:
        """Weight file of the network; empty for the one that ships with the package."""


C = TypeVar("C", bound=NodeConfig)
T = TypeVar("T")


class ManagedNode(LifecycleNode, Generic[C]):
    """A lifecycle node with one worker thread and one dataclass of parameters.

    From configure to cleanup, only parameters in `config_class.RUNTIME` can be set. A transition
    that raises fails and leaves nothing running: a `ScmprError` is logged as one line, anything
    else with its traceback.

    Heavy work belongs to `worker`, whose jobs are cancelled before anything they use is destroyed.
    Subclasses create their services in `__init__`, for the life of the node: rclpy ends the process
    if a service is destroyed before its callback has answered.
    """

    config: C

    def __init__(self, name: str, config_class: type[C], **node_arguments: Any) -> None:
        """Declare the parameters; raises ConfigError for overrides that `config_class` refuses.

        node_arguments: arguments of rclpy's `Node`, such as `parameter_overrides` or `namespace`.
        """
        super().__init__(
            name, automatically_declare_parameters_from_overrides=True, **node_arguments
        )
        self._configured = False
        self._failure: Exception | None = None
        self._heartbeat: Heartbeat | None = None
        self._errors, self._recoveries, self._failures = ThrottledLog(), ThrottledLog(), 0
        self._declared = NodeParameters(
            self, config_class, frozen=lambda: self._configured, on_change=self._on_change
        )
        self.config = self._declared.read()
        self.worker = Worker(name)

    @abstractmethod
    def configure(self) -> None:
        """Load what `self.config` names and create the publishers."""

    @abstractmethod
    def activate(self) -> None:
        """Start working."""

    @abstractmethod
    def deactivate(self) -> None:
        """Stop working and answer waiting callbacks; called after the jobs were cancelled."""

    @abstractmethod
    def release(self) -> None:
        """Undo `configure`, even an incomplete one."""

    def on_config_changed(self) -> None:
        """Take over `self.config`, of which parameters in `RUNTIME` were set; must not fail."""

    def close(self) -> bool:
        """Stop all work, as the last call before the process ends; False if a job goes on."""
        try:
            self._stop_work()
        except Exception:
            if self.context.ok():
                raise  # else a signal has shut rclpy down
        return self.worker.stop(_SHUTDOWN_PATIENCE_S)

    def start(self) -> bool:
        """Configure and activate, unless a lifecycle manager is to do it.

        Returns False after an error that needs a restart. After a `MapFormatError` the node stays,
        unconfigured: it can be configured once the map is replaced.
        """
        if not self.config.autostart:
            return True
        if self.trigger_configure() == SUCCESS:
            return self.trigger_activate() == SUCCESS
        return isinstance(self._failure, MapFormatError)

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Read the parameters and load; leads to inactive, or back to unconfigured."""

        def configure() -> None:
            self.config = self._declared.read()
            self.configure()

        self._failure = self._attempt("configure", configure)
        if self._failure is not None:
            self._attempt("release", self.release)
            return FAILURE
        self._configured = True
        return super().on_configure(state)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Enable the publishers and start working; leads to active, or back to inactive."""
        super().on_activate(state)
        self._errors, self._recoveries, self._failures = ThrottledLog(), ThrottledLog(), 0
        self.worker.resume()
        if self._attempt("activate", self._start_work) is not None:
            self._attempt("undo the activation", self._stop_work)
            super().on_deactivate(state)
            return FAILURE
        return SUCCESS

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop working and mute the publishers; leads to inactive."""
        failure = self._attempt("deactivate", self._stop_work)
        super().on_deactivate(state)
        if not self.worker.wait_until_idle(_DEACTIVATION_PATIENCE_S):
            self.get_logger().warning("a cancelled job is still running; new work starts after it")
        return SUCCESS if failure is None else ERROR

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Release everything; leads to unconfigured, where parameters can be set."""
        super().on_cleanup(state)
        self._attempt("stop working", self._stop_work)
        failure = self._attempt("clean up", self.release)
        self._configured = False
        return SUCCESS if failure is None else ERROR

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Release everything; leads to finalized."""
        return self.on_cleanup(state)

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Release everything after a transition failed in between; leads to unconfigured."""
        self.on_cleanup(state)
        return SUCCESS

    def checkpoint_path(self) -> Path:
        """Return the weight file to load; raises ConfigError if the shipped one is missing."""
        if self.config.checkpoint:
            return Path(self.config.checkpoint)
        return resource(DEFAULT_CHECKPOINT)

    def submit(
        self,
        purpose: str,
        work: Callable[[Job], T],
        droppable: bool = False,
        on_error: Callable[[str], None] = lambda error: None,
    ) -> Future[T]:
        """Queue a job for the worker; log its error as "cannot <purpose>" and pass it on.

        droppable: see `Worker.submit`. on_error: called with the error's one-line text, unless the
        job was cancelled.
        """

        def guarded(job: Job) -> T:
            try:
                result = work(job)
                self._log_recovery(purpose, droppable)
                return result
            except Cancelled:
                raise
            except Exception as error:
                if job.is_cancelled() or not self.context.ok():
                    raise Cancelled from error  # whatever it used is gone
                on_error(self._log_error(purpose, error, throttled=droppable))
                raise

        return self.worker.submit(guarded, droppable)

    def _start_work(self) -> None:
        if self.config.bond:
            self._heartbeat = Heartbeat(self)
        self.activate()

    def _stop_work(self) -> None:
        self.worker.cancel("the node was deactivated")
        heartbeat, self._heartbeat = self._heartbeat, None
        try:
            self.deactivate()
        finally:
            if heartbeat is not None:
                heartbeat.stop()

    def _attempt(self, name: str, step: Callable[[], None]) -> Exception | None:
        """Call a step of a transition; log its error and return it."""
        try:
            step()
        except Exception as error:
            self._log_error(name, error)
            return error
        return None

    def _log_error(self, purpose: str, error: Exception, throttled: bool = False) -> str:
        """Log a user error as one line, a bug with its traceback; return it as one line.

        throttled: for work that is repeated, and fails again and again.
        """
        line = f"cannot {purpose}: {error}"
        self._failures += throttled
        is_bug = not isinstance(error, (ScmprError, OSError))
        if not throttled or self._errors.is_due(line):
            if is_bug:
                line = f"cannot {purpose}, a bug: {''.join(traceback.format_exception(error))}"
            self.get_logger().error(line)
        return f"a bug: {error!r}" if is_bug else str(error)

    def _log_recovery(self, purpose: str, throttled: bool) -> None:
        """Say that repeated work succeeds again, as its errors are not all logged."""
        if throttled and self._failures and self._recoveries.is_due(purpose):
            line = f"can {purpose} again, after {self._failures} failures"
            self.get_logger().info(line)
            self._failures = 0

    def _on_change(self, config: C) -> None:
        self.config = config
        self.on_config_changed()


def run_managed(make_node: Callable[[], ManagedNode[Any]]) -> NoReturn:
    """Start a node, spin until SIGINT or SIGTERM, and end the process.

    The exit code is 0 after signals and 1 if the node could not start. Two threads serve callbacks,
    so that one service may wait for the worker.
    """

    def spin() -> int:
        node = make_node()
        executor = NodeExecutor(num_threads=2)
        try:
            executor.add_node(node)
            if not node.start():
                return 1
            executor.spin()
        finally:
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # one is enough: let the rest finish
            if node.close():  # else `run` ends the process despite the job
                executor.shutdown()
                node.destroy_node()
        return 0

    run(spin)
