"""The query, every image: from a camera image to a pose in the map (section 3.4 of the paper).

`observe` turns an image into evidence about where it was taken; `answer` turns the evidence of one
image into poses. Whoever fuses images over time takes observations.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from torch import Tensor

from scmpr_ros.errors import ConfigError, ShapeError
from scmpr_ros.geometry import camera_pose_on_ground, without_yaw
from scmpr_ros.methods.checkpoint import fingerprint
from scmpr_ros.methods.network import PerceivingNetwork, PlaceNetwork, Query
from scmpr_ros.methods.openvino import OpenVinoEncoder
from scmpr_ros.methods.query_encoder import QueryEncoder
from scmpr_ros.methods.views import QueryView
from scmpr_ros.networks.depth import range_ids
from scmpr_ros.networks.device import choose_device
from scmpr_ros.networks.readers.external import ExternalReaders, ReadersConfig
from scmpr_ros.networks.saff import ImagePrediction
from scmpr_ros.networks.view import ViewSampler
from scmpr_ros.records import CameraModel, Candidate, PlaceMatch
from scmpr_ros.retrieval.belief import BeliefConfig, Hypothesis, hypotheses
from scmpr_ros.retrieval.index import DescriptorIndex, Neighbours
from scmpr_ros.retrieval.matching import MatchingConfig, SemanticMatcher
from scmpr_ros.retrieval.panoramas import Panoramas
from scmpr_ros.retrieval.place_map import PlaceMap
from scmpr_ros.stages import stage

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class LocalizerConfig:
    """How many candidates are matched and kept, and on which device."""

    matching: MatchingConfig = field(default_factory=MatchingConfig)
    belief: BeliefConfig = field(default_factory=BeliefConfig)
    shortlist: int = 100
    """Nearest viewpoints (place, heading) by descriptor that are scored by eq. 10."""
    index: str = "auto"
    """How the map's descriptors are searched: `auto` takes the index that was saved with the map,
    and the exact one on a GPU; `exact`, or a FAISS factory string such as `PCA96,IVF4096,SQ8`."""
    candidates: int = 10
    """Poses in an answer: the best one and its alternatives."""
    device: str = "auto"
    """A torch device; `auto` takes the GPU if there is one."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Of backbone and SAFF; `auto` takes bfloat16 where the hardware multiplies it faster."""
    engine: Literal["torch", "openvino"] = "torch"
    """What computes the RGB branch. OpenVINO runs on CPUs only and must be installed; in float32 it
    is exact, and faster than torch on small networks."""
    readers: ReadersConfig = field(default_factory=ReadersConfig)

    def __post_init__(self) -> None:
        if not 1 <= self.candidates <= self.shortlist:
            raise ConfigError(
                f"candidates {self.candidates} must lie between 1 and shortlist {self.shortlist}"
            )


@dataclass(frozen=True)
class Viewpoints:
    """Places of the map in one heading each: place, heading (M,) int64 indices, without repeats."""

    place: NDArray[np.int64]
    heading: NDArray[np.int64]


@dataclass(frozen=True)
class EncodedImage:
    """What the network makes of one image, whatever the belief about where it was taken.

    query: batch size 1. seen: (h, w) bool, cells of the mask's grid inside the image.
    """

    query: Query
    seen: Tensor


