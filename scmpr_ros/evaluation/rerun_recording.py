"""Recordings for the Rerun viewer: map, tracks, hypotheses, images, and how sure the answers are.

Entities, with time on the timeline `stamp`; positions are those of the map less its origin:

    map/points, map/places    what the map shows, and where its places are
    truth/track, truth/now    the true path, and the true pose
    estimate/camera           the answer: pose, frustum and image
    estimate/track            latest answers in the colours of their states
    estimate/covariance       3 sigma of the position
    estimate/error            from the answer to the truth
    hypotheses                what the tracker holds possible, thicker and brighter if more probable
    single/now, single/track  the answer to the image alone
    mask                      classes predicted for the image
    panorama                  the nearest place as the map knows it, turned to the answer's heading
    belief, error_m, error_deg, state, log    over time
"""

from __future__ import annotations

from collections import deque
from contextlib import ExitStack
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scmpr_ros.atomic_files import atomic_write
from scmpr_ros.errors import ConfigError
from scmpr_ros.evaluation.map_points import place_map_points, thin
from scmpr_ros.evaluation.state_colours import STATE_COLOURS
from scmpr_ros.geometry import camera_yaw, round_origin, wrap_angle
from scmpr_ros.pipeline.states import LOCALIZED, LOST
from scmpr_ros.pipeline.tracked_pose import PoseHypothesis, TrackedPose
from scmpr_ros.pipeline.tracking_localizer import TrackedAnswer
from scmpr_ros.records import CameraModel, PlaceMatch, PointCloud
from scmpr_ros.retrieval.place_map import PlaceMap
from scmpr_ros.semantics import CLASSES

Array = NDArray[np.floating]

APPLICATION = "scmpr_ros"
_TIMELINE = "stamp"
_TRUTH, _SINGLE = (90, 160, 255), (150, 150, 158)
_MAX_POINTS = 300_000
_TRACK_LENGTH = 400  # answers shown at a time: a node may run for days
_JPEG_QUALITY = 80
_POINT_M = 0.18
_ARROW_M = 5.0
_WIDEST_SIGMA_M = 30.0  # an unknown position would cover the whole view


