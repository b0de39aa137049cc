"""The query, every image: from a camera image to a pose in the map (section 3.4 of the paper)."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from scmpr_ros.errors import ConfigError, ShapeError
from scmpr_ros.networks.checkpoint import fingerprint
from scmpr_ros.networks.scmpr import ScmprNetwork
from scmpr_ros.networks.view import ViewSampler
from scmpr_ros.pipeline.map_builder import choose_device
from scmpr_ros.records import CameraModel, Candidate, PlaceMatch
from scmpr_ros.retrieval.index import DescriptorIndex, Neighbours
from scmpr_ros.retrieval.matching import MatchingConfig, SemanticMatcher
from scmpr_ros.retrieval.place_map import PlaceMap


@dataclass(frozen=True)
class LocalizerConfig:
    """How many candidates are matched and kept, and on what device."""

    matching: MatchingConfig = field(default_factory=MatchingConfig)
    shortlist: int = 50
    """Nearest (place, heading) by descriptor that go into eq. 10."""
    candidates: int = 10
    """Candidates of an answer: the best heading of each place."""
    device: str = "auto"

    def __post_init__(self) -> None:
        if not 1 <= self.candidates <= self.shortlist:
            raise ConfigError(
                f"candidates {self.candidates} must lie between 1 and shortlist {self.shortlist}"
            )


class Localizer:
    """Finds images in one place map. Not thread-safe."""

    def __init__(
        self, place_map: PlaceMap, network: ScmprNetwork, config: LocalizerConfig | None = None
    ) -> None:
        """Raises MapFormatError if another checkpoint made the map."""
        place_map.check_made_by(fingerprint(network))
        self.config = config or LocalizerConfig()
        self.place_map = place_map
        self._device = choose_device(self.config.device)
        self._network = network.eval().to(self._device)
        self._context = torch.from_numpy(np.array(place_map.context)).to(self._device)
        self._index = DescriptorIndex(place_map.descriptors)
        self._mask_grid = network.config.mask_grid
        self._matcher = SemanticMatcher(self._mask_grid, place_map.grid, self.config.matching)
        self._samplers: dict[CameraModel, tuple[ViewSampler, torch.Tensor]] = {}

    @torch.inference_mode()
    def localize(self, image: NDArray[np.uint8], camera: CameraModel) -> PlaceMatch:
        """Find where an image was taken.

        Args:
            image: (H, W, 3) RGB, rectified.
            camera: its intrinsics; the camera is taken to be level.

        Raises ShapeError if the image is not of that shape and dtype or not of the camera's size.
        """
        _check_image(image, camera)
        sampler, seen = self._sampler(camera)
        view = sampler.image(self._to_tensor(image))
        encoding = self._network.encode_image(view, seen, self._context)  # eq. 1-9
        mask = encoding.mask_logits[0].argmax(0).to(torch.uint8).cpu().numpy()
        near = self._index.search(encoding.descriptor[0].cpu().numpy(), self.config.shortlist)
        return PlaceMatch(self._match(mask, seen.cpu().numpy(), near), mask)

    def _match(
        self, mask: NDArray[np.uint8], seen: NDArray[np.bool_], near: Neighbours
    ) -> tuple[Candidate, ...]:
        """Score the shortlist by eq. 10; the best heading of each place, best place first."""
        weights = self.config.matching
        panoramas = self.place_map.panorama_labels[near.place]
        headings = self.place_map.headings_rad[near.heading]
        psi, yaw = self._matcher.overlap(mask, seen, panoramas, headings)
        score = weights.alpha * near.phi + weights.beta * psi  # eq. 10
        order = np.argsort(-score, kind="stable")
        _, first = np.unique(near.place[order], return_index=True)
        best = order[np.sort(first)][: self.config.candidates]
        return tuple(
            Candidate(
                place_index=int(near.place[i]),
                heading_index=int(near.heading[i]),
                T_map_camera=self.place_map.T_map_camera(int(near.place[i]), float(yaw[i])),
                score=float(score[i]),
                phi=float(near.phi[i]),
                psi=float(psi[i]),
            )
            for i in best
        )

    def _to_tensor(self, image: NDArray[np.uint8]) -> torch.Tensor:
        """(H, W, 3) uint8 to (1, 3, H, W) in [0, 1], on the device."""
        pixels = torch.from_numpy(np.ascontiguousarray(image)).to(self._device)
        return pixels.permute(2, 0, 1)[None].float() / 255

    def _sampler(self, camera: CameraModel) -> tuple[ViewSampler, torch.Tensor]:
        """The camera's view sampler and the mask cells it sees; made once for each camera."""
        if camera not in self._samplers:
            view = ViewSampler.of(camera, self._network.config.view).to(self._device)
            seen = ViewSampler.of(camera, self._mask_grid).seen.to(self._device)
            self._samplers[camera] = (view, seen)
        return self._samplers[camera]


def _check_image(image: NDArray[np.uint8], camera: CameraModel) -> None:
    if image.ndim != 3 or image.shape[2] != 3 or image.size == 0 or image.dtype != np.uint8:
        raise ShapeError.of("image", "(H, W, 3) uint8 with pixels", f"{image.shape} {image.dtype}")
    if image.shape[:2] != (camera.height, camera.width):
        raise ShapeError.of(
            "image", f"the camera's {camera.height}x{camera.width}", f"{image.shape[:2]}"
        )