@dataclass(frozen=True)
class Observation:
    """What one image says about where it was taken: evidence for N viewpoints of the map.

    A viewpoint is a place in one heading. The nearest ones by descriptor are listed, and those that
    were asked for.

    place, heading: (N,) int64 indices into the map. yaw_rad: (N,) float64 heading, refined by
        sliding the mask. phi, psi, score: (N,) float64 of eq. 10.
    log_likelihood: (N,) float64, score / score_temperature. floor: the log-likelihood of every
        viewpoint that is not listed, at most that of any listed one that is near by descriptor.
    shortlisted: how many of the first rows are the nearest by descriptor; the others were asked
        for.
    seen: (H, W) bool, cells of the mask's grid inside the image.
    prediction: features, mask and range logits of the image, batch size 1, on the localizer's
        device; None for methods that predict none.
    """

    place: NDArray[np.int64]
    heading: NDArray[np.int64]
    yaw_rad: NDArray[np.float64]
    phi: NDArray[np.float64]
    psi: NDArray[np.float64]
    score: NDArray[np.float64]
    log_likelihood: NDArray[np.float64]
    floor: float
    shortlisted: int
    seen: Tensor
    prediction: ImagePrediction | None

    @property
    def mask(self) -> NDArray[np.uint8] | None:
        """Most probable class of each cell of the mask grid, (H, W) joint ids."""
        if self.prediction is None:
            return None
        return _on_host(self.prediction.mask_logits[0].argmax(0).to(torch.uint8))

    @property
    def range_probs(self) -> NDArray[np.float32] | None:
        """Probability of each range, the last one being `nothing`: (num_ranges + 1, H, W)."""
        if self.prediction is None or self.prediction.range_logits is None:
            return None
        return _on_host(self.prediction.range_logits[0].softmax(0))

    def best_of_each_place(self) -> NDArray[np.int64]:
        """Rows of the best shortlisted heading of each place, by place."""
        order = np.argsort(-self.score[: self.shortlisted], kind="stable")
        _, first = np.unique(self.place[order], return_index=True)
        return order[first]


