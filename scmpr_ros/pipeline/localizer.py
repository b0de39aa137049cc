"""The query, every image: from a camera image to a pose in the map (section 3.4 of the paper)."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from scmpr_ros.errors import ConfigError, ShapeError
from scmpr_ros.geometry import camera_pose_on_ground, without_yaw
from scmpr_ros.networks.checkpoint import fingerprint
from scmpr_ros.networks.inference import QueryEncoder
from scmpr_ros.networks.openvino import OpenVinoEncoder
from scmpr_ros.networks.place_network import PlaceNetwork
from scmpr_ros.networks.scmpr import ScmprNetwork
from scmpr_ros.networks.view import ViewSampler
from scmpr_ros.pipeline.map_builder import choose_device
from scmpr_ros.records import CameraModel, Candidate, PlaceMatch
from scmpr_ros.retrieval.belief import BeliefConfig, Hypothesis, hypotheses
from scmpr_ros.retrieval.index import DescriptorIndex, Neighbours
from scmpr_ros.retrieval.matching import MatchingConfig, SemanticMatcher
from scmpr_ros.retrieval.place_map import PlaceMap
from scmpr_ros.stages import stage

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class LocalizerConfig:
    """How many candidates are matched and kept, and on what device."""

    matching: MatchingConfig = field(default_factory=MatchingConfig)
    belief: BeliefConfig = field(default_factory=BeliefConfig)
    shortlist: int = 100
    """Nearest (place, heading) by descriptor that go into eq. 10."""
    candidates: int = 10
    """Poses of an answer: the best one and its alternatives."""
    device: str = "auto"
    """A torch device; `auto` takes the GPU where there is one."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Of backbone and SAFF; `auto` takes bfloat16 where the hardware multiplies it faster."""
    engine: Literal["torch", "openvino"] = "torch"
    """What computes the RGB branch. OpenVINO, on CPUs only, must be installed; in float32 it is
    exact, and faster than torch on small networks."""

    def __post_init__(self) -> None:
        if not 1 <= self.candidates <= self.shortlist:
            raise ConfigError(
                f"candidates {self.candidates} must lie between 1 and shortlist {self.shortlist}"
            )


