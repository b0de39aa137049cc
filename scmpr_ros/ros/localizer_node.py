"""`localizer`: camera images in, poses in the map out.

The node converts, calls `pipeline.localizer.Localizer`, and publishes. Images wait in a short
queue for the one thread that localises, so that services and parameters are answered meanwhile.
The image topics are subscribed to once a map is there; images that come before their camera_info
wait for it.
"""

from __future__ import annotations

import json
import sys
import time
import traceback
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from numpy.typing import NDArray
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header, String
from std_srvs.srv import Empty, Trigger

from scmpr_ros.errors import CalibrationError, ConfigError, ScmprError
from scmpr_ros.methods.checkpoint import load_checkpoint
from scmpr_ros.pipeline.localizer import Localizer
from scmpr_ros.records import CameraModel, PlaceMatch
from scmpr_ros.retrieval.place_map import PlaceMap
from scmpr_ros.ros.answer_publisher import LATCHED, AnswerPublisher
from scmpr_ros.ros.conversions import (
    camera_from_info,
    image_to_rgb,
    rgb_from_compressed,
    stamp_ns,
)
from scmpr_ros.ros.localizer_config import LocalizerNodeConfig
from scmpr_ros.ros.managed_node import ManagedNode, run_managed
from scmpr_ros.ros.match_messages import LOCALIZED, match_summary
from scmpr_ros.ros.statistics import Statistics
from scmpr_ros.ros.worker import Worker

_NO_MAP, _NO_CAMERA = "no map yet", "no camera_info yet"
_BACK_IN_TIME_NS = 1_000_000_000  # raw and compressed images may be this far out of order


@dataclass(frozen=True)
class Query:
    """One image message on its way to the localizer, and how to decode it."""

    header: Header
    decode: Callable[[], NDArray[np.uint8]]
    received_s: float