class Localizer:
    """Finds images in one place map. Not thread-safe."""

    def __init__(
        self,
        place_map: PlaceMap,
        network: PlaceNetwork,
        config: LocalizerConfig | None = None,
        R_base_camera: NDArray[np.float64] | None = None,
    ) -> None:
        """Load everything onto the device, so that the first image is answered as fast as any.

        R_base_camera: (3, 3) orientation of the camera's body axes on a vehicle that stands
            upright on the ground, as the map's places do; level if None.

        Raises MapFormatError if another checkpoint made the map.
        """
        place_map.check_made_by(fingerprint(network))
        self.config = config or LocalizerConfig()
        self.place_map, self.network = place_map, network
        self.places = cKDTree(place_map.positions[:, :2])
        """Finds places by x and y."""
        self.device = choose_device(self.config.device)
        self._view_grid, self.mask_grid = network.config.view, network.config.mask_grid
        context, self._headings = (
            torch.from_numpy(np.array(x)).to(self.device)
            for x in (place_map.context, place_map.headings_rad)
        )
        self.encoder = _encoder(network, context, self.device, self.config)
        self.index = DescriptorIndex.of(
            place_map.descriptors, self.config.index, place_map.saved_index, self.device
        )
        """Finds viewpoints by descriptor."""
        self.panoramas = Panoramas(
            place_map.panorama_labels, place_map.panorama_ranges, self.device
        )
        """What the places show."""
        self._matcher = _matcher(network, place_map, self.panoramas, self.config.matching)
        self.R_level_camera = np.eye(3) if R_base_camera is None else without_yaw(R_base_camera)
        self._samplers: dict[CameraModel, tuple[ViewSampler, Tensor]] = {}
        self._readers = _external_readers(network, self.config, self.R_level_camera, self.device)
        _log.info("RGB branch: %s in %s on %s", self.config.engine, self.encoder.dtype, self.device)
        self._warm_up()

    def localize(
        self,
        image: NDArray[np.uint8],
        camera: CameraModel,
        allowed: NDArray[np.bool_] | None = None,
    ) -> PlaceMatch:
        """Find where an image was taken: `answer(observe(...))`."""
        return self.answer(self.observe(image, camera, allowed))

    def observe(
        self,
        image: NDArray[np.uint8],
        camera: CameraModel,
        allowed: NDArray[np.bool_] | None = None,
        also: Viewpoints | None = None,
    ) -> Observation:
        """Gather what an image says about where it was taken: `compare(encode(...))`."""
        return self.compare(self.encode(image, camera), allowed, also)

    @torch.inference_mode()
    def encode(self, image: NDArray[np.uint8], camera: CameraModel) -> EncodedImage:
        """Describe an image (eq. 1-9).

        image: (H, W, 3) RGB, rectified. camera: its intrinsics.

        Raises ShapeError if the image is not of that shape and dtype or not of the camera's size.
        """
        _check_image(image, camera)
        with stage("preprocess"):
            sampler, seen = self._sampler(camera)
            pixels = torch.from_numpy(np.ascontiguousarray(image)).to(self.device)
            pixels = pixels.permute(2, 0, 1)[None]
            view = QueryView(sampler.image(pixels), seen)
        return EncodedImage(self._describe(view, pixels, camera), seen)

    @torch.inference_mode()
    def compare(
        self,
        image: EncodedImage,
        allowed: NDArray[np.bool_] | None = None,
        also: Viewpoints | None = None,
    ) -> Observation:
        """Compare an image with the map (eq. 10).

        allowed: (P,) places that may be the answer, at least one; all if None.
        also: viewpoints to be listed, however unlike the image they are.
        """
        return self._search(image.query, image.seen, allowed, also)

    @torch.inference_mode()
    def observe_view(self, view: QueryView) -> Observation:
        """Gather what one image says that was resampled before, without external readers."""
        view = QueryView(view.pixels.to(self.device), view.seen.to(self.device))
        return self._search(self.encoder(view), view.seen)

    def answer(self, observation: Observation) -> PlaceMatch:
        """Name the most probable pose of one observation, and its alternatives."""
        rows = observation.best_of_each_place()
        found = hypotheses(
            self.place_map.positions[observation.place[rows]], observation.yaw_rad[rows],
            observation.score[rows], self.config.belief, self.config.candidates,
        )  # fmt: skip
        candidates = tuple(self._candidate(observation, rows[each.index], each) for each in found)
        return PlaceMatch(candidates, observation.mask)

    def camera_pose(self, xy: NDArray[np.float64], yaw_rad: float) -> NDArray[np.float64]:
        """Pose `T_map_camera` (4, 4) of the camera at a point (2,) of the map, on the ground there.

        yaw_rad: heading of the camera. Height and slope are those of the nearest place.
        """
        place = int(self.places.query(xy)[1])
        axes, position = self.place_map.axes[place], self.place_map.positions[place]
        up = axes[:, 2]
        height_m = position[2] - (xy - position[:2]) @ up[:2] / up[2]
        return camera_pose_on_ground(np.append(xy, height_m), axes, yaw_rad, self.R_level_camera)

    def _describe(self, view: QueryView, pixels: Tensor, camera: CameraModel) -> Query:
        """Describe an image; external readers see all its pixels (1, 3, h, w)."""
        if self._readers is None:
            return self.encoder(view)
        assert isinstance(self.encoder, QueryEncoder)  # `_external_readers` refuses another engine
        with stage("readers"):
            given = self._readers.read(pixels, view.pixels, camera)
        return self.encoder(view, given)

    def _search(
        self, query: Query, seen: Tensor, allowed: NDArray[np.bool_] | None = None,
        also: Viewpoints | None = None,
    ) -> Observation:  # fmt: skip
        """Shortlist viewpoints by descriptor, and score them."""
        with stage("search"):
            descriptor = query.descriptor[0]
            near = self.index.search(descriptor, self.config.shortlist, allowed)
            listed = near if also is None else near + self._others(descriptor, near, also)
        with stage("psi"):
            return self._match(query, seen, listed, len(near.place))

    def _others(self, descriptor: Tensor, near: Neighbours, also: Viewpoints) -> Neighbours:
        """The viewpoints asked for that are not among the nearest."""
        count = len(self._headings)
        known = _on_host(near.place * count + near.heading)
        new = ~np.isin(also.place * count + also.heading, known)
        return self.index.compare(descriptor, also.place[new], also.heading[new])

    def _match(self, query: Query, seen: Tensor, near: Neighbours, shortlisted: int) -> Observation:
        """Score viewpoints by eq. 10; the first `shortlisted` are the nearest by descriptor."""
        weights = self.config.matching
        yaw = self._headings[near.heading]
        psi = torch.zeros_like(near.phi)
        if self._matcher is not None and query.prediction is not None:
            class_probs = query.prediction.mask_logits[0].softmax(0)
            logits = query.prediction.range_logits
            range_probs = None if logits is None else logits[0].softmax(0)
            psi, yaw = self._matcher.overlap(class_probs, range_probs, seen, near.place, yaw)
        score = weights.alpha * near.phi + weights.beta * psi  # eq. 10
        place, heading = _on_host(torch.stack([near.place, near.heading]))
        values = _on_host(torch.stack([x.double() for x in (yaw, near.phi, psi, score)]))
        yaw_rad, phi, overlap, scores = values
        temperature = self.config.belief.score_temperature
        least = weights.alpha * phi[:shortlisted].min() + weights.beta * overlap[:shortlisted].min()
        return Observation(
            place, heading, yaw_rad, phi, overlap, scores, scores / temperature,
            float(least / temperature), shortlisted, seen, query.prediction,
        )  # fmt: skip

    def _candidate(self, observation: Observation, row: int, found: Hypothesis) -> Candidate:
        """The candidate of a hypothesis; `row` is that of its central place."""
        place = int(observation.place[row])
        pose = camera_pose_on_ground(
            found.position, self.place_map.axes[place], found.yaw_rad, self.R_level_camera
        )
        phi, psi, score = (float(x[row]) for x in
                           (observation.phi, observation.psi, observation.score))  # fmt: skip
        heading = int(observation.heading[row])
        return Candidate(place, heading, pose, score, phi, psi, found.confidence)

    def _warm_up(self) -> None:
        """Encode one empty view: compile kernels, allocate memory, choose layouts."""
        view = torch.zeros(1, 3, self._view_grid.height, self._view_grid.width)
        seen = torch.ones(self.mask_grid.height, self.mask_grid.width, dtype=torch.bool)
        query = self.encoder(QueryView(view.to(self.device), seen.to(self.device)))
        if self.config.readers.depth and getattr(query.prediction, "range_logits", None) is None:
            raise ConfigError("the network has no range head that a depth reader could replace")

    def _sampler(self, camera: CameraModel) -> tuple[ViewSampler, Tensor]:
        """The camera's view sampler and the mask cells it sees; made once for each camera."""
        if camera not in self._samplers:
            view, mask = (
                ViewSampler.of(camera, grid, self.R_level_camera).to(self.device)
                for grid in (self._view_grid, self.mask_grid)
            )
            self._samplers[camera] = (view, mask.seen)
        return self._samplers[camera]


