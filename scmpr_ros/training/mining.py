"""Hard negatives: which places of its recording a network takes for that of a view, and are not it.

Every so many steps all views are looked for among all places, and each view's most similar wrong
places are kept. Batches then hold views of those places beside it. What was found is part of a
run's state, so a run that was stopped draws the same batches as one that was not.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import lightning
import torch
from torch import Tensor

from scmpr_ros.training.validation import describe_recording

if TYPE_CHECKING:
    from scmpr_ros.training.module import PlaceRecognitionModule
    from scmpr_ros.training.pairs import PairDataset

_log = logging.getLogger(__name__)
_KEPT = 8
_LEAD = 2
"""Batches that are drawn before the step in which they are used is over."""


class HardNegatives(lightning.Callback):
    """Finds mistakes while training, and tells the sampler; its state is that of its last two
    searches, for the batch behind a search may have been drawn before it."""

    def __init__(self, every_steps: int, accumulate: int, radius_m: float) -> None:
        self.every_steps, self.accumulate, self.radius_m = every_steps, accumulate, radius_m
        self.dataset: PairDataset | None = None
        self.found: dict[int, Tensor] = {}

    def of(self, view: int, batch: int) -> list[int]:
        """Numbers of views whose places were mistaken for that of a view, worst first.

        batch: the number of the batch that is drawn.
        """
        known = [step for step in self.found if step * self.accumulate <= batch - _LEAD]
        if not known:
            return []
        row = self.found[max(known)][view]
        return [int(other) for other in row[row >= 0]]

    def on_train_batch_end(
        self, trainer: lightning.Trainer, module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Search, if it is time."""
        step = trainer.global_step
        due = self.every_steps and step and step % self.every_steps == 0
        if due and step not in self.found:
            self.found[step] = self._search(module)
            self.found = {s: self.found[s] for s in sorted(self.found)[-2:]}

    def state_dict(self) -> dict[str, Any]:
        """What was found."""
        return {str(step): found for step, found in self.found.items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take it up again."""
        self.found = {int(step): found for step, found in state.items()}

    @torch.no_grad()
    def _search(self, module: PlaceRecognitionModule) -> Tensor:
        """Views (N, kept) whose places are most similar to each pair's view; -1 for none."""
        dataset = self.dataset
        assert dataset is not None  # the trainer's caller gives it
        module.eval()
        result = torch.full((len(dataset), _KEPT), -1)
        for number, recording in enumerate(dataset.recordings):
            items, views = dataset.of_recording(number)
            if len(items) == 0:
                continue
            of_view = torch.full((len(recording.positions),), -1)
            for item in items.tolist():
                of_view[dataset.reachable[item]] = item  # a view of each place
            queries, places = describe_recording(module.network, recording)
            similarity = _best(queries[views], places)
            away = (
                torch.cdist(recording.poses[views, :2, 3], recording.positions[:, :2])
                > self.radius_m
            )
            similarity = similarity.masked_fill(~away | (of_view < 0), -2.0)
            value, place = similarity.topk(min(_KEPT, similarity.shape[1]), dim=1)
            result[items[:, None], torch.arange(place.shape[1])] = torch.where(
                value > -2.0, of_view[place], -1
            )
        module.train()
        _log.info("looked for mistakes: %d views have some", int((result[:, 0] >= 0).sum()))
        return result


def _best(queries: Tensor, places: Tensor) -> Tensor:
    """Cosine (Q, P) of views (Q, D) with the most similar window of each place (P, V, D)."""
    rows = [torch.einsum("qd,pvd->qpv", some, places).amax(-1) for some in queries.split(64)]
    return torch.cat(rows)
