"""The executor of the package's nodes."""

from __future__ import annotations

from typing import Any

from rclpy.exceptions import InvalidHandle
from rclpy.executors import MultiThreadedExecutor


class NodeExecutor(MultiThreadedExecutor):
    """Serves callbacks in threads, some of which destroy subscriptions and publishers.

    rclpy lists what it waits for, and then adds it to a wait set. The QoS events of a subscription
    that a transition destroys in between raise InvalidHandle there, which would end `spin`.
    """

    def wait_for_ready_callbacks(self, *args: Any, **kwargs: Any) -> Any:
        """Return the next callback; list anew what there is if some of it is gone."""
        while True:
            try:
                return super().wait_for_ready_callbacks(*args, **kwargs)
            except InvalidHandle:
                continue
