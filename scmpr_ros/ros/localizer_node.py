"""`localizer`: localise camera images in a place map.

The node converts messages, calls `VehicleLocalizer`, and publishes. Images, maps and priors go to
one worker thread, so that services, parameters and diagnostics are served meanwhile. The node
subscribes to images once it has a map.
"""

from __future__ import annotations

import concurrent.futures
import json
import time
from concurrent.futures import Future
from pathlib import Path
from typing import Any, NamedTuple

from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseWithCovarianceStamped
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.clock import Clock, ClockType
from std_msgs.msg import Header, String
from std_srvs.srv import Empty, Trigger

from scmpr_ros.cancellation import Cancelled
from scmpr_ros.errors import ScmprError
from scmpr_ros.methods.checkpoint import load_checkpoint
from scmpr_ros.pipeline.states import LOCALIZED
from scmpr_ros.pipeline.tracking_localizer import TrackedAnswer
from scmpr_ros.retrieval.place_map import PlaceMap
from scmpr_ros.ros.answer_publisher import AnswerPublisher
from scmpr_ros.ros.answer_recording import AnswerRecording
from scmpr_ros.ros.camera_input import CameraInput, Query
from scmpr_ros.ros.conversions import stamp_ns
from scmpr_ros.ros.initial_pose import PRIOR_PROBABILITY, read_initial_pose
from scmpr_ros.ros.localizer_config import LocalizerNodeConfig
from scmpr_ros.ros.managed_node import ManagedNode, run_managed
from scmpr_ros.ros.match_messages import answer_summary
from scmpr_ros.ros.qos import LATCHED
from scmpr_ros.ros.statistics import ERROR, WARN, Statistics
from scmpr_ros.ros.throttled_log import ThrottledLog
from scmpr_ros.ros.vehicle_localizer import VehicleInputs, VehicleLocalizer
from scmpr_ros.ros.worker import Job


class Answer(NamedTuple):
    """The result of one image."""

    tracked: TrackedAnswer
    stamp: Time