class Localizer:
    """Finds images in one place map. Not thread-safe."""

    def __init__(
        self,
        place_map: PlaceMap,
        network: PlaceNetwork,
        config: LocalizerConfig | None = None,
        R_base_camera: NDArray[np.float64] | None = None,
    ) -> None:
        """Get ready, so that the first image is answered as fast as any.

        R_base_camera: (3, 3) how the camera's body axes are mounted on a vehicle that stands
            upright on the ground, as places of the map do; level where it is None.

        Raises MapFormatError if another checkpoint made the map.
        """
        place_map.check_made_by(fingerprint(network))
        self.config = config or LocalizerConfig()
        self.place_map = place_map
        self._device = choose_device(self.config.device)
        self._view_grid, self.mask_grid = network.config.view, network.config.mask_grid
        context, self._headings, panoramas, confusion = (
            torch.from_numpy(np.array(x)).to(self._device)
            for x in (place_map.context, place_map.headings_rad, place_map.panorama_labels,
                      place_map.confusion)
        )  # fmt: skip
        self.encoder = _encoder(network, context, self._device, self.config)
        self._index = DescriptorIndex(place_map.descriptors, self._device)
        self._matcher = SemanticMatcher(
            self.mask_grid, place_map.grid, self.config.matching, panoramas, confusion
        )
        self._R_level_camera = np.eye(3) if R_base_camera is None else without_yaw(R_base_camera)
        self._samplers: dict[CameraModel, tuple[ViewSampler, Tensor]] = {}
        _log.info(
            "RGB branch: %s in %s on %s", self.config.engine, self.encoder.dtype, self._device
        )
        self._warm_up()

    @torch.inference_mode()
    def localize(
        self,
        image: NDArray[np.uint8],
        camera: CameraModel,
        allowed: NDArray[np.bool_] | None = None,
    ) -> PlaceMatch:
        """Find where an image was taken.

        Args:
            image: (H, W, 3) RGB, rectified.
            camera: its intrinsics.
            allowed: (P,) places that may be the answer, at least one; all where it is None.

        Raises ShapeError if the image is not of that shape and dtype or not of the camera's size.
        """
        _check_image(image, camera)
        with stage("preprocess"):
            sampler, seen = self._sampler(camera)
            pixels = torch.from_numpy(np.ascontiguousarray(image)).to(self._device)
            view = sampler.image(pixels.permute(2, 0, 1)[None])
        descriptor, class_probs = self.encoder(view, seen)  # eq. 1-9
        with stage("search"):
            near = self._index.search(descriptor, self.config.shortlist, allowed)
        with stage("psi"):
            candidates = self._match(class_probs, seen, near)
        mask = class_probs.argmax(0).to(torch.uint8).cpu().numpy()
        return PlaceMatch(candidates, mask)

    def _match(self, class_probs: Tensor, seen: Tensor, near: Neighbours) -> tuple[Candidate, ...]:
        """Score the shortlist by eq. 10, and name the alternatives that it leaves."""
        weights = self.config.matching
        psi, yaw = self._matcher.overlap(
            class_probs, seen, near.place, self._headings[near.heading]
        )
        score = weights.alpha * near.phi + weights.beta * psi  # eq. 10
        columns = torch.stack([near.place, near.heading, yaw, score, near.phi, psi])
        viewpoints = _ScoredPlaces(*columns.cpu().numpy())  # all in one transfer
        scored = viewpoints.best_heading_of_each()
        found = hypotheses(
            self.place_map.positions[scored.place.astype(int)], scored.yaw_rad, scored.score,
            self.config.belief, self.config.candidates,
        )  # fmt: skip
        return tuple(self._candidate(scored, each) for each in found)

    def _candidate(self, scored: _ScoredPlaces, found: Hypothesis) -> Candidate:
        """The candidate that stands for a neighbourhood of them, standing as its place does."""
        place, heading, _, score, phi, psi = (float(values[found.index]) for values in scored)
        axes = self.place_map.axes[int(place)]
        pose = camera_pose_on_ground(found.position, axes, found.yaw_rad, self._R_level_camera)
        return Candidate(int(place), int(heading), pose, score, phi, psi, found.confidence)

    def _warm_up(self) -> None:
        """Encode one empty view: kernels are compiled, memory is taken, layouts are chosen."""
        view = torch.zeros(1, 3, self._view_grid.height, self._view_grid.width)
        seen = torch.ones(self.mask_grid.height, self.mask_grid.width, dtype=torch.bool)
        self.encoder(view.to(self._device), seen.to(self._device))

    def _sampler(self, camera: CameraModel) -> tuple[ViewSampler, Tensor]:
        """The camera's view sampler and the mask cells it sees; made once for each camera."""
        if camera not in self._samplers:
            view, mask = (
                ViewSampler.of(camera, grid, self._R_level_camera).to(self._device)
                for grid in (self._view_grid, self.mask_grid)
            )
            self._samplers[camera] = (view, mask.seen)
        return self._samplers[camera]


class _ScoredPlaces(NamedTuple):
    """N places of the map, each in one heading; see `Candidate`. place, heading: whole numbers."""

    place: NDArray[np.float64]
    heading: NDArray[np.float64]
    yaw_rad: NDArray[np.float64]
    score: NDArray[np.float64]
    phi: NDArray[np.float64]
    psi: NDArray[np.float64]

    def best_heading_of_each(self) -> _ScoredPlaces:
        """Of several headings of a place, the one with the best score."""
        order = np.argsort(-self.score, kind="stable")
        _, first = np.unique(self.place[order], return_index=True)
        return _ScoredPlaces(*(values[order[first]] for values in self))


def _encoder(
    network: PlaceNetwork, context: Tensor, device: torch.device, config: LocalizerConfig
) -> QueryEncoder | OpenVinoEncoder:
    if config.engine == "torch":
        return QueryEncoder(network, context, device, config.precision)
    if device.type != "cpu":
        raise ConfigError(f"the engine openvino runs on CPUs, not on {device}: set device to cpu")
    if not isinstance(network, ScmprNetwork):
        raise ConfigError("the engine openvino runs SCM-PR only: set engine to torch")
    return OpenVinoEncoder(network, context, config.precision)


def _check_image(image: NDArray[np.uint8], camera: CameraModel) -> None:
    if image.ndim != 3 or image.shape[2] != 3 or image.size == 0 or image.dtype != np.uint8:
        raise ShapeError.of("image", "(H, W, 3) uint8 with pixels", f"{image.shape} {image.dtype}")
    if image.shape[:2] != (camera.height, camera.width):
        raise ShapeError.of(
            "image", f"the camera's {camera.height}x{camera.width}", f"{image.shape[:2]}"
        )