class LocalizerNode(ManagedNode[LocalizerNodeConfig]):
    """Lifecycle node around `Localizer`; topics and services as in the README."""

    def __init__(self, **node_arguments: Any) -> None:
        """Declare parameters; nothing is loaded before configure."""
        self._localizer: Localizer | None = None
        self._camera: CameraModel | None = None
        self._worker: Worker[PlaceMatch] | None = None
        self._newest: tuple[Query, Future[PlaceMatch]] | None = None
        self._answers: Any = None
        self._diagnostics: Any = None
        self._entities: list[tuple[Callable[[Any], object], Any]] = []
        super().__init__("localizer", LocalizerNodeConfig, **node_arguments)

    # --- lifecycle ---------------------------------------------------------------------------

    def configure(self) -> None:
        """Load the network, and the map if it is named; raises what is wrong with them."""
        if not self.config.checkpoint:
            raise ConfigError("parameter 'checkpoint' is empty: name the network's weight file")
        self._answers = AnswerPublisher(self, self.config)
        self._diagnostics = self.create_lifecycle_publisher(DiagnosticArray, "/diagnostics", 10)
        self._network = load_checkpoint(Path(self.config.checkpoint))
        self._localizer = self._load_map(Path(self.config.map)) if self.config.map else None
        self._statistics = Statistics()
        self._waiting: deque[Query] = deque(maxlen=self.config.queue_size)
        self._seen: deque[int] = deque(maxlen=64)

    def activate(self) -> None:
        """Create the services and subscribe."""
        self._worker = Worker("localizer", capacity=self.config.queue_size)
        self._answers.publish_state()
        relocalize = self.create_service(
            Trigger, "~/relocalize", self._on_relocalize,
            callback_group=MutuallyExclusiveCallbackGroup(),
        )  # fmt: skip
        reset = self.create_service(
            Empty, "reinitialize_global_localization", self._on_reinitialize
        )
        self._keep(self.destroy_service, relocalize, reset)
        self._keep(self.destroy_timer, self.create_timer(1.0, self._on_timer))
        if not self.config.map:
            topic = self.create_subscription(
                String, "map_loader/place_map", self._on_place_map, LATCHED
            )
            self._keep(self.destroy_subscription, topic)
            self.get_logger().info(f"waiting for a map on {topic.topic_name}")
        if self._localizer is not None:
            self._subscribe_images()

    def deactivate(self) -> None:
        """Unsubscribe and let the image in work end."""
        for destroy, entity in self._entities:
            destroy(entity)
        self._entities.clear()
        self.close()
        self._worker = None

    def release(self) -> None:
        """Drop the network, the map and the topics."""
        self.deactivate()
        if self._answers is not None:
            self._answers.destroy()
        if self._diagnostics is not None:
            self.destroy_lifecycle_publisher(self._diagnostics)
        self._answers = self._diagnostics = None
        self._localizer = self._camera = self._newest = None

    def close(self) -> bool:
        """Stop the worker; False if it does not end in time."""
        return self._worker is None or self._worker.stop(timeout_s=10.0)

    def _subscribe_images(self) -> None:
        image = self.resolve_topic_name("image")
        reliability = ReliabilityPolicy.RELIABLE if self.config.reliable_images else \
            ReliabilityPolicy.BEST_EFFORT  # fmt: skip
        qos = QoSProfile(depth=max(5, self.config.queue_size), reliability=reliability)
        made = [self.create_subscription(CameraInfo, "camera_info", self._on_camera_info, qos)]
        if self.config.image_transport in ("any", "raw"):
            made.append(self.create_subscription(Image, image, self._on_image, qos))
        if self.config.image_transport in ("any", "compressed"):
            made.append(
                self.create_subscription(
                    CompressedImage, f"{image}/compressed", self._on_compressed_image, qos
                )
            )
        self._keep(self.destroy_subscription, *made)
        self._camera_info_topic = made[0].topic_name
        self.get_logger().info(f"localising images of {image} with {self._camera_info_topic}")

    def _keep(self, destroy: Callable[[Any], object], *entities: Any) -> None:
        self._entities += [(destroy, entity) for entity in entities]

    # --- what comes in -----------------------------------------------------------------------

    def _load_map(self, directory: Path) -> Localizer:
        place_map = PlaceMap.load(directory)
        mount = self.config.mount.T_base_camera_body
        localizer = Localizer(place_map, self._network, self.config.localizer, mount[:3, :3])
        self.get_logger().info(f"map {directory}: {len(place_map)} places")
        return localizer

    def _on_place_map(self, message: String) -> None:
        try:
            directory = Path(json.loads(message.data)["directory"])
            localizer = self._load_map(directory)
        except (json.JSONDecodeError, KeyError, TypeError):
            self.get_logger().error(f"place_map should be JSON with a directory: {message.data!r}")
        except ScmprError as error:
            self.get_logger().error(f"map is not usable: {error}")
        else:
            first, self._localizer = self._localizer is None, localizer
            if first:
                self._subscribe_images()

    def _on_camera_info(self, message: CameraInfo) -> None:
        try:
            self._camera = camera_from_info(message)
        except CalibrationError as error:
            self.get_logger().error(str(error), throttle_duration_sec=10.0)
            return
        while self._waiting:
            self._submit(self._waiting.popleft())

    def _on_image(self, message: Image) -> None:
        self._on_query(Query(message.header, lambda: image_to_rgb(message), time.monotonic()))

    def _on_compressed_image(self, message: CompressedImage) -> None:
        self._on_query(
            Query(message.header, lambda: rgb_from_compressed(message), time.monotonic())
        )

    def _on_query(self, query: Query) -> None:
        stamp = stamp_ns(query.header)
        if self._seen and stamp < max(self._seen) - _BACK_IN_TIME_NS:  # a bag began again
            self._seen.clear()
        if stamp and stamp in self._seen:  # the same image, raw and compressed
            return
        self._seen.append(stamp)
        self._statistics.count["received"] += 1
        if self._camera is not None:
            self._submit(query)
            return
        if len(self._waiting) == self._waiting.maxlen:
            self._statistics.count["dropped"] += 1
        self._waiting.append(query)

    def _submit(self, query: Query) -> None:
        assert self._worker is not None and self._camera is not None
        camera = self._camera
        future = self._worker.submit(lambda: self._localize(query, camera))
        future.add_done_callback(self._count_dropped)
        self._newest = query, future

    def _count_dropped(self, future: Future[PlaceMatch]) -> None:
        self._statistics.count["dropped"] += future.cancelled()

    # --- what goes out -----------------------------------------------------------------------

    def _localize(self, query: Query, camera: CameraModel) -> PlaceMatch:
        """Answer one image; runs in the worker's thread."""
        assert self._localizer is not None
        try:
            match = self._localizer.localize(query.decode(), camera)
            self._answers.publish(match, query.header)
        except ScmprError as error:
            self._statistics.failed(str(error))
            self.get_logger().error(f"image not localised: {error}", throttle_duration_sec=5.0)
            raise
        except Exception as error:
            if not self.context.ok():  # a signal shut rclpy down beneath it
                raise
            self._statistics.failed(f"a bug: {error}")
            self.get_logger().error(f"image not localised, a bug: {traceback.format_exc()}")
            raise
        self._statistics.localized(time.monotonic() - query.received_s)
        return match

    def _on_timer(self) -> None:
        """Diagnostics once a second, and the complaint about a camera_info that does not come."""
        problem = _NO_MAP if self._localizer is None else _NO_CAMERA if self._camera is None else ""
        header = Header(stamp=self.get_clock().now().to_msg())
        self._diagnostics.publish(
            self._statistics.message(header, self.get_name(), self._answers.state, problem)
        )
        if self._waiting and self._camera is None:
            waited_s = time.monotonic() - self._waiting[0].received_s
            if waited_s > self.config.camera_info_timeout_s:
                self.get_logger().warning(
                    f"images come, but no camera_info on {self._camera_info_topic}: remap "
                    "camera_info to the topic of the rectified camera",
                    throttle_duration_sec=10.0,
                )

    def _on_relocalize(
        self, request: Trigger.Request, response: Trigger.Response
    ) -> Trigger.Response:
        """Answer with the newest image's match; waits for it if it is still being localised."""
        del request
        if self._newest is None:
            outcome = "NO_MAP" if self._localizer is None else "NO_IMAGE"
            response.success, response.message = False, json.dumps({"outcome": outcome})
            return response
        query, future = self._newest
        try:
            match = future.result(timeout=30.0)
        except Exception as error:  # logged where it happened; dropped and timed out come here, too
            message = {"outcome": "FAILED", "error": str(error) or type(error).__name__}
            response.success, response.message = False, json.dumps(message)
            return response
        state = self._answers.state
        response.success = state == LOCALIZED
        response.message = match_summary(match, state, query.header.stamp)
        return response

    def _on_reinitialize(self, request: Empty.Request, response: Empty.Response) -> Empty.Response:
        del request
        self._answers.reset()
        return response


def main() -> int:
    """Console script `localizer`."""
    return run_managed(LocalizerNode)


if __name__ == "__main__":
    sys.exit(main())