class RerunRecording:
    """Writes one `.rrd` file, under a temporary name until it is closed. Not thread-safe."""

    def __init__(self, path: Path) -> None:
        """Open the file; raises ConfigError where rerun-sdk is not installed."""
        self._rerun = require_rerun()
        self._closing = ExitStack()
        temporary = self._closing.enter_context(atomic_write(path))
        self._stream = self._rerun.RecordingStream(APPLICATION)
        self._stream.save(temporary, default_blueprint=layout(self._rerun))
        self._closing.callback(self._stream.disconnect)
        self._stream.set_log_time_enabled(False)  # the stamps are the only time that matters
        self._stream.set_log_tick_enabled(False)
        self._place_map: PlaceMap | None = None
        self._origin = np.zeros(3)
        self._tracks: dict[str, deque[tuple[Array, str]]] = {}
        self._state = ""
        self._log_styles()

    def __enter__(self) -> RerunRecording:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the file; after an error it is removed."""
        self._closing.__exit__(kind, error, trace)

    def close(self) -> None:
        """Complete the file and give it its name."""
        self._closing.close()

    # --- the map and the truth ---------------------------------------------------------------

    def log_map(self, place_map: PlaceMap, cloud: PointCloud | None = None) -> None:
        """Show a map in place of the one before.

        cloud: its points; by default those that the places see.
        """
        rr, self._place_map = self._rerun, place_map
        self._origin = round_origin(place_map.positions.mean(axis=0))
        cloud = thin(place_map_points(place_map) if cloud is None else cloud, _MAX_POINTS)
        positions = self._local(cloud.xyz + cloud.origin)
        points = rr.Points3D(positions, class_ids=cloud.label, radii=_POINT_M)
        self._stream.log("map/points", points, static=True)
        places = rr.Points3D(self._local(place_map.positions), colors=(200, 200, 205), radii=0.15)
        self._stream.log("map/places", places, static=True)
        self._stream.log("map", rr.AnyValues(origin_m=self._origin), static=True)
        self._stream.send_blueprint(layout(rr, self._local(place_map.positions)))

    def log_true_track(self, T_map_camera: Array) -> None:
        """Show the true path, (N, 4, 4), as a line."""
        line = self._rerun.LineStrips3D(
            [self._local(T_map_camera[:, :3, 3])], colors=_TRUTH, radii=0.12
        )
        self._stream.log("truth/track", line, static=True)

    # --- one image ---------------------------------------------------------------------------

    def log_answer(
        self,
        stamp_s: float,
        image: NDArray[np.uint8],
        camera: CameraModel,
        answer: TrackedAnswer,
        T_true: Array | None = None,
    ) -> None:
        """Show an image with its tracked pose, beside the answer to it alone.

        stamp_s: of the image, growing. image: (H, W, 3) RGB of the camera. T_true: (4, 4) true
        `T_map_camera`, if known.
        """
        self.log_pose(stamp_s, answer.pose, T_true)
        self.log_match(stamp_s, answer.match, T_true)
        self._log_image(image, camera, answer.match.mask, answer.pose.T_map_camera)

    def log_single(
        self,
        stamp_s: float,
        image: NDArray[np.uint8],
        camera: CameraModel,
        match: PlaceMatch,
        T_true: Array | None = None,
    ) -> None:
        """Show an image with the answer to it alone; arguments as of `log_answer`."""
        self.log_match(stamp_s, match, T_true)
        self._log_image(image, camera, match.mask, match.best.T_map_camera)

    def log_pose(self, stamp_s: float, pose: TrackedPose, T_true: Array | None = None) -> None:
        """Show a tracked pose without its image."""
        rr = self._rerun
        self._at(stamp_s)
        self._track("estimate/track", pose.T_map_camera, STATE_COLOURS[pose.state], 0.35)
        self._stream.log("estimate/covariance", self._ellipse(pose))
        self._stream.log("hypotheses", self._arrows(pose.hypotheses))
        self._series("belief/near", pose.near_probability)
        self._series("belief/off_map", pose.off_map_probability)
        self._series("error_m/three_sigma", 3 * float(_sigmas_m(pose.covariance)[0].max()))
        self._stream.log("state", rr.StateChange(state=pose.state))
        if pose.state != self._state:
            colour = _rgb(STATE_COLOURS[pose.state])
            self._stream.log("log", rr.TextLog(f"{pose.state}: {pose.reason}", color=colour))
            self._state = pose.state
        if T_true is not None:
            self.log_errors(stamp_s, T_true, T_tracked=pose.T_map_camera)

    def log_match(self, stamp_s: float, match: PlaceMatch, T_true: Array | None = None) -> None:
        """Show the answer to one image alone, without the image."""
        self._at(stamp_s)
        pose = match.best.T_map_camera
        self._track("single/track", pose, _hex(_SINGLE), 0.2)
        self._stream.log("single/now", self._arrow(pose, _SINGLE))
        self._series("belief/single", match.confidence)
        if T_true is not None:
            self.log_errors(stamp_s, T_true, T_single=pose)

    def log_errors(
        self, stamp_s: float, T_true: Array, T_tracked: Array | None = None,
        T_single: Array | None = None,
    ) -> None:  # fmt: skip
        """Show the true pose (4, 4), and the errors of the tracked pose and of the single image."""
        self._at(stamp_s)
        self._stream.log("truth/now", self._arrow(T_true, _TRUTH))
        for name, T in (("tracked", T_tracked), ("single", T_single)):
            if T is not None:
                distance_m = float(np.linalg.norm((T - T_true)[:2, 3]))
                turned_rad = np.abs(wrap_angle(camera_yaw(T) - camera_yaw(T_true)))
                self._series(f"error_m/{name}", distance_m)
                self._series(f"error_deg/{name}", float(np.rad2deg(turned_rad)))
        if T_tracked is not None:
            ends = self._local(np.stack([T_tracked[:3, 3], T_true[:3, 3]]))
            colour = _rgb(STATE_COLOURS[LOST])
            error = self._rerun.LineStrips3D([ends], colors=colour, radii=0.08)
            self._stream.log("estimate/error", error)

    def include(self, path: Path) -> None:
        """Add the answers of another recording, such as that of a node, without its map."""
        rr = self._rerun
        if not Path(path).is_file():
            raise ConfigError(f"there is no recording {path}: see the log of the node")
        reader = getattr(rr, "chunk", rr.experimental).RrdReader
        self._stream.send_chunks(reader(path).stream().drop(content="/map/**"))

    # --- parts -------------------------------------------------------------------------------

    def _at(self, stamp_s: float) -> None:
        self._stream.set_time(_TIMELINE, timestamp=stamp_s)

    def _local(self, positions: Array) -> Array:
        """Positions (..., 3) of the map less its origin: the viewer computes in float32."""
        return np.asarray(positions, np.float64) - self._origin

    def _log_image(
        self, image: NDArray[np.uint8], camera: CameraModel,
        mask: NDArray[np.uint8] | None, T_map_camera: Array,
    ) -> None:  # fmt: skip
        rr, stream = self._rerun, self._stream
        stream.log("estimate/camera", rr.Transform3D(
            translation=self._local(T_map_camera[:3, 3]), mat3x3=T_map_camera[:3, :3]
        ))  # fmt: skip
        stream.log("estimate/camera", rr.Pinhole(
            image_from_camera=camera.matrix, width=camera.width, height=camera.height,
            image_plane_distance=4.0,
        ))  # fmt: skip
        stream.log("estimate/camera", rr.Image(image).compress(jpeg_quality=_JPEG_QUALITY))
        if mask is not None:
            stream.log("mask", rr.SegmentationImage(mask))
        if self._place_map is not None:
            self._log_panorama(self._place_map, T_map_camera, camera.horizontal_fov_rad)

    def _log_panorama(self, place_map: PlaceMap, T_map_camera: Array, fov_rad: float) -> None:
        """Show the panorama of the nearest place, the camera's heading in its middle."""
        grid = place_map.grid
        offsets = place_map.positions[:, :2] - T_map_camera[:2, 3]
        place = int(np.linalg.norm(offsets, axis=1).argmin())
        column = float(grid.columns(camera_yaw(T_map_camera)))
        labels = np.roll(place_map.panorama_labels[place], round(grid.width / 2 - column), axis=1)
        self._stream.log("panorama", self._rerun.SegmentationImage(labels))
        half = fov_rad / grid.column_rad / 2
        window = self._rerun.Boxes2D(
            mins=[(grid.width / 2 - half, 0)], sizes=[(2 * half, grid.height)],
            colors=(255, 255, 255),
        )  # fmt: skip
        self._stream.log("panorama/window", window)

    def _track(self, entity: str, T_map_camera: Array, colour: str, radius_m: float) -> None:
        track = self._tracks.setdefault(entity, deque(maxlen=_TRACK_LENGTH))
        track.append((T_map_camera[:3, 3], colour))
        positions, colours = zip(*track, strict=True)
        self._stream.log(entity, self._rerun.Points3D(
            self._local(np.stack(positions)), colors=[_rgb(c) for c in colours], radii=radius_m
        ))  # fmt: skip

    def _arrow(self, T_map_camera: Array, colour: tuple[int, int, int]) -> Any:
        return self._rerun.Arrows3D(
            origins=[self._local(T_map_camera[:3, 3])], vectors=[_ARROW_M * T_map_camera[:3, 2]],
            colors=colour, radii=0.25,
        )  # fmt: skip

    def _arrows(self, hypotheses: tuple[PoseHypothesis, ...]) -> Any:
        poses = np.stack([each.T_map_camera for each in hypotheses])
        probability = np.array([each.probability for each in hypotheses])
        bright = (110 + 145 * np.sqrt(probability.clip(0, 1)))[:, None]
        colours = np.hstack([bright, 0.75 * bright, 0.1 * bright]).astype(np.uint8)
        return self._rerun.Arrows3D(
            origins=self._local(poses[:, :3, 3]), vectors=_ARROW_M * poses[:, :3, 2],
            colors=colours, radii=0.08 + 0.4 * np.sqrt(probability),
            labels=[f"{p:.0%}" for p in probability], show_labels=False,
        )  # fmt: skip

    def _ellipse(self, pose: TrackedPose) -> Any:
        """Three sigma of the position on the ground."""
        rr = self._rerun
        sigmas_m, yaw_rad = _sigmas_m(pose.covariance)
        half_sizes = [*(3 * sigmas_m.clip(0.01, _WIDEST_SIGMA_M)), 0.1]
        return rr.Ellipsoids3D(
            centers=[self._local(pose.T_map_camera[:3, 3])], half_sizes=[half_sizes],
            rotation_axis_angles=[rr.RotationAxisAngle(axis=(0, 0, 1), radians=yaw_rad)],
            colors=(*_rgb(STATE_COLOURS[pose.state]), 60), fill_mode="solid",
        )  # fmt: skip

    def _series(self, entity: str, value: float) -> None:
        self._stream.log(entity, self._rerun.Scalars(value))

    def _log_styles(self) -> None:
        """Colours and names of classes, lines and states."""
        rr, stream = self._rerun, self._stream
        classes = [(i, c.name, c.rgb) for i, c in enumerate(CLASSES)]
        stream.log("/", rr.AnnotationContext(classes), static=True)
        stream.log("/", rr.ViewCoordinates.RIGHT_HAND_Z_UP, static=True)
        tracked, lost = (_rgb(STATE_COLOURS[name]) for name in (LOCALIZED, LOST))
        lines = {
            "belief/near": (tracked, "within 5 m and 15°"), "belief/off_map": (lost, "off the map"),
            "belief/single": (_SINGLE, "single image"),
            "error_m/tracked": (tracked, "tracked"), "error_m/single": (_SINGLE, "single image"),
            "error_m/three_sigma": ((224, 161, 0), "3 sigma"),
            "error_deg/tracked": (tracked, "tracked"),
            "error_deg/single": (_SINGLE, "single image"),
        }  # fmt: skip
        for entity, (colour, name) in lines.items():
            stream.log(entity, rr.SeriesLines(colors=[colour], names=[name]), static=True)
        colours = [_rgb(colour) for colour in STATE_COLOURS.values()]
        states = rr.StateConfiguration(values=list(STATE_COLOURS), colors=colours)
        stream.log("state", states, static=True)