def _encoder(
    network: PlaceNetwork, context: Tensor, device: torch.device, config: LocalizerConfig
) -> QueryEncoder | OpenVinoEncoder:
    if config.engine == "torch":
        return QueryEncoder(network, context, device, config.precision)
    if device.type != "cpu":
        raise ConfigError(f"the engine openvino runs on CPUs, not on {device}: set device to cpu")
    return OpenVinoEncoder(network, context, config.precision)


def _matcher(
    network: PlaceNetwork, place_map: PlaceMap, panoramas: Panoramas, config: MatchingConfig
) -> SemanticMatcher | None:
    """The matcher of a map's panoramas; None where only descriptors count."""
    if config.beta == 0 or not (isinstance(network, PerceivingNetwork) and network.uses_overlap):
        return None

    def ids(range_m: Tensor) -> Tensor:
        return range_ids(range_m, network.ranges).to(torch.uint8)

    return SemanticMatcher(
        network.config.mask_grid, place_map.grid, config, panoramas, ids,
        torch.from_numpy(np.array(place_map.confusion)), network.statistics.to(panoramas.device),
    )  # fmt: skip


def _external_readers(
    network: PlaceNetwork, config: LocalizerConfig, R_level_camera: NDArray[np.float64],
    device: torch.device,
) -> ExternalReaders | None:  # fmt: skip
    if not config.readers.any:
        return None
    if not isinstance(network, PerceivingNetwork):
        raise ConfigError(f"{network.method} predicts no masks and no ranges: it takes no readers")
    if config.engine != "torch":
        raise ConfigError(
            "readers need the engine torch, whose network takes their masks and ranges; to run the "
            "readers themselves by OpenVINO, set readers.runtime"
        )
    grids = network.config.view, network.config.mask_grid
    return ExternalReaders(config.readers, grids, network.ranges, R_level_camera, device)


def _on_host(tensor: Tensor) -> NDArray[Any]:
    return tensor.cpu().numpy()


def _check_image(image: NDArray[np.uint8], camera: CameraModel) -> None:
    if image.ndim != 3 or image.shape[2] != 3 or image.size == 0 or image.dtype != np.uint8:
        raise ShapeError.of("image", "(H, W, 3) uint8 with pixels", f"{image.shape} {image.dtype}")
    if image.shape[:2] != (camera.height, camera.width):
        raise ShapeError.of(
            "image", f"the camera's {camera.height}x{camera.width}", f"{image.shape[:2]}"
        )