class LocalizerNode(ManagedNode[LocalizerNodeConfig]):
    """Lifecycle node around `VehicleLocalizer`."""

    def __init__(self, **node_arguments: Any) -> None:
        """Declare parameters and create the services; nothing is loaded before configure."""
        super().__init__("localizer", LocalizerNodeConfig, **node_arguments)
        self._localizer: VehicleLocalizer | None = None
        self._inputs: VehicleInputs | None = None
        self._network: Any = None
        self._answers: AnswerPublisher | None = None
        self._recording = AnswerRecording("")
        self._diagnostics: Any = None
        self._statistics = Statistics()
        self._is_active = False
        self._camera_input: CameraInput | None = None
        self._map_subscription: Any = None
        self._initialpose_subscription: Any = None
        self._timer: Any = None
        self._map_problem = ""
        self._repeated = ThrottledLog()
        self._announced: Path | None = None
        """The map that is being loaded."""
        self._next_answer: Future[Answer] = Future()
        """Settled with the next image that is localised, or on deactivation."""
        self.create_service(
            Trigger, "~/relocalize", self._on_relocalize,
            callback_group=MutuallyExclusiveCallbackGroup(),
        )  # fmt: skip
        self.create_service(Empty, "~/reinitialize", self._on_reinitialize)

    # --- lifecycle ---------------------------------------------------------------------------

    def configure(self) -> None:
        """Load the network, and the map if `map` names one; raises ScmprError if that fails."""
        self._statistics = Statistics()
        self.worker.capacity = self.config.queue_size
        self._recording = AnswerRecording(self.config.rerun)
        self._inputs = VehicleInputs(self, self.config)
        self._answers = AnswerPublisher(self, self.config, self._inputs.transforms)
        self._diagnostics = self.create_lifecycle_publisher(DiagnosticArray, "/diagnostics", 10)
        self._network = load_checkpoint(self.checkpoint_path())
        self._map_problem = "no map yet"
        if self.config.map:
            self._localizer = self._load(Path(self.config.map))
            self._map_problem = ""

    def activate(self) -> None:
        """Subscribe, start the diagnostics, and begin in the state LOST, with the last pose."""
        assert self._answers is not None
        self.submit("begin", self._begin)
        self._answers.reset()
        self._answers.request_initialpose()
        # Steady, since diagnostics must go on where a simulated clock stands still.
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._timer = self.create_timer(1.0, self._on_timer, clock=steady)
        if self._localizer is not None:
            self._subscribe_to_images()
        if not self.config.map:
            self._map_subscription = self.create_subscription(
                String, "map_loader/place_map", self._on_place_map, LATCHED
            )
            self.get_logger().info(f"waiting for a map on {self._map_subscription.topic_name}")
        if self.config.use_initialpose:
            self._initialpose_subscription = self.create_subscription(
                PoseWithCovarianceStamped, "initialpose", self._on_initialpose, 10
            )
        self._is_active = True

    def deactivate(self) -> None:
        """Unsubscribe, answer a waiting ~/relocalize, keep the last pose, and become LOST."""
        self._is_active = False
        self._announced = None
        waited_for, self._next_answer = self._next_answer, Future()
        waited_for.set_exception(Cancelled("the node was deactivated"))
        if self._camera_input is not None:
            self._camera_input.destroy()
        for subscription in (self._map_subscription, self._initialpose_subscription):
            if subscription is not None:
                self.destroy_subscription(subscription)
        if self._timer is not None:
            self.destroy_timer(self._timer)
        self._camera_input = self._timer = None
        self._map_subscription = self._initialpose_subscription = None
        if self._localizer is not None:
            self._localizer.flush_last_pose()
        if self._answers is not None:
            self._answers.reset()

    def release(self) -> None:
        """Drop the network, the map, the publishers, and what is known of the vehicle."""
        self._recording.close()
        if self._answers is not None:
            self._answers.destroy()
        if self._inputs is not None:
            self._inputs.destroy()
        if self._diagnostics is not None:
            self.destroy_lifecycle_publisher(self._diagnostics)
        self._answers = self._inputs = self._diagnostics = None
        self._localizer = self._network = None

    def close(self) -> bool:
        """Stop all work and complete the recording; see `ManagedNode.close`."""
        has_ended = super().close()
        self._recording.close()
        return has_ended

    def on_config_changed(self) -> None:
        """Hand parameters that were set at run time to those that use them."""
        self.worker.capacity = self.config.queue_size
        if self._localizer is not None:
            self._localizer.use(self.config)
        if self._answers is not None:
            self._answers.use(self.config)
        if self._camera_input is not None:
            self._camera_input.use(self.config)

    def reset_tracking(self, reason: str) -> None:
        """Forget what was before: time has gone back."""
        if self._repeated.is_due(reason):
            self.get_logger().warning(f"{reason}: starting again")
        if self._inputs is not None:
            self._inputs.clear()
        self.submit("forget the images so far", self._forget)

    def _subscribe_to_images(self) -> None:
        self._camera_input = CameraInput(
            self, self.config, self._statistics, self._on_query, self.reset_tracking
        )

    # --- maps --------------------------------------------------------------------------------

    def _load(self, directory: Path) -> VehicleLocalizer:
        assert self._inputs is not None
        place_map = PlaceMap.load(directory)
        localizer = VehicleLocalizer(self, self.config, place_map, self._network, self._inputs)
        self._recording.show_map(place_map)
        self.get_logger().info(f"map {directory}: {len(place_map)} places")
        return localizer

    def _on_place_map(self, message: String) -> None:
        """Load the announced map in the worker; the current one answers until then."""
        try:
            directory = Path(json.loads(message.data)["directory"])
        except (ValueError, KeyError, TypeError):
            error = f"place_map must be JSON with a directory: {message.data!r}"
            if self._repeated.is_due(error):
                self.get_logger().error(error)
            return
        self._announced = directory

        def failed(error: str) -> None:
            if self._announced is directory:
                self._announced = None
            if self._localizer is None:
                self._map_problem = f"cannot use map {directory}: {error}"

        self.submit(f"use map {directory}", lambda job: self._adopt(job, directory), False, failed)

    def _adopt(self, job: Job, directory: Path) -> None:
        """Replace the map, unless a newer one was announced; runs in the worker."""
        if self._announced is not directory:
            return
        localizer = self._load(directory)
        localizer.start_from_last_pose()
        with job.publishing():
            assert self._answers is not None
            if self._localizer is not None:
                self._localizer.flush_last_pose()
            if self._camera_input is None:
                self._subscribe_to_images()
            self._announced, self._map_problem = None, ""
            self._localizer = localizer
            self._answers.reset()  # poses of another map say nothing about this one
            self._answers.request_initialpose()

    # --- images ------------------------------------------------------------------------------

    def _on_query(self, query: Query) -> None:
        statistics = self._statistics

        def count_dropped(future: Future[None]) -> None:
            statistics.count["dropped"] += future.cancelled()

        future = self.submit(
            "localise an image", lambda job: self._localize(job, query), True,
            statistics.failed,
        )  # fmt: skip
        future.add_done_callback(count_dropped)

    def _localize(self, job: Job, query: Query) -> None:
        """Answer one image; runs in the worker."""
        localizer, answers = self._localizer, self._answers
        assert localizer is not None and answers is not None
        image, camera = query.read()
        answer = localizer.locate(image, camera, stamp_ns(query.header), query.camera_frame)
        T_map_odom = answers.map_odom(answer, query.header)
        with job.publishing():
            latency_s = time.monotonic() - query.received_s
            answers.publish(answer, query.header, latency_s, T_map_odom)
            self._statistics.localized(latency_s)
            waited_for, self._next_answer = self._next_answer, Future()
            waited_for.set_result(Answer(answer.tracked, query.header.stamp))
        localizer.note_last_pose(answer, stamp_ns(query.header))
        self._recording.add(stamp_ns(query.header) / 1e9, image, camera, answer.tracked)

    # --- priors ------------------------------------------------------------------------------

    def _begin(self, job: Job) -> None:
        """Forget what was before the activation, and take the last pose; runs in the worker."""
        del job
        if self._localizer is not None:
            self._localizer.reset()
            self._localizer.start_from_last_pose()

    def _forget(self, job: Job) -> None:
        """Become LOST until an image says otherwise; runs in the worker."""
        if self._localizer is not None:
            self._localizer.reset()
        with job.publishing():
            assert self._answers is not None
            self._answers.reset()
            self._answers.request_initialpose()

    def _on_initialpose(self, message: PoseWithCovarianceStamped) -> None:
        """Take a pose from elsewhere as the present one."""
        answers = self._answers
        if answers is None or answers.is_own_initialpose(message):
            return
        try:
            T_map_base, covariance = read_initial_pose(message, self.config.map_frame)
        except ScmprError as error:
            self.get_logger().warning(f"initialpose is not used: {error}")
            return

        def take(job: Job) -> None:
            del job
            if self._localizer is None:
                self.get_logger().warning(f"initialpose is not used: {self._map_problem}")
                return
            self._localizer.set_prior(T_map_base, covariance, PRIOR_PROBABILITY)
            x, y = T_map_base[:2, 3]
            self.get_logger().info(f"initialpose: taken for near ({x:.1f}, {y:.1f})")

        self.submit("take initialpose", take)

    # --- timer and services ------------------------------------------------------------------

    def _on_timer(self) -> None:
        """Let an old state expire, and publish diagnostics."""
        answers, camera_input, inputs = self._answers, self._camera_input, self._inputs
        if answers is None or inputs is None:
            return
        answers.expire()
        if camera_input is not None:
            camera_input.check()
        state, problem = answers.state, self._map_problem
        if not problem and camera_input is not None:
            problem = camera_input.problem
        if self._announced is not None:
            health = WARN, f"{state}: loading map {self._announced}"
        elif problem:
            health = ERROR, problem
        else:
            max_age_s = self.config.tracking.state.max_age_s
            health = self._statistics.health(state, answers.reason, answers.age_s, max_age_s)
        header = Header(stamp=self.get_clock().now().to_msg())
        name = self.get_fully_qualified_name()
        values = {"state": state, "reason": answers.reason, **inputs.descriptions}
        self._diagnostics.publish(self._statistics.message(header, name, health, values))

    def _on_relocalize(
        self, request: Trigger.Request, response: Trigger.Response
    ) -> Trigger.Response:
        """Answer with the next image that is localised; says why there is none after a timeout."""
        del request
        next_answer = self._next_answer  # first: deactivation settles and replaces it
        answers, before = self._answers, self._statistics.count.copy()
        try:
            if not self._is_active or answers is None:
                raise Cancelled("the node is not active")
            if self._localizer is None:
                return _refusal(response, "NO_MAP", self._map_problem)
            answers.request_initialpose()
            answer = next_answer.result(self.config.relocalize_timeout_s)
        except Cancelled as reason:
            return _refusal(response, "NOT_ACTIVE", str(reason))
        except concurrent.futures.TimeoutError:
            return _refusal(response, *self._why_no_answer(before["received"], before["failed"]))
        response.success = answer.tracked.pose.state == LOCALIZED
        response.message = answer_summary(answer.tracked, answer.stamp)
        return response

    def _why_no_answer(self, received: int, failed: int) -> tuple[str, str]:
        """Outcome and explanation; received, failed: the counts when the call came."""
        statistics, camera_input = self._statistics, self._camera_input
        waited = f"within {self.config.relocalize_timeout_s:g} s"
        if statistics.count["failed"] > failed:
            return "FAILED", statistics.last_error
        if statistics.count["received"] == received:
            return "NO_IMAGE", f"no image came {waited}"
        if camera_input is not None and camera_input.problem:
            return "NO_CAMERA_INFO", camera_input.problem
        return "TIMEOUT", f"no image was localised {waited}"

    def _on_reinitialize(self, request: Empty.Request, response: Empty.Response) -> Empty.Response:
        """Forget all images and priors, and become LOST until an image says otherwise."""
        del request
        self.submit("forget", self._forget)
        return response


def _refusal(response: Trigger.Response, outcome: str, error: str) -> Trigger.Response:
    response.success = False
    response.message = json.dumps({"outcome": outcome, "error": error})
    return response


def main() -> int:
    """Run the node; see `commands.localizer`."""
    return run_managed(LocalizerNode)
