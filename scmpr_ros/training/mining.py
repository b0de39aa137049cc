"""Hard negatives: the places of its recording that a network confuses with a view's own place.

At regular steps all views are searched among all places, and the most similar wrong places of each
view are kept. Batches then group a view with views of those places. The results are part of the
training state, so a resumed run draws the same batches.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import lightning
import torch
from torch import Tensor

from scmpr_ros.training.pairs import PairDataset
from scmpr_ros.training.preparation import PreparedRecording
from scmpr_ros.training.validation import describe_recording

if TYPE_CHECKING:
    from scmpr_ros.training.module import PlaceRecognitionModule

_log = logging.getLogger(__name__)
_KEPT = 8
_PREFETCHED = 2
"""Batches that are drawn before the step that uses them is over."""


class HardNegatives(lightning.Callback):
    """Mines hard negatives during training.

    The state holds the last two searches: the batch after a search may have been drawn before it.

    every_steps: optimiser steps between searches; 0 never searches.
    accumulate: batches for each optimiser step.
    radius_m: places closer to a view than this are not wrong.
    """

    def __init__(
        self, dataset: PairDataset, every_steps: int, accumulate: int, radius_m: float
    ) -> None:
        self.dataset = dataset
        self.every_steps, self.accumulate, self.radius_m = every_steps, accumulate, radius_m
        self.by_step: dict[int, Tensor] = {}

    def negatives_for(self, view: int, batch: int) -> list[int]:
        """Views at the places most similar to a view's image, hardest first.

        view: number of a pair in the dataset. batch: number of the batch being drawn.
        """
        usable = [step for step in self.by_step if step * self.accumulate <= batch - _PREFETCHED]
        if not usable:
            return []
        row = self.by_step[max(usable)][view]
        return [int(other) for other in row[row >= 0]]

    def on_train_batch_end(
        self, trainer: lightning.Trainer, module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Search every `every_steps` steps."""
        step = trainer.global_step
        due = self.every_steps and step and step % self.every_steps == 0
        if due and step not in self.by_step:
            self.by_step[step] = self._search(module)
            self.by_step = {s: self.by_step[s] for s in sorted(self.by_step)[-2:]}

    def state_dict(self) -> dict[str, Any]:
        """Results of the last two searches."""
        return {str(step): views for step, views in self.by_step.items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore `state_dict`."""
        self.by_step = {int(step): views for step, views in state.items()}

    @torch.no_grad()
    def _search(self, module: PlaceRecognitionModule) -> Tensor:
        """Views (N, kept) at the places most similar to the view of each pair; -1 pads."""
        module.eval()
        result = torch.full((len(self.dataset), _KEPT), -1)
        for number, recording in enumerate(self.dataset.recordings):
            items, views = self.dataset.of_recording(number)
            if len(items):
                similar = self._search_recording(module, recording, items, views)
                result[items, : similar.shape[1]] = similar
        module.train()
        found = int((result[:, 0] >= 0).sum())
        _log.info("mined hard negatives for %d of %d views", found, len(result))
        return result

    def _search_recording(
        self, module: PlaceRecognitionModule, recording: PreparedRecording,
        items: Tensor, views: Tensor,
    ) -> Tensor:  # fmt: skip
        """The rows of `_search` for the pairs `items` (N,) of a recording and their `views`."""
        view_at_place = torch.full((len(recording.positions),), -1)
        for item in items.tolist():
            view_at_place[self.dataset.reachable[item]] = item
        queries, places = describe_recording(module.network, recording)
        similarity = _best_heading_similarity(queries[views], places)
        distance_m = torch.cdist(recording.poses[views, :2, 3], recording.positions[:, :2])
        excluded = (distance_m <= self.radius_m) | (view_at_place < 0)
        value, place = similarity.masked_fill(excluded, -2.0).topk(
            min(_KEPT, similarity.shape[1]), dim=1
        )
        return torch.where(value > -2.0, view_at_place[place], -1)


def _best_heading_similarity(queries: Tensor, places: Tensor) -> Tensor:
    """Cosine (Q, P) of views (Q, D) with the most similar window of each place (P, V, D)."""
    rows = [torch.einsum("qd,pvd->qpv", part, places).amax(-1) for part in queries.split(64)]
    return torch.cat(rows)
