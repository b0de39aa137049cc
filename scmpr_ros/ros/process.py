"""Run a node as a process: start rclpy, end cleanly on signals, report user errors in one line."""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Callable
from typing import NoReturn

import rclpy
from rclpy.executors import ExternalShutdownException
from rclpy.logging import get_logger

from scmpr_ros.errors import ScmprError
from scmpr_ros.ros.shared_memory import shared_memory_problem


def run(body: Callable[[], int]) -> NoReturn:
    """Call `body` between rclpy's start and shutdown, then exit with the code it returned.

    The exit code is 0 after a signal and 1 after a user error. Other exceptions are raised.
    """
    code = _call(body)
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    # Everything is closed. A regular exit would unload torch, which on a busy machine takes longer
    # than the ten seconds after which `ros2 launch` sends SIGKILL.
    os._exit(code)


def _call(body: Callable[[], int]) -> int:
    handler = _RosLogHandler()
    try:
        # rclpy's signal handlers call those they replace, which must not end the process.
        signal.signal(signal.SIGINT, _interrupt)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        problem = shared_memory_problem(os.environ)
        rclpy.init()
        logging.getLogger("scmpr_ros").addHandler(handler)
        logging.getLogger("scmpr_ros").setLevel(logging.INFO)
        if problem:
            get_logger("scmpr_ros").warning(problem)
        return body()
    except (KeyboardInterrupt, ExternalShutdownException):
        return 0
    except ScmprError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except Exception:
        if rclpy.ok():
            raise
        return 0  # a signal shut rclpy down during a call
    finally:
        # A second signal must not kill: Ctrl-C reaches a launched node twice, from the terminal
        # and from `ros2 launch`, which also sends SIGTERM after five seconds.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        logging.getLogger("scmpr_ros").removeHandler(handler)
        rclpy.try_shutdown()


def _interrupt(*_: object) -> NoReturn:
    """Raise once: a second signal would be raised while the first one is handled."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    raise KeyboardInterrupt


class _RosLogHandler(logging.Handler):
    """Forwards the library's log records to ROS: to the console and to /rosout."""

    def emit(self, record: logging.LogRecord) -> None:
        if not rclpy.ok():
            return
        logger = get_logger(record.name)
        # rclpy allows one severity per line of code, so each level needs its own line.
        if record.levelno >= logging.ERROR:
            logger.error(record.getMessage())
        elif record.levelno >= logging.WARNING:
            logger.warning(record.getMessage())
        elif record.levelno >= logging.INFO:
            logger.info(record.getMessage())