def layout(rr: ModuleType, positions: Array | None = None) -> Any:
    """The arrangement of the viewer: the map from above, images, and curves over time.

    positions: (P, 3) of the places, to look at all of them.
    """
    rrb = rr.blueprint
    eye = None
    if positions is not None:
        low, high = positions.min(axis=0), positions.max(axis=0)
        centre, size_m = (low + high) / 2, float(np.ptp(positions[:, :2], axis=0).max()) + 30
        eye = rrb.EyeControls3D(
            position=centre + (0, -0.3 * size_m, 0.8 * size_m), look_target=centre,
            eye_up=(0, 0, 1),
        )  # fmt: skip
    world = rrb.Spatial3DView(
        name="Map", origin="/", eye_controls=eye,
        contents=["+ /map/**", "+ /truth/**", "+ /estimate/**", "+ /hypotheses", "+ /single/**"],
    )  # fmt: skip
    images = rrb.Vertical(
        rrb.Spatial2DView(name="Image", origin="/estimate/camera"),
        rrb.Spatial2DView(name="Predicted classes", origin="/mask"),
        rrb.Spatial2DView(name="Nearest place, turned to the heading", origin="/panorama"),
        row_shares=[3, 2, 2],
    )
    curves = rrb.Horizontal(
        rrb.TimeSeriesView(name="Belief", origin="/belief",
                           axis_y=rrb.ScalarAxis(range=(0, 1.02))),
        rrb.TimeSeriesView(name="Position error, m", origin="/error_m",
                           axis_y=rrb.ScalarAxis(range=(0, 20))),
        rrb.TimeSeriesView(name="Heading error, deg", origin="/error_deg",
                           axis_y=rrb.ScalarAxis(range=(0, 45))),
    )  # fmt: skip
    states = rrb.Horizontal(
        rrb.StateTimelineView(name="State", origin="/state"),
        rrb.TextLogView(name="Changes of state", origin="/log"),
    )
    return rrb.Blueprint(
        rrb.Vertical(
            rrb.Horizontal(world, images, column_shares=[3, 2]), curves, states,
            row_shares=[5, 2, 1],
        ),
        rrb.TimePanel(timeline=_TIMELINE, state="collapsed"),
        rrb.BlueprintPanel(state="collapsed"),
        rrb.SelectionPanel(state="collapsed"),
        auto_views=False,
    )  # fmt: skip


def require_rerun() -> ModuleType:
    """Import rerun; raises ConfigError where rerun-sdk is not installed."""
    try:
        import rerun
        import rerun.blueprint
    except ImportError as error:
        raise ConfigError(
            'rerun-sdk is not installed, which recordings need: pip install "scmpr_ros[viewer]"'
        ) from error
    return rerun


def _sigmas_m(covariance: Array) -> tuple[NDArray[np.float64], float]:
    """Standard deviations (2,) of x, y along their principal axes, and the yaw of the first."""
    variances, axes = np.linalg.eigh(covariance[:2, :2])
    return np.sqrt(variances.clip(0)), float(np.arctan2(axes[1, 0], axes[0, 0]))


def _rgb(colour: str) -> tuple[int, int, int]:
    red, green, blue = bytes.fromhex(colour[1:])
    return red, green, blue


def _hex(colour: tuple[int, int, int]) -> str:
    return "#" + bytes(colour).hex()
