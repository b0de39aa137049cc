"""What the package's nodes have in common: parameters, lifecycle, clean start and clean end."""

from __future__ import annotations

import atexit
import logging
import os
import signal
import sys
import traceback
from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, Generic, NoReturn, Protocol, TypeVar

import rclpy
from rclpy.executors import ExternalShutdownException, MultiThreadedExecutor
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.logging import get_logger

from scmpr_ros.errors import MapFormatError, ScmprError
from scmpr_ros.ros.parameters import NodeParameters

SUCCESS, FAILURE = TransitionCallbackReturn.SUCCESS, TransitionCallbackReturn.FAILURE


class NodeConfig(Protocol):
    """What the dataclass of a managed node's parameters must offer."""

    @property
    def autostart(self) -> bool:
        """Configure and activate at start; false where a lifecycle manager does it."""


C = TypeVar("C", bound=NodeConfig)


class ManagedNode(LifecycleNode, Generic[C]):
    """A lifecycle node whose parameters are one dataclass, fixed from configure to cleanup.

    A transition that raises fails: a `ScmprError` is logged as one line, anything else as a bug
    with its traceback, and the node stays in the state it was in.
    """

    config: C

    def __init__(self, name: str, config_class: type[C], **node_arguments: Any) -> None:
        """Raises ConfigError for parameter overrides that `config_class` does not take.

        node_arguments: of rclpy's `Node`, such as `parameter_overrides` or `namespace`.
        """
        super().__init__(
            name, automatically_declare_parameters_from_overrides=True, **node_arguments
        )
        self._configured = False
        self._failure: Exception | None = None
        self._declared = NodeParameters(self, config_class, frozen=lambda: self._configured)
        self.config = self._declared.read()

    @abstractmethod
    def configure(self) -> None:
        """Load what `self.config` names, create publishers and services."""

    @abstractmethod
    def activate(self) -> None:
        """Start to work."""

    @abstractmethod
    def deactivate(self) -> None:
        """Stop to work, ready to be activated again."""

    @abstractmethod
    def release(self) -> None:
        """Undo `configure`, also where it stopped half-way."""

    def close(self) -> bool:
        """Last call before the process ends; False if a thread is still at work."""
        return True

    def start(self) -> bool:
        """Configure and activate, unless a lifecycle manager is to do it.

        Returns False for an error that only a restart mends. After a `MapFormatError` the node
        stays, unconfigured: once another map is there it can be configured.
        """
        if not self.config.autostart:
            return True
        if self.trigger_configure() == SUCCESS:
            return self.trigger_activate() == SUCCESS
        return isinstance(self._failure, MapFormatError)

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Read the parameters, load; success leads to inactive, failure back to unconfigured."""

        def configure() -> None:
            self.config = self._declared.read()
            self.configure()

        if not self._succeeds("configure", configure):
            self.release()
            return FAILURE
        self._configured = True
        return super().on_configure(state)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Enable the publishers, then start; success leads to active, failure to inactive."""
        super().on_activate(state)
        if not self._succeeds("activate", self.activate):
            super().on_deactivate(state)
            return FAILURE
        return SUCCESS

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop work and mute the publishers; leads to inactive."""
        self.deactivate()
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Let go of everything; leads to unconfigured, where parameters can be set again."""
        super().on_cleanup(state)
        self.release()
        self._configured = False
        return SUCCESS

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Let go of everything; leads to finalized."""
        return self.on_cleanup(state)

    def _succeeds(self, name: str, step: Callable[[], None]) -> bool:
        self._failure = None
        try:
            step()
        except ScmprError as error:
            self._failure = error
            self.get_logger().error(f"cannot {name}: {error}")
        except Exception as error:
            self._failure = error
            self.get_logger().error(f"cannot {name}, a bug: {traceback.format_exc()}")
        return self._failure is None


def run_managed(
    make_node: Callable[[], ManagedNode], argv: Sequence[str] | None = None
) -> NoReturn:
    """Start a node, spin until SIGINT or SIGTERM, and end the process.

    With 0 after a signal, also an impatient second one; 1 where the node could not start. Two
    threads serve callbacks, so that a service that waits for the worker holds nobody up.
    """

    def spin() -> int:
        node = make_node()
        try:
            executor = MultiThreadedExecutor(num_threads=2)
            executor.add_node(node)
            if not node.start():
                return 1
            executor.spin()
        finally:
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # one is enough: let the rest finish
            if not node.close():
                # A map build cannot be interrupted, and Python must not end beneath its thread.
                rclpy.try_shutdown()
                os._exit(0)
            executor.shutdown()
            node.destroy_node()
        return 0

    run(spin, argv)


def run(body: Callable[[], int], argv: Sequence[str] | None = None) -> NoReturn:
    """Call `body` between rclpy's start and end, then end the process with what it returned.

    Signals end it with 0, user errors with 1; anything else raises.
    """
    code = _between_start_and_end(body, argv)
    # All is closed. Python's own end would take torch apart, which on a busy machine outlasts the
    # ten seconds after which `ros2 launch` sends SIGKILL.
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _between_start_and_end(body: Callable[[], int], argv: Sequence[str] | None) -> int:
    handler = _RosLogHandler()
    # rclpy also calls the handler it finds; one that ends the process would do so beneath us.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        rclpy.init(args=None if argv is None else list(argv))
        logging.getLogger("scmpr_ros").addHandler(handler)
        logging.getLogger("scmpr_ros").setLevel(logging.INFO)
        return body()
    except (KeyboardInterrupt, ExternalShutdownException):
        return 0
    except ScmprError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except Exception:
        if rclpy.ok():
            raise
        return 0  # a signal shut rclpy down beneath a call that was still going on
    finally:
        # A second signal must not kill: a Ctrl-C reaches a launched node twice, from the terminal
        # and from `ros2 launch`, which sends SIGTERM, too, after five seconds.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        logging.getLogger("scmpr_ros").removeHandler(handler)
        rclpy.try_shutdown()


class _RosLogHandler(logging.Handler):
    """Sends the library's log records to ROS, and so to the console and to /rosout."""

    def emit(self, record: logging.LogRecord) -> None:
        if not rclpy.ok():
            return
        logger = get_logger(record.name)
        # rclpy wants one severity per line of code, so each level has a line of its own
        if record.levelno >= logging.ERROR:
            logger.error(record.getMessage())
        elif record.levelno >= logging.WARNING:
            logger.warning(record.getMessage())
        elif record.levelno >= logging.INFO:
            logger.info(record.getMessage())
